from __future__ import annotations

import numpy as np

from trainer.model.negatives import Negatives

COUNTS = np.array([400, 100, 25, 0])


def test_items_are_drawn_as_often_as_is_said() -> None:
    """By the square root of their clicks, and a tenth of them evenly."""
    negatives = Negatives(COUNTS, size=20_000, power=0.5, uniform=0.1)

    drawn = np.bincount(negatives.draw(1, 2), minlength=4)

    np.testing.assert_allclose(
        negatives.expected / 20_000, 0.9 * np.array([20, 10, 5, 0]) / 35 + 0.025, rtol=1e-5
    )
    np.testing.assert_allclose(drawn, negatives.expected, rtol=0.1)


def test_a_step_draws_the_same_again() -> None:
    """By its seed alone; another step draws others."""
    negatives = Negatives(COUNTS, size=50, power=1.0, uniform=0.0)

    assert negatives.draw(1, 2).tolist() == negatives.draw(1, 2).tolist()
    assert negatives.draw(1, 2).tolist() != negatives.draw(1, 3).tolist()
