"""The effects of rules: now and then, a list is compared with those that it would be without each rule.

To know it of every list would cost as much as to rank all lists twice. A rule changes a list if the list
without the rule, but with all others, has other items, or has them in another order. Only items in reach are
looked at, so that the time does not grow with the product of rules and items.

>>> scores, flags = np.array([3, 2, 1], np.float32), np.array([1, 0, 0], np.bool_)
>>> rules = {"a": Constraint(np.where(flags, -np.inf, 0).astype(np.float32)), "b": Constraint(pins=((3, 0),))}
>>> def of(names):
...     return rules["a"] if "a" in names else rules["b"] if names else Constraint()
>>> changing(scores, 2, ["a", "b"], of)
['a']
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from worker.core.placing import Asked, Constraint, Part, ranked
from worker.core.ranking import Floats, Indexes, ItemTable

_REACH: Final = 1_000
"""This many items more than are in a list are looked at, of the best with all rules and of those without."""


@dataclass(slots=True)
class RuleEffects:
    """Counts of compared lists. All are sums."""

    due: bool = False
    """Whether the next list is to be compared."""
    compared: int = 0
    """Lists that were compared."""
    changed: Counter[str] = field(default_factory=Counter)
    """By rule: those of them that the rule changed."""


def in_reach(scores: Floats, ruled: Floats, k: int, pinned: Sequence[int]) -> Indexes:
    """Return the best items without rules, the best under all of them, and the pinned ones, ascending.

    `scores` and `ruled` `[N]`: the scores of all items without rules and under all of them.
    """
    depth = min(len(scores), k + _REACH)
    best = [np.argpartition(one, -depth)[-depth:] for one in (scores, ruled)]
    return np.unique(np.concatenate([*best, np.array(pinned, np.intp)])).astype(np.int32)


def changing(
    scores: Floats, k: int, names: Sequence[str], constraint: Callable[[Collection[str]], Constraint]
) -> list[str]:
    """Return which of the rules `names` change a list of `k` items.

    `scores` `[N]`: the scores of the items without rules, -inf for those that no list may have. `constraint`
    returns the constraint that some of the rules make together.
    """
    # A table in which the only number of an item's vector is its score.
    table, asked = ItemTable(scores[:, None]), Asked(np.ones((1, 1), np.float32))
    row = np.zeros(1, np.intp)

    def listed(some: Collection[str]) -> list[int]:
        return ranked(table, None, asked, k, [Part(row, constraint(some))]).indexes[0].tolist()

    found = listed(names)
    return [name for name in names if listed([one for one in names if one != name]) != found]
