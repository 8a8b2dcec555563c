from __future__ import annotations

import pytest

from trainer.config import FitSettings, recorded
from trainer.config.fitting import keys_with
from worker.errors import SettingError
from worker.settings.fields import fields_of
from worker.settings.loading import given


def test_a_manifest_is_read_with_sections_and_without() -> None:
    """As releases of today and of before have it."""
    assert recorded({"model": {"scale": 8.0}}, "model.scale") == 8.0
    assert recorded({"scale": 8.0}, "model.scale") == 8.0
    assert recorded({}, "model.scale") is None


def test_settings_are_replaced_by_their_bare_names() -> None:
    """All others stay as they are, and are still known to be nobody's choice."""
    settings = FitSettings.of(hidden_size=64).replaced(cell="lstm", popularity_half_lives=())

    assert (settings.model.hidden_size, settings.model.cell, settings.blend.any) == (64, "lstm", True)
    assert given(settings) == {"model.hidden_size", "model.cell", "blend.popularity_half_lives"}
    with pytest.raises(SettingError, match=r"model\.layers is 0: must be greater"):
        settings.replaced(layers=0)
    with pytest.raises(TypeError, match="width is not a training setting"):
        settings.replaced(width=3)


def test_bare_names_are_unique_in_a_training() -> None:
    """So that `of` and `replaced` cannot mean two settings."""
    names = [key.partition(".")[2] for key, _ in fields_of(FitSettings)]

    assert len(names) == len(set(names))


def test_facts_are_said_of_fields() -> None:
    """One of each kind; code asks for them instead of keeping lists."""
    assert "dataset.session_gap" in keys_with("prepares")
    assert "model.cell" in keys_with("shape")
    assert "loss.negatives" in keys_with("online", value=False)
    assert keys_with("decides", value=False) == ["dataset.cache", "training.checkpoint_interval"]
