"""Baselines that read the whole session again for every answer: nearest neighbour sessions.

A session is compared with the most recent past sessions that share an item with it; the items of the
most similar ones are recommended. S-kNN and VS-kNN: Ludewig & Jannach, "Evaluation of session-based
recommendation algorithms" (2018). VMIS-kNN: Kersbergen, Sprangers & Schelter, "Serenade" (2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.console import Progress
from trainer.dataset.lists import by_count, filled
from trainer.dataset.sessions import PastSessions, Sessions
from trainer.evaluation.baselines import Asked
from worker.core.ranking import NO_ITEM, Indexes

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourSettings:
    """Settings that the three models share, and those in which they differ."""

    sample: int
    """m: how many past sessions are looked at, the most recent ones that share an item."""
    neighbours: int
    """k: how many of these vote, the most similar ones."""
    similarity: Literal["cosine", "position"]
    """Of item sets: `|s & n| / sqrt(|s| |n|)`. Or the sum over the shared items of their places in s."""
    matching: Literal["none", "inverse", "linear"]
    """Decay of a vote whose last shared item was clicked i clicks ago, from 1: 1 / i, 1 - i / 10."""
    rarity: bool
    """Whether the vote for an item counts log(sessions / sessions with it) times."""
    last_items: int = 9
    """The number of a session's last items that are used."""


S_KNN: Final = NeighbourSettings(
    sample=500, neighbours=100, similarity="cosine", matching="none", rarity=False, last_items=1000
)
VS_KNN: Final = NeighbourSettings(
    sample=1000, neighbours=100, similarity="position", matching="inverse", rarity=False, last_items=1000
)
VMIS_KNN: Final = NeighbourSettings(
    sample=5000, neighbours=500, similarity="position", matching="linear", rarity=True
)


class _Sessions(NamedTuple):
    """Past sessions as sets, numbered by age: the one that ended last has the highest number.

    From `starts[n]` on stand the `items` of session n, from `firsts[i]` on the `numbers` with item i, rising.
    """

    items: Indexes
    starts: NDArray[np.int64]
    numbers: Indexes
    firsts: NDArray[np.int64]


class Neighbours:
    """S-kNN, VS-kNN or VMIS-kNN, by the `settings`."""

    def __init__(
        self,
        past: PastSessions,
        settings: NeighbourSettings,
        progress: Progress = Progress(),  # noqa: B008  # silent, without state
    ) -> None:
        self._settings, self._progress = settings, progress
        self._past = _index(past)
        self._best = by_count(past.clicks)
        sessions_with = np.maximum(np.diff(self._past.firsts), 1)
        rarity = np.log(max(1, len(self._past.starts) - 1) / sessions_with)
        self._rarity = rarity if settings.rarity else np.ones(past.items)

    def lists(self, asked: Asked, top: int) -> Indexes:
        """Return the items with the most votes that are not excluded; ties: lower index first."""
        width = top + asked.excluded.shape[1]
        lists = np.full((asked.sessions.predictions, width), NO_ITEM, np.int32)
        sessions = _sessions_so_far(asked.sessions)
        walked = self._progress.through(sessions, len(sessions), "nearest neighbours")
        for number, items in enumerate(walked):
            if len(items):
                best = self._voted(items, width)
                lists[number, : len(best)] = best
        return filled(lists, self._best, asked.excluded, top)

    def _voted(self, items: Indexes, width: int) -> Indexes:
        """Return the first `width` items by vote for a session with these known `items`."""
        settings, past = self._settings, self._past
        recent, weights = _latest_first(items, settings.last_items, settings.similarity)
        neighbours, similarity, match = self._nearest(recent, weights)
        votes = similarity * _faded(match + 1, settings.matching)
        sizes = past.starts[neighbours + 1] - past.starts[neighbours]
        voted = past.items[_ranges(past.starts[neighbours], sizes)]
        scores = np.bincount(voted, np.repeat(votes, sizes), minlength=len(self._rarity)) * self._rarity
        found = np.flatnonzero(scores)
        return found[np.argsort(-scores[found], kind="stable")[:width]].astype(np.int32)

    def _nearest(self, recent: Indexes, weights: Scores) -> tuple[Indexes, Scores, Scores]:
        """Return the k nearest sessions, their similarity, and the place of the first of `recent` in each."""
        settings, past = self._settings, self._past
        ends = past.firsts[recent + 1]
        sizes = np.minimum(ends - past.firsts[recent], settings.sample)
        sharing = past.numbers[_ranges(ends - sizes, sizes)]
        item = np.repeat(np.arange(len(recent)), sizes)
        # The first of equal numbers is that of the most recent item: `unique` sorts in a stable way.
        numbers, first, at = np.unique(sharing, return_index=True, return_inverse=True)
        shared = np.bincount(at, weights[item], minlength=len(numbers)).astype(np.float64)
        latest = slice(max(0, len(numbers) - settings.sample), None)
        numbers, similarity, match = numbers[latest], shared[latest], item[first[latest]]
        if settings.similarity == "cosine":
            sizes = past.starts[numbers + 1] - past.starts[numbers]
            similarity = similarity / np.sqrt(len(recent) * sizes)
        # Among equally similar ones the more recent is nearer.
        nearest = np.lexsort((-numbers, -similarity))[: settings.neighbours]
        return numbers[nearest], similarity[nearest], match[nearest].astype(np.float64)


def _latest_first(items: Indexes, most: int, similarity: str) -> tuple[Indexes, Scores]:
    """Return the distinct ones of the last `most` items, latest first, and their similarity weights."""
    latest = items[: -most - 1 : -1]
    _, first = np.unique(latest, return_index=True)
    places = np.sort(first)
    # Whole numbers, of which sums that are equal are so to the last bit.
    weights = len(latest) - places if similarity == "position" else np.ones(len(places), np.int64)
    return latest[places], weights.astype(np.float64)


def _faded(clicks_ago: Scores, matching: str) -> Scores:
    if matching == "none":
        return np.ones(len(clicks_ago))
    return 1 / clicks_ago if matching == "inverse" else np.maximum(0, 1 - clicks_ago / 10)


def _sessions_so_far(sessions: Sessions) -> list[Indexes]:
    """Return the known items of the session before each prediction."""
    known = np.flatnonzero(sessions.items != NO_ITEM)
    scored = np.flatnonzero(sessions.scored)
    begins = np.repeat(sessions.starts[:-1], sessions.lengths)[scored]
    items = sessions.items[known]
    bounds = zip(
        np.searchsorted(known, begins).tolist(), np.searchsorted(known, scored).tolist(), strict=True
    )
    return [items[begin:end] for begin, end in bounds]


def _index(past: PastSessions) -> _Sessions:
    sessions = past.sessions
    ended = np.maximum.reduceat(past.times_ms, sessions.starts[:-1])
    age = np.empty(len(sessions), np.int64)
    age[np.argsort(ended, kind="stable")] = np.arange(len(sessions))
    number = np.repeat(age, sessions.lengths)
    known = sessions.items != NO_ITEM
    pairs = np.unique(number[known] * past.items + sessions.items[known])
    numbers, items = np.divmod(pairs, past.items)
    by_item = np.argsort(items, kind="stable")
    return _Sessions(
        items.astype(np.int32),
        np.searchsorted(numbers, np.arange(len(sessions) + 1)),
        numbers[by_item].astype(np.int32),
        np.searchsorted(items[by_item], np.arange(past.items + 1)),
    )


def _ranges(begins: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers from each of `begins` on, `sizes` of them, one range after the other."""
    return np.arange(sizes.sum()) + np.repeat(begins - np.cumsum(sizes) + sizes, sizes)
