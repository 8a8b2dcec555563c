"""The items that the lessons of the blend are compared over: all of them, or candidates of a large catalogue.

In a large catalogue, nearly all of a softmax belongs to few items. `Candidates` has those for certain: the
items that gain by the clicks, those that the network scores highest, and the targets. The others are sampled;
each sampled item stands for as many as its chance says (the logQ correction of Bengio & Senecal, 2008). So
memory and time do not depend on the size of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from trainer.model.backend import tf
from trainer.model.negatives import Negatives
from trainer.model.terms import OWN_HALF_LIFE, RECENT, Priors
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM, Gains, Indexes, OwnItems, own_gains

MOST_ITEMS: Final = 50_000
"""Up to this number of items in the catalogue, lessons are compared over all items."""

_LESSONS: Final = 64
"""Lessons that share their candidates. More would share more candidates that matter to one of them only."""


class Lessons(NamedTuple):
    """P training examples for the weights of the blend."""

    hidden: Floats
    """`[P, H]`: hidden vectors; the product with an item's output vector is the network's score."""
    recent: Indexes
    """`[P, R]`: the preceding clicks in the session, newest first, padded with `NO_ITEM`."""
    excluded: Indexes
    """`[P, X]`: the items that may not be recommended, padded with `NO_ITEM`."""
    targets: Indexes
    """`[P]`: the items that were clicked next."""
    own: Indexes
    """`[P, M]`: the user's preceding clicks in any session, newest first, padded with `NO_ITEM`."""
    likely: Indexes
    """`[P, T]`: the items that the network scores highest; only `Candidates` needs any."""

    def usable(self) -> Lessons:
        """Return the examples whose last clicked item is known and whose target is known and not excluded."""
        shown = ~(self.excluded == self.targets[:, None]).any(axis=1)
        return self.only(shown & (self.targets != NO_ITEM) & (self.recent[:, 0] != NO_ITEM))

    def only(self, chosen: Any) -> Lessons:
        """Return the examples that `chosen` selects, an array of indexes or a mask."""
        return Lessons(*(column[chosen] for column in self))


class Part(NamedTuple):
    """Some lessons, and the C items over which they are compared: the lessons have indexes of these."""

    lessons: Lessons
    gains: Gains
    table: Any
    bias: Any
    priors: Priors
    """Those of the C items; the rows of clicks are those of the first items."""
    correction: Any
    """`[C]`: what each item's logit is raised by, because it stands for other items, too."""


class Compared(Protocol):
    """The items over which lessons are compared."""

    def parts(self, lessons: Lessons, *seed: int) -> Iterator[Part]:
        """Yield all `lessons`, in their order, with their items; the same `seed` gives the same items."""


class AllItems:
    """All items of a catalogue, with the item vectors and the bias in `tensors`."""

    def __init__(self, tensors: Mapping[str, Floats], priors: Priors) -> None:
        table, bias = map(tf.constant, table_and_bias(tensors))
        self._known = (table, bias, Priors(*map(tf.constant, priors)), tf.zeros(len(table)))

    def parts(self, lessons: Lessons, *_: int) -> Iterator[Part]:
        """Yield one part with all lessons."""
        yield Part(*_asked(lessons), *self._known)


class Candidates:
    """The items of a large catalogue that matter to a few lessons, and a sample of the others."""

    def __init__(self, tensors: Mapping[str, Floats], priors: Priors, negatives: Negatives) -> None:
        self._table, self._bias = table_and_bias(tensors)
        self._priors, self._negatives, self._expected = priors, negatives, negatives.expected
        self._places = np.full(len(self._table) + 1, NO_ITEM, np.int32)

    def parts(self, lessons: Lessons, *seed: int) -> Iterator[Part]:
        """Yield parts of a few lessons each, with their candidates."""
        for number, first in enumerate(range(0, len(lessons.targets), _LESSONS)):
            drawn = self._negatives.draw(*seed, number)
            yield self._part(lessons.only(slice(first, first + _LESSONS)), drawn)

    def _part(self, lessons: Lessons, drawn: Indexes) -> Part:
        priors, near = self._priors, lessons.recent[:, :RECENT]
        clicked = _known(near)
        certain = _known(
            *(lessons.recent, lessons.targets, lessons.own, lessons.likely),
            *(priors.following[clicked], priors.near[clicked]),
        )
        certain = np.append(clicked, np.setdiff1d(certain, clicked, assume_unique=True))
        others, counts = np.unique(drawn, return_counts=True)
        sampled = ~np.isin(others, certain)
        others, counts = others[sampled], counts[sampled]
        items = np.append(certain, others)
        correction = np.append(np.zeros(len(certain)), np.log(counts / self._expected[others]))
        self._places[items] = np.arange(len(items))
        here = lessons._replace(
            **{
                name: self._places[getattr(lessons, name)]
                for name in ("recent", "excluded", "targets", "own")
            }
        )
        rows = Priors(
            priors.popularity[items],
            self._places[priors.following[clicked]],
            priors.transitions[clicked],
            self._places[priors.near[clicked]],
            priors.co_occurrences[clicked],
        )
        self._places[items] = NO_ITEM
        known = Priors(*map(tf.constant, rows))
        table, bias = self._table[items], self._bias[items]
        return Part(*_asked(here), table, bias, known, correction.astype(np.float32))


def compared_over(
    tensors: Mapping[str, Floats], priors: Priors, negatives: Negatives | None = None
) -> Compared:
    """Return the items over which lessons are compared: all; with `negatives`, candidates."""
    return Candidates(tensors, priors, negatives) if negatives else AllItems(tensors, priors)


def table_and_bias(tensors: Mapping[str, Floats]) -> tuple[Floats, Floats]:
    """Return the output vectors in `tensors`, and the bias, which is 0 if there is none."""
    table = tensors.get("output", tensors["embedding"])
    return table, tensors.get("output_bias", np.zeros(len(table), np.float32))


def _known(*items: Indexes) -> Indexes:
    """Return the distinct items in `items`, ascending, without `NO_ITEM`."""
    distinct = np.unique(np.concatenate([one.reshape(-1) for one in items]))
    return distinct[distinct != NO_ITEM].astype(np.int32)


def _asked(lessons: Lessons) -> tuple[Lessons, Gains]:
    """Return `lessons` as constants of TensorFlow, and the gains of own items at a weight of 1."""
    gains = own_gains(lessons.own, OwnItems(lessons.own.shape[1], 1.0, OWN_HALF_LIFE))
    return Lessons(*map(tf.constant, lessons)), Gains(*map(tf.constant, gains))
