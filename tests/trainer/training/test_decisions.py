from __future__ import annotations

import numpy as np
import pytest

from trainer.config import FitSettings
from trainer.console import Lines
from trainer.dataset.dataset import Data
from trainer.dataset.sessions import Sessions
from trainer.training.decisions import decided
from worker.core.catalogue import Catalogue


def data_with(items: int, predictions: int) -> Data:
    """Return training data of so many items and predictions, in sessions of two clicks."""
    starts = np.arange(0, 2 * predictions + 1, 2)
    train = Sessions(np.zeros(2 * predictions, np.int32), starts, np.tile([False, True], predictions))
    catalogue = Catalogue([f"item-{number}" for number in range(items)])
    return Data(catalogue, train, Sessions.empty(), Sessions.empty(), {"decisions": []})


@pytest.mark.parametrize(
    ("items", "predictions", "epochs"),
    [(100, 10**6, 5), (100, 20_000, 50), (20_000, 10**5, 20), (20_000, 10**6, 5), (1_000, 100, 100)],
    ids=["many", "few", "few per item", "enough per item", "at most"],
)
def test_epochs_follow_from_predictions_in_all_and_per_item(
    items: int, predictions: int, epochs: int
) -> None:
    """A million in all, a hundred per item, five at least."""
    lines = list[str]()

    settings = decided(data_with(items, predictions), FitSettings(), Lines(lines.append))

    assert settings.training.epochs == epochs
    assert any(line.startswith(f"training.epochs {epochs}: an epoch has {predictions:,} ") for line in lines)


@pytest.mark.parametrize(("items", "negatives"), [(20_000, 0), (20_001, 4096)])
def test_a_large_catalogue_is_sampled(items: int, negatives: int) -> None:
    """The manifest has the fact."""
    data = data_with(items, 10**5)

    settings = decided(data, FitSettings(), Lines(lambda _: None))

    assert settings.loss.negatives == negatives
    assert data.summary["decisions"][0]["fact"] == f"the catalogue has {items:,} items with clicks"


@pytest.mark.parametrize(("predictions", "epochs", "dropout"), [(100_000, 10, 0.4), (110_000, 9, 0.25)])
def test_many_epochs_ask_for_more_dropout(predictions: int, epochs: int, dropout: float) -> None:
    """The line and the manifest have the fact."""
    lines, data = list[str](), data_with(1_000, predictions)

    settings = decided(data, FitSettings(), Lines(lines.append))

    assert (settings.training.epochs, settings.model.dropout) == (epochs, dropout)
    assert f"model.dropout {dropout}: the training has up to {epochs} epochs" in lines
    assert data.summary["decisions"][-1]["value"] == dropout


@pytest.mark.parametrize(("epochs", "dropout"), [(3, 0.25), (12, 0.4)])
def test_epochs_that_the_user_set_decide_the_dropout(epochs: int, dropout: float) -> None:
    """However few the clicks: a short training, as from a release, keeps the default."""
    settings = decided(data_with(10, 100), FitSettings.of(epochs=epochs), Lines(lambda _: None))

    assert settings.model.dropout == dropout


def test_what_the_user_set_is_not_decided() -> None:
    """Nor printed."""
    lines = list[str]()
    given = FitSettings.of(epochs=3, negatives=7, dropout=0.1)

    assert decided(data_with(30_000, 100), given, Lines(lines.append)) == given
    assert lines == []


def test_decisions_of_the_data_are_applied_too() -> None:
    """Those that `prepare` left in the summary."""
    data = data_with(10, 100)
    data.summary["decisions"].append({"key": "dataset.session_gap", "value": 0.0, "fact": ""})

    assert decided(data, FitSettings(), Lines(lambda _: None)).dataset.session_gap == 0
