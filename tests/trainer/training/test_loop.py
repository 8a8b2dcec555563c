from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from tests.trainer.builders import sessions_of
from trainer.config import FitSettings
from trainer.console import Lines, Progress
from trainer.errors import TrainingDiverged
from trainer.model.network import Network
from trainer.training.loop import Best, Epoch, Sums, Training, largest_weight

SETTINGS = FitSettings.of(hidden_size=2, epochs=3, batch_clicks=4, patience=1, top=1)
COUNTS = np.array([3, 2, 1])


def best_of(values: Sequence[float | None], *, patience: int) -> tuple[Best, list[float]]:
    """Return what is kept of epochs with these values, and the weights that each of them had."""
    best, network = Best(patience), Network(COUNTS, SETTINGS)
    for place, value in enumerate(values):
        network.set_weights([np.full_like(weight, place) for weight in network.get_weights()])
        best.note(network, value)
    return best, [float(weight.flat[0]) for weight in best.weights]


@pytest.mark.parametrize(
    ("values", "kept", "is_past"),
    [
        ([0.1, 0.3, 0.2], 1, False),
        ([0.3, 0.2, 0.1], 0, True),
        ([0.3, 0.3, 0.3], 0, True),
        ([None, None, None], 2, False),
        ([0.0], 0, False),
    ],
    ids=["a better one", "worse ones", "equal ones", "no validation", "no hits"],
)
def test_the_weights_of_the_best_epoch_are_kept(
    values: Sequence[float | None], kept: int, *, is_past: bool
) -> None:
    """The first of equal ones; without validation the last one, and then none is too many."""
    best, weights = best_of(values, patience=2)

    assert set(weights) == {kept}
    assert best.is_past is is_past


def test_the_loss_of_an_epoch_is_that_of_its_predictions() -> None:
    """A large batch counts more than a small one; steps count alike, and one at the limit is not clipped."""
    sums = Sums()
    sums.seen(30, 2.0)
    sums.seen(10, 4.0)
    for norm in (1.0, 3.0):
        sums.moved(norm, limit=1.0)

    assert sums.means() == {
        "loss": 2.5,
        "gradient_norm": 2.0,
        "largest_gradient_norm": 3.0,
        "clipped": 0.5,
    }


def test_without_a_limit_nothing_is_clipped() -> None:
    """However large the norm is."""
    sums = Sums()
    sums.seen(1, 1.0)
    sums.moved(1e9, limit=0.0)

    assert sums.means()["clipped"] == 0.0


@pytest.mark.slow  # trains
@pytest.mark.parametrize("full_batch", [False, True])
def test_a_training_ends_when_it_gets_worse(*, full_batch: bool) -> None:
    """After one epoch more than the best, whose weights the network then has."""
    settings = SETTINGS.replaced(full_batch=full_batch)
    network, results = Network(COUNTS, settings), iter([0.5, 0.1])
    seen: list[list[float]] = []

    def validate() -> Epoch:
        seen.append([float(weight.sum()) for weight in network.get_weights()])
        return {"mrr_at_1": next(results)}

    training = Training(network, sessions_of([0, 1, 2], [1, 0], [2, 0, 1]), settings)
    training.run(validate, Progress())

    assert [epoch["mrr_at_1"] for epoch in training.history] == [0.5, 0.1]
    assert [float(weight.sum()) for weight in network.get_weights()] == seen[0]


@pytest.mark.slow  # trains
def test_a_training_that_diverges_at_once_is_an_error() -> None:
    """There is no better epoch to take, and nothing is saved of the step that left the numbers."""
    settings = SETTINGS.replaced(batch_clicks=1, algorithm="sgd", learning_rate=1e30, clip_norm=0.0)
    settings = settings.replaced(normalize=False, output_table="separate")
    training = Training(Network(COUNTS, settings), sessions_of([0, 1, 2], [1, 0], [2, 0, 1]), settings)
    saved: list[bool] = []

    with pytest.raises(TrainingDiverged, match=r"diverged in epoch 1 of 3, after \d batch.*learning_rate"):
        training.run(
            lambda: {"mrr_at_1": 0.5}, Progress(), lambda one: saved.append(math.isfinite(one._sums.loss))
        )

    assert all(saved)


@pytest.mark.slow  # trains
def test_a_training_that_diverges_later_ends_with_the_best_epoch_before() -> None:
    """It says so, in which epoch and why."""
    lines, settings = list[str](), SETTINGS.replaced(patience=9)
    network = Network(COUNTS, settings)
    training = Training(network, sessions_of([0, 1, 2], [1, 0], [2, 0, 1]), settings)

    def validate() -> Epoch:
        network.set_weights([np.full_like(one, np.inf) for one in network.get_weights()])
        return {"mrr_at_1": 0.5}

    training.run(validate, Lines(lines.append))

    assert len(training.history) == 1
    assert "the training diverged in epoch 2 of 3, after 0 batches: the loss is nan" in lines[-2]
    assert lines[-1].endswith("stopped after epoch 1: epoch 2 diverged")


def test_a_weight_that_is_no_number_is_the_largest() -> None:
    """Whichever variable it is in; a negative weight counts by its amount."""
    network = Network(COUNTS, SETTINGS)
    weights = network.trainable_variables
    weights[0].assign(np.full(weights[0].shape, -7.0))
    assert largest_weight(network) == 7.0
    weights[-1].assign(np.full(weights[-1].shape, np.nan))

    assert math.isnan(largest_weight(network))


@pytest.mark.slow  # trains
@pytest.mark.parametrize("warm", [False, True])
def test_a_warm_start_is_not_said_to_have_learned_little(*, warm: bool) -> None:
    """Its first loss is that of a network that had learned already."""
    lines, settings = list[str](), SETTINGS.replaced(learning_rate=1e-4, epochs=1)
    sessions = sessions_of([0, 1, 2], [1, 0], [2, 0, 1])
    training = Training(Network(COUNTS, settings), sessions, settings, warm=warm)

    def validate() -> Epoch:
        # As if the network had begun far better than it is after the epoch.
        training._first_loss = training._sums.means()["loss"] / 3
        return {"mrr_at_1": 0.5}

    training.run(validate, Lines(lines.append))

    assert any("so little was learned" in line for line in lines) == (not warm)
