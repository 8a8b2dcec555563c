"""A release of a large catalogue has lists of items, measured on held-out states; a small one has none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tests.trainer.builders import NOW, cyclic_clicks
from trainer.config import FitSettings
from trainer.console import Lines
from trainer.release.package import PackagedRelease
from trainer.training import listing
from trainer.training.fit import fit

SETTINGS = FitSettings.of(hidden_size=8, epochs=2, batch_clicks=64, min_item_count=1)


def fitted(clicks: pl.DataFrame) -> tuple[PackagedRelease, list[str]]:
    """A release, and what was said while it was made."""
    lines = list[str]()
    return fit(clicks, SETTINGS, Lines(lines.append), now=NOW), lines


@pytest.mark.slow
def test_a_large_catalogue_gets_lists_and_the_recall_that_was_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The manifest has both; the release that serves finds what was promised; one line says so."""
    monkeypatch.setattr(listing, "EXACT_NUMBERS", 0)
    monkeypatch.setattr(listing, "_MOST", 1.0)
    release, lines = fitted(cyclic_clicks(60))
    manifest, tables = release.manifest, release.release

    assert manifest.lists > 1
    assert manifest.list_recall >= 0.9
    assert sum("lists of items" in line for line in lines) == 1
    states = np.random.default_rng(0).standard_normal((50, tables.state_size)).astype(np.float32)
    recent = np.full((50, tables.recent_needed), -1, np.int32)
    own = np.full((50, tables.own_needed), -1, np.int32)
    near = tables.rank(states, 3, recent=recent, own=own, approximate=True)
    exact = tables.rank(states, 3, recent=recent, own=own)
    assert np.isin(near.scores, exact.scores).mean() > 0.5


@pytest.mark.slow
def test_lists_that_would_not_make_it_faster_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where nearly every list must be scored; the user is told."""
    monkeypatch.setattr(listing, "EXACT_NUMBERS", 0)
    monkeypatch.setattr(listing, "_MOST", 0.0)
    release, lines = fitted(cyclic_clicks(60))

    assert release.manifest.lists == 0
    assert any("ranking is exact" in line for line in lines)


@pytest.mark.slow
def test_a_small_catalogue_has_no_lists() -> None:
    """Nothing is said of them."""
    release, lines = fitted(cyclic_clicks(60))

    assert release.manifest.lists == 0
    assert not any("lists of items" in line for line in lines)
