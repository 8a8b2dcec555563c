"""Whether a release has the term for own items: by what it does to predictions that it did not learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.builders import gains_of_own
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.model.blend import Lessons, Priors
from trainer.training.own_items import HALF_LIVES, best_half_life
from worker.core.ranking import NO_ITEM, OwnItems

ITEMS, SIZE, CLICKS, LESSONS = 30, 4, 16, 3_000
SETTINGS = FitSettings.of(
    popularity_half_lives=(), transition_half_lives=(), repeat_lags=1, own_items=CLICKS, exclude_recent=0
)


class Remembered(Progress):
    """What was said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        """Keep the line."""
        self.lines.append(text)


def chosen(weight: float, *, half_life: float = 16.0, lessons: int = LESSONS) -> tuple[float, str]:
    """What is chosen, and said, if targets are drawn by the gains of own items with this weight alone."""
    random = np.random.default_rng(0)
    own = random.integers(ITEMS // 3, size=(lessons, CLICKS)).astype(np.int32)
    own[random.random(own.shape) < 0.2] = NO_ITEM
    own[:, 0] = random.integers(ITEMS, size=lessons)
    scores = random.gumbel(size=(lessons, ITEMS))
    for row, clicked in zip(scores, own.tolist(), strict=True):
        for item, gain in gains_of_own(clicked, OwnItems(CLICKS, weight, half_life)).items():
            row[item] += gain
    nothing = np.full((lessons, 1), NO_ITEM, np.int32)
    hidden = np.zeros((lessons, SIZE), np.float32)
    examples = Lessons(hidden, own[:, :1], nothing, scores.argmax(axis=1).astype(np.int32), own)
    table: dict[str, Any] = {"embedding": random.normal(size=(ITEMS, SIZE)).astype(np.float32)}
    priors = Priors(
        np.zeros((ITEMS, 0), np.float32),
        np.full((ITEMS, 0), NO_ITEM, np.int32),
        np.zeros((ITEMS, 0, 0), np.float32),
    )
    told = Remembered()
    return best_half_life(examples, table, priors, SETTINGS, told), " ".join(told.lines)


@pytest.mark.parametrize("half_life", [HALF_LIVES[0], HALF_LIVES[-1]])
def test_users_who_return_have_the_term_with_their_half_life(half_life: float) -> None:
    """The one that was at work, among those that are tried."""
    found, said = chosen(2.0, half_life=half_life)

    assert found == half_life
    assert "own items of users help" in said
    assert f"with a half-life of {half_life:g} clicks)" in said


def test_users_who_never_return_have_the_term_too() -> None:
    """What they clicked is unlikely to come again: that helps as much."""
    found, said = chosen(-1.0)

    assert found in HALF_LIVES
    assert "own items of users help" in said


def test_the_term_is_left_out_where_it_does_not_help() -> None:
    """Though by chance its learned weight is never exactly 0; and that is told."""
    found, said = chosen(0.0)

    assert found == 0
    assert "own items of users do not help: the term is left out" in said


@pytest.mark.parametrize("lessons", [0, 1])
def test_nothing_is_chosen_from_nothing(lessons: int) -> None:
    """Not even a line is said."""
    assert chosen(2.0, lessons=lessons) == (0.0, "")
