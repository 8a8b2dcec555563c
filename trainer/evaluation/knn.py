"""kNN baselines: recommend the items of similar past sessions.

The current session is compared with the most recent past sessions that share an item with it. The most
similar of these sessions, the neighbours, vote for their items. S-kNN and VS-kNN: Ludewig & Jannach,
"Evaluation of session-based recommendation algorithms", 2018. VMIS-kNN: Kersbergen, Sprangers & Schelter,
"Serenade", 2022.
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
    """Settings of a kNN model; S-kNN, VS-kNN and VMIS-kNN differ only in their settings."""

    sample: int
    """The number m of past sessions to compare with. They are the most recent sessions that share an item."""
    neighbours: int
    """The number k of sessions that vote. They are the most similar sessions of the sample."""
    similarity: Literal["cosine", "position"]
    """Similarity of the current session s and a past session n. `cosine`: `|s & n| / sqrt(|s| |n|)`.
    `position`: the sum of the shared items' positions in s; later items have higher positions."""
    matching: Literal["none", "inverse", "linear"]
    """Weight of a vote if the latest shared item is the i-th newest item of the current session. `none`: 1.
    `inverse`: 1 / i. `linear`: 1 - i / 10, at least 0."""
    rarity: bool
    """Whether votes for an item are multiplied by log(sessions / sessions with the item)."""
    last_items: int = 9
    """Number of most recent clicks of the current session that are used."""


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
    """An index of past sessions as item sets. Sessions are numbered by end time; the latest is highest.

    Session n has the items `items[starts[n]:starts[n + 1]]`. Item i is in the sessions
    `numbers[firsts[i]:firsts[i + 1]]`, in ascending order.
    """

    items: Indexes
    starts: NDArray[np.int64]
    numbers: Indexes
    firsts: NDArray[np.int64]


class Neighbours:
    """S-kNN, VS-kNN or VMIS-kNN, depending on the `settings`."""

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
        """Return the items with the most votes that are not excluded; ties by lower index."""
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
        """Return the `width` items with the most votes for a session with these `items`."""
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
        """Return the k nearest sessions, their similarities, and the index of the latest item each shares.

        The index is a position in `recent`: the distinct items of the current session, latest first.
        """
        settings, past = self._settings, self._past
        ends = past.firsts[recent + 1]
        sizes = np.minimum(ends - past.firsts[recent], settings.sample)
        sharing = past.numbers[_ranges(ends - sizes, sizes)]
        item = np.repeat(np.arange(len(recent)), sizes)
        # `unique` sorts stably: the first index of a session belongs to the latest shared item.
        numbers, first, at = np.unique(sharing, return_index=True, return_inverse=True)
        shared = np.bincount(at, weights[item], minlength=len(numbers)).astype(np.float64)
        latest = slice(max(0, len(numbers) - settings.sample), None)
        numbers, similarity, match = numbers[latest], shared[latest], item[first[latest]]
        if settings.similarity == "cosine":
            sizes = past.starts[numbers + 1] - past.starts[numbers]
            similarity = similarity / np.sqrt(len(recent) * sizes)
        # Ties: the more recent session is nearer.
        nearest = np.lexsort((-numbers, -similarity))[: settings.neighbours]
        return numbers[nearest], similarity[nearest], match[nearest].astype(np.float64)


def _latest_first(items: Indexes, most: int, similarity: str) -> tuple[Indexes, Scores]:
    """Return the distinct items of the last `most` clicks, latest first, and their similarity weights."""
    latest = items[: -most - 1 : -1]
    _, first = np.unique(latest, return_index=True)
    places = np.sort(first)
    # Weights are integers, so that equal sums are bit-identical in any order of addition.
    weights = len(latest) - places if similarity == "position" else np.ones(len(places), np.int64)
    return latest[places], weights.astype(np.float64)


def _faded(clicks_ago: Scores, matching: str) -> Scores:
    if matching == "none":
        return np.ones(len(clicks_ago))
    return 1 / clicks_ago if matching == "inverse" else np.maximum(0, 1 - clicks_ago / 10)


def _sessions_so_far(sessions: Sessions) -> list[Indexes]:
    """Return the known items clicked in the session before each prediction."""
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
    """Return the concatenation of `range(begin, begin + size)` for all `begins` and `sizes`."""
    return np.arange(sizes.sum()) + np.repeat(begins - np.cumsum(sizes) + sizes, sizes)
