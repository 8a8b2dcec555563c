"""Training batches: sessions of similar length are batched together, so there is very little padding.

Every prefix of a session predicts its next click. Batches have about the same number of predictions, whether
their sessions are many and short or few and long, so all steps cost about the same. Rejected: a fixed number
of sessions per batch, because the cost of a step would vary with their lengths.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.dataset.sessions import Sessions
from worker.core.ranking import Indexes

_POOL_BATCHES: Final = 32
"""Shuffled sessions are sorted by length within pools of this many batches. Sorting all sessions at once
would give every epoch almost the same batches."""


class Batch(NamedTuple):
    """A batch of B rows with up to L clicks of a session each, and P predictions.

    The last click of a session is only a target, never in a row.

    `items` `[B, L]`: item indexes, padded at the end with item 0. `places` `[P]`: positions in the
    flattened `items` after which the next click is predicted. `targets` `[P]`: the items of those next
    clicks. `negatives` `[S]`: sampled items that the targets are compared with. `fresh` `[B]`: whether a
    row starts a session; otherwise it continues the same row of the previous batch.
    """

    items: Indexes
    places: Indexes
    targets: Indexes
    negatives: Indexes
    fresh: NDArray[np.bool_]


class Batches(Protocol):
    """The batches of all epochs. The same seed and epoch number always give the same batches."""

    def __len__(self) -> int:
        """Return the maximum number of batches in an epoch."""

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of epoch `number`."""


class Shuffled:
    """Batches of whole sessions. All items must be in the catalogue.

    A batch has about `predictions` predictions. Sessions of more than `max_length` clicks are cut into
    pieces (see `pieces`).
    """

    def __init__(self, sessions: Sessions, *, predictions: int, max_length: int, seed: int) -> None:
        self._sessions = pieces(sessions, max_length)
        self._size = predictions
        self._counts = np.add.reduceat(self._sessions.scored, self._sessions.starts[:-1], dtype=np.int64)
        self._seed = seed

    def __len__(self) -> int:
        """Return the maximum number of batches in an epoch."""
        return int(np.ceil(self._sessions.predictions / self._size))

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of epoch `number`, in random order."""
        rng = np.random.default_rng((self._seed, number))
        order = rng.permutation(len(self._sessions))
        pool = self._filled(order) // _POOL_BATCHES
        order = order[np.lexsort((self._sessions.lengths[order], pool))]
        groups = np.split(order, np.flatnonzero(np.diff(self._filled(order))) + 1)
        for group in rng.permutation(len(groups)):
            yield assemble(self._sessions, groups[group])

    def _filled(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the batch number of each session if batches are filled in `order`."""
        counts = self._counts[order]
        return (np.cumsum(counts) - counts) // self._size


class InOrder(Shuffled):
    """Batches of whole sessions in the order of the sessions, the same in every epoch."""

    def __init__(self, sessions: Sessions, *, predictions: int, max_length: int) -> None:
        super().__init__(sessions, predictions=predictions, max_length=max_length, seed=0)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches, whatever the `number` of the epoch."""
        order = np.arange(len(self._sessions))
        for group in np.split(order, np.flatnonzero(np.diff(self._filled(order))) + 1):
            yield assemble(self._sessions, group)


class Carried:
    """Batches for training with carried state: a row continues where it ended in the previous batch.

    Each row is a queue of sessions, cut into pieces of `length` clicks. A batch has `predictions / length`
    rows, at least one. The rows are about equally long in total, so few rows are idle at the end of an epoch.
    """

    def __init__(self, sessions: Sessions, *, predictions: int, length: int, seed: int) -> None:
        self._sessions, self._length, self._seed = sessions, length, seed
        self._rows = max(1, predictions // length)
        self._pieces = -(-(sessions.lengths - 1) // length)

    def __len__(self) -> int:
        """Return the maximum number of batches in an epoch."""
        return int(self._pieces.sum() // self._rows + self._pieces.max())

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of epoch `number`: sessions in random order, the pieces of a session in order."""
        rows = self._filled(np.random.default_rng((self._seed, number)).permutation(len(self._sessions)))
        for step in range(max(map(len, rows))):
            chosen = [row[step] if step < len(row) else (0, 0, True) for row in rows]
            begins, ends, fresh = map(np.array, zip(*chosen, strict=True))
            yield _assemble(self._sessions, begins, ends, fresh)

    def _filled(self, order: NDArray[np.int64]) -> list[list[tuple[int, int, bool]]]:
        """Return the pieces of each row, as (begin, end, whether the piece starts a session)."""
        rows = [(0, row, list[tuple[int, int, bool]]()) for row in range(self._rows)]
        for session in order:
            begin, end = self._sessions.starts[session : session + 2].tolist()
            begins = range(begin, end - 1, self._length)
            shortest = rows[0][2]
            shortest += [(at, min(at + self._length, end - 1), at == begin) for at in begins]
            heapq.heapreplace(rows, (len(shortest), rows[0][1], shortest))
        return [row for _, _, row in rows]


def assemble(sessions: Sessions, chosen: NDArray[np.int64]) -> Batch:
    """Return the batch of the `chosen` sessions."""
    begins = sessions.starts[chosen]
    return _assemble(sessions, begins, begins + sessions.lengths[chosen] - 1, np.ones(len(chosen), np.bool_))


def _assemble(
    sessions: Sessions, begins: NDArray[np.int64], ends: NDArray[np.int64], fresh: NDArray[np.bool_]
) -> Batch:
    """Return a batch of the clicks from `begins` to `ends` (exclusive), without negatives.

    No row may include the last click of a session.
    """
    lengths = ends - begins
    steps = np.arange(lengths.max())
    inside = steps < lengths[:, None]
    clicks = np.where(inside, begins[:, None] + steps, 0)
    items = np.where(inside, sessions.items[clicks], 0)
    places = np.flatnonzero(inside & sessions.scored[clicks + 1])
    targets = sessions.items[clicks + 1].reshape(-1)[places]
    return Batch(items, places.astype(np.int32), targets, np.zeros(0, np.int32), fresh)


def pieces(sessions: Sessions, max_length: int) -> Sessions:
    """Return `sessions` with every session of more than `max_length` clicks cut into overlapping pieces.

    A piece has at most `max_length` clicks, and every click is scored in one piece only. From the second
    piece on, the first half of a piece repeats earlier clicks as context, which is not scored.
    """
    stride = max_length - max_length // 2
    longer = np.maximum(sessions.lengths - max_length, 0)
    count = 1 + -(-longer // stride)
    session = np.repeat(np.arange(len(sessions)), count)
    number = _counted(count)
    begin = sessions.starts[session] + number * stride
    lengths = np.minimum(sessions.starts[session + 1] - begin, max_length)
    clicks, within = np.repeat(begin, lengths) + _counted(lengths), _counted(lengths)
    context = np.repeat(np.where(number > 0, max_length - stride, 0), lengths)
    starts = np.append(0, np.cumsum(lengths))
    return Sessions(sessions.items[clicks], starts, sessions.scored[clicks] & (within >= context))


def _counted(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the concatenation of `range(count)` for each of `counts`."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
