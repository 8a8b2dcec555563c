"""Candidates estimate the sum over all items without bias, and hold every item that a lesson needs."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.model.compared import AllItems, Candidates, Lessons, compared_over
from trainer.model.negatives import Negatives
from trainer.model.terms import RECENT, Priors
from worker.core.ranking import NO_ITEM

ITEMS, SIZE = 40, 3


def parts_of(seed: int, count: int) -> tuple[Lessons, Priors, dict[str, np.ndarray]]:
    """Random lessons, priors and item vectors."""
    random = np.random.default_rng(seed)
    rows = [random.integers(NO_ITEM, ITEMS, (ITEMS, 3)).astype(np.int32) for _ in range(2)]
    scores = [random.random((ITEMS, 3)).astype(np.float32) for _ in range(2)]
    popular = random.random((ITEMS, 2)).astype(np.float32)
    priors = Priors(popular, rows[0], scores[0][..., None], rows[1], scores[1])
    drawn = [random.integers(NO_ITEM, ITEMS, (count, width)).astype(np.int32) for width in (RECENT, 1, 5, 2)]
    drawn[0][:, 0] = np.maximum(drawn[0][:, 0], 0)
    recent, excluded, own, likely = drawn
    hidden = random.standard_normal((count, SIZE)).astype(np.float32)
    targets = random.integers(ITEMS, size=count).astype(np.int32)
    table = random.standard_normal((ITEMS, SIZE)).astype(np.float32)
    return Lessons(hidden, recent, excluded, targets, own, likely), priors, {"embedding": table}


@given(seed=st.integers(0, 99), count=st.integers(1, 150), size=st.integers(1, 30))
def test_all_that_a_lesson_needs_is_a_candidate(seed: int, count: int, size: int) -> None:
    """Its items and those that gain by them; an index means the same vector and counts as before."""
    lessons, priors, tensors = parts_of(seed, count)
    negatives = Negatives(np.arange(ITEMS), size=size, power=1.0, uniform=0.5)
    table, begin = tensors["embedding"], 0

    for part in Candidates(tensors, priors, negatives).parts(lessons, 3):
        columns: list[Any] = [np.asarray(column) for column in part.lessons]
        here = Lessons(*columns)
        before = lessons.only(slice(begin, begin + len(here.targets)))
        begin += len(here.targets)
        vectors = np.asarray(part.table)
        for name in ("recent", "targets", "own"):
            new, old = getattr(here, name), getattr(before, name)
            np.testing.assert_array_equal(new == NO_ITEM, old == NO_ITEM)
            np.testing.assert_array_equal(vectors[new[new != NO_ITEM]], table[old[old != NO_ITEM]])
        last = here.recent[:, 0]
        for rows, of in ((part.priors.following, priors.following), (part.priors.near, priors.near)):
            new, old = np.asarray(rows)[last], of[before.recent[:, 0]]
            np.testing.assert_array_equal(new == NO_ITEM, old == NO_ITEM)
            np.testing.assert_array_equal(vectors[new[new != NO_ITEM]], table[old[old != NO_ITEM]])

    assert begin == count


def test_the_sum_over_the_candidates_is_that_over_all_items_on_average() -> None:
    """Each sampled item counts as its chance says, and those that are there for certain count once."""
    lessons, priors, tensors = parts_of(0, 4)
    negatives = Negatives(np.arange(ITEMS), size=6, power=1.0, uniform=0.5)
    scores = lessons.hidden @ tensors["embedding"].T
    compared = compared_over(tensors, priors, negatives)

    sums = []
    for seed in range(3000):
        (part,) = compared.parts(lessons, seed)
        logits = lessons.hidden @ np.asarray(part.table).T + np.asarray(part.correction)
        sums.append(np.exp(logits).sum(axis=1))

    np.testing.assert_allclose(np.mean(sums, axis=0), np.exp(scores).sum(axis=1), rtol=0.03)
    assert isinstance(compared_over(tensors, priors), AllItems)
