"""The price of items and rules: what they change in the lists of a release, and in its metrics.

The lists are made by the worker's own code, at one time: an item that is unavailable then, or a rule that is
in force then, counts for all clicks, whenever they were.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from trainer.console import Progress
from trainer.dataset.holdout import HeldOut
from trainer.evaluation.compare import Difference, paired
from trainer.evaluation.metrics import answers_of
from trainer.evaluation.replay import listed, walked
from trainer.evaluation.slices import Predictions
from worker.core.known_items import KnownItems
from worker.core.listing import Listing
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.release import Release
from worker.core.rules import Rule


@dataclass(frozen=True, slots=True)
class Effect:
    """The difference that items or rules make to the same lists: A is without them, B is with them."""

    differences: Mapping[str, Difference]
    changed: int
    """The number of lists that have other items, or have them in another order."""
    short: tuple[int, int]
    """The number of lists with fewer than K items, without and with."""

    @property
    def lists(self) -> int:
        """The number of lists, one for each prediction."""
        return next(iter(self.differences.values())).predictions

    def to_json(self) -> dict[str, Any]:
        """Return the numbers of lists, as JSON values."""
        return {
            "lists": self.lists,
            "changed_lists": self.changed,
            "short_lists": {"a": self.short[0], "b": self.short[1]},
        }

    def sentence(self) -> str:
        """Return the numbers of lists as a sentence for display."""
        before, after = self.short
        return (
            f"{self.changed:,} of {self.lists:,} lists changed ({self.changed / self.lists:.1%}); "
            f"{after:,} could not be filled ({before:,} without)"
        )


def effect_of(
    release: Release,
    held: HeldOut,
    items: KnownItems,
    rules: Mapping[str, Rule] | None = None,
    *,
    top: int,
    smaller_tops: Collection[int] = (),
    exclude_recent: int,
    placement: str = "",
    exact: bool = False,
    progress: Progress = Progress(),  # noqa: B008  # silent, without state
) -> Effect:
    """Return the effect of `rules`, all in force, with `items` on both sides; without rules, that of `items`.

    `placement`: as in `worker.core.listing.Listing.lists`. `exact`: apply click by click, as a worker does;
    then there is no placement. The items and rules stay in the tables of `release`.
    """
    sessions = held.sessions(release.catalogue)
    listing = Listing(release, top=top, approximate=release.approximates("auto"))

    def lists(items: KnownItems, rules: Mapping[str, Rule]) -> Indexes:
        prepare = partial(introduce, items=items, rules=rules)
        if exact:
            return walked(
                release, held, top=top, exclude_recent=exclude_recent, prepare=prepare, progress=progress
            )
        prepare(listing)
        return listed(listing, release, sessions, exclude_recent=exclude_recent, placement=placement)

    # Both sides rank with the column of biases that items and rules change. So if they have no effect, not
    # even the rounding of scores differs.
    release.adjust(np.empty(0, np.int32), np.empty(0, np.float32))
    before = lists(KnownItems() if rules is None else items, {})
    after = lists(items, rules or {})
    targets = sessions.items[sessions.scored]
    a, b = (answers_of(targets, one, release.items) for one in (before, after))
    return Effect(
        paired(a, b, Predictions.of(sessions).session, top=top, smaller_tops=smaller_tops),
        changed=int(np.count_nonzero((before != after).any(axis=1))),
        short=(_short(before), _short(after)),
    )


def introduce(listing: Listing, items: KnownItems, rules: Mapping[str, Rule]) -> None:
    """Apply what is known of items, and the rules in force, as a worker does."""
    listing.availability.only_without(items.unavailable())
    listing.constraints.set(rules, items)


def _short(lists: Indexes) -> int:
    return int(np.count_nonzero(lists[:, -1] == NO_ITEM))
