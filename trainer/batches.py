"""Training batches: sessions of like length together, so that next to nothing is padding.

Every prefix of a session predicts its next click. A batch holds about as many predictions as asked
for, whatever the lengths of its sessions: many short ones or few long ones cost the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.sessions import Sessions
from worker.core.ranking import Indexes

_POOL_BATCHES: Final = 32
"""Sessions are sorted by length within so many batches' worth of shuffled ones, not over all: so the
batches of each epoch are composed anew."""


class Batch(NamedTuple):
    """`items` `[B, L]`: sessions without their last click, padded at the end with item 0.

    `places` `[P]`: where in the `B * L` clicks the next one is to be predicted; `targets` `[P]`: that one.
    """

    items: Indexes
    places: Indexes
    targets: Indexes


class Batches:
    """The batches of every epoch over `sessions`, all of whose items must be known.

    `predictions`: how many a batch holds, about. Sessions of more than `max_length` clicks are cut
    into pieces (see `pieces`).
    """

    def __init__(self, sessions: Sessions, *, predictions: int, max_length: int, seed: int) -> None:
        self._sessions = pieces(sessions, max_length)
        self._size = predictions
        self._counts = np.add.reduceat(self._sessions.scored, self._sessions.starts[:-1], dtype=np.int64)
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        """Batches in an epoch, at most."""
        return int(np.ceil(self._sessions.predictions / self._size))

    def epoch(self) -> Iterator[Batch]:
        """The batches of one more epoch, in random order."""
        order = self._rng.permutation(len(self._sessions))
        pool = self._filled(order) // _POOL_BATCHES
        order = order[np.lexsort((self._sessions.lengths[order], pool))]
        groups = np.split(order, np.flatnonzero(np.diff(self._filled(order))) + 1)
        for number in self._rng.permutation(len(groups)):
            yield assemble(self._sessions, groups[number])

    def _filled(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of the batch that each session falls into when they come in `order`."""
        counts = self._counts[order]
        return (np.cumsum(counts) - counts) // self._size


def assemble(sessions: Sessions, chosen: NDArray[np.int64]) -> Batch:
    """The batch of the `chosen` sessions."""
    lengths = sessions.lengths[chosen]
    steps = np.arange(lengths.max() - 1)
    inside = steps < lengths[:, None] - 1
    clicks = np.where(inside, sessions.starts[chosen][:, None] + steps, 0)
    items = np.where(inside, sessions.items[clicks], 0)
    places = np.flatnonzero(inside & sessions.scored[clicks + 1])
    targets = sessions.items[clicks + 1].reshape(-1)[places]
    return Batch(items, places.astype(np.int32), targets)


def pieces(sessions: Sessions, max_length: int) -> Sessions:
    """`sessions` with those of more than `max_length` clicks cut into pieces of at most that length.

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
    """0, 1, ... up to each of `counts`, one after the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
