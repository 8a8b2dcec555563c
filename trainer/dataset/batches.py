"""Training batches: sessions of like length together, so that next to nothing is padding.

Every prefix of a session predicts its next click. A batch holds about as many predictions as asked
for, whatever the lengths of its sessions: many short ones or few long ones cost the same. Rejected: a fixed
number of sessions, with which the cost of a step varies with their lengths.
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
"""Sessions are sorted by length within this many batches' worth of shuffled ones, not over all: so each
epoch has batches of its own."""


class Batch(NamedTuple):
    """`items` `[B, L]`: sessions without their last click, padded at the end with item 0.

    `places` `[P]`: where in the `B * L` clicks the next one is to be predicted; `targets` `[P]`: that one.
    `negatives` `[S]`: items drawn to compare the targets with. `fresh` `[B]`: whether a row begins without a
    past; else it goes on where this row of the batch before ended.
    """

    items: Indexes
    places: Indexes
    targets: Indexes
    negatives: Indexes
    fresh: NDArray[np.bool_]


class Batches(Protocol):
    """The batches of all epochs. The same epoch of the same seed has the same, whenever it is asked for."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch, at most."""

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of epoch `number`, in random order."""


class Shuffled:
    """Batches of whole sessions, all of whose items must be known.

    `predictions`: how many a batch holds, about. Sessions of more than `max_length` clicks are cut
    into pieces (see `pieces`).
    """

    def __init__(self, sessions: Sessions, *, predictions: int, max_length: int, seed: int) -> None:
        self._sessions = pieces(sessions, max_length)
        self._size = predictions
        self._counts = np.add.reduceat(self._sessions.scored, self._sessions.starts[:-1], dtype=np.int64)
        self._seed = seed

    def __len__(self) -> int:
        """Return the number of batches in an epoch, at most."""
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
        """Return the number of the batch that each session falls into when they come in `order`."""
        counts = self._counts[order]
        return (np.cumsum(counts) - counts) // self._size


class Carried:
    """Batches whose rows go on where they ended: each is one session after the other, piece by piece.

    A piece has `length` clicks, a batch as many rows as make about `predictions`. All rows are about
    equally long, so few are idle at an epoch's end.
    """

    def __init__(self, sessions: Sessions, *, predictions: int, length: int, seed: int) -> None:
        self._sessions, self._length, self._seed = sessions, length, seed
        self._rows = max(1, predictions // length)
        self._pieces = -(-(sessions.lengths - 1) // length)

    def __len__(self) -> int:
        """Return the number of batches in an epoch, at most."""
        return int(self._pieces.sum() // self._rows + self._pieces.max())

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of epoch `number`: sessions in random order, the pieces of each in order."""
        rows = self._filled(np.random.default_rng((self._seed, number)).permutation(len(self._sessions)))
        for step in range(max(map(len, rows))):
            chosen = [row[step] if step < len(row) else (0, 0, True) for row in rows]
            begins, ends, fresh = map(np.array, zip(*chosen, strict=True))
            yield _assemble(self._sessions, begins, ends, fresh)

    def _filled(self, order: NDArray[np.int64]) -> list[list[tuple[int, int, bool]]]:
        """Return for each row its pieces: begin and end, and whether a session begins with the piece."""
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
    """Return a batch, without negatives, of clicks from `begins` to before `ends`, none a session's last."""
    lengths = ends - begins
    steps = np.arange(lengths.max())
    inside = steps < lengths[:, None]
    clicks = np.where(inside, begins[:, None] + steps, 0)
    items = np.where(inside, sessions.items[clicks], 0)
    places = np.flatnonzero(inside & sessions.scored[clicks + 1])
    targets = sessions.items[clicks + 1].reshape(-1)[places]
    return Batch(items, places.astype(np.int32), targets, np.zeros(0, np.int32), fresh)


def pieces(sessions: Sessions, max_length: int) -> Sessions:
    """Return `sessions`, with those of more than `max_length` clicks cut into pieces of at most that length.

    Every click stays scored once. A piece begins half a length before the click from which on it is
    scored, so that the network does not have to predict out of nothing.
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
    """Return 0, 1, ... up to each of `counts`, one after the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
