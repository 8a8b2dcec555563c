from __future__ import annotations

import math

import pytest

from trainer.config import FitSettings
from trainer.errors import TrainingDiverged
from trainer.training.divergence import check_epoch, check_step, doubt

SETTINGS = FitSettings.of(learning_rate=10.0, clip_norm=0)
PLACE = "epoch 2 of 5, after 7 batches"


@pytest.mark.parametrize(
    ("loss", "norm", "what"),
    [
        (math.nan, 1.0, "the loss is nan"),
        (math.inf, 1.0, "the loss is inf"),
        (1.0, math.inf, "the norm of the gradients is inf"),
    ],
)
def test_a_step_out_of_the_numbers_says_where_and_what_to_change(loss: float, norm: float, what: str) -> None:
    """The epoch, the figure, the loss of the first step, and the settings with their values."""
    with pytest.raises(TrainingDiverged) as error:
        check_step(loss, norm, SETTINGS, first=3.2, position=PLACE)

    assert str(error.value) == (
        f"the training diverged in {PLACE}: {what} (the first loss was 3.2); lower optimizer.learning_rate "
        "(it is 10), or set optimizer.clip_norm to 1 (it is 0)"
    )


def test_a_sound_step_and_a_slow_epoch_pass() -> None:
    """Nor is a short clip norm advised where it is short already."""
    check_step(3.0, 5.0, SETTINGS, first=3.2, position=PLACE)
    check_epoch(6.0, 9.0, SETTINGS, first=3.2, position=PLACE)

    with pytest.raises(TrainingDiverged, match=r"its loss is 40 .*\(it is 10\)$"):
        check_epoch(40.0, 9.0, SETTINGS.replaced(clip_norm=1.0), first=3.2, position=PLACE)


def test_a_loss_that_stays_above_the_first_is_doubted() -> None:
    """By its best epoch: a bad one among good ones is no matter."""
    assert doubt([9.0, 3.1], SETTINGS, first=3.2) == ""
    assert doubt([9.0, 8.0], SETTINGS, first=3.2).startswith(
        "Careful: the loss began at 3.2 and no epoch was below 8, so little was learned; lower optimizer."
    )


def test_weights_out_of_bounds_are_found_where_the_loss_was_sound() -> None:
    """It was measured before the last step. A weight that is no number is out of bounds, too."""
    for weight in (1e7, math.nan):
        with pytest.raises(TrainingDiverged, match=f"weights are up to {weight:.4g}".replace("+", r"\+")):
            check_epoch(1.0, weight, SETTINGS, first=3.2, position=PLACE)
