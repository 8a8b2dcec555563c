"""Which rules change a list: those without which it would be another one."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tests.builders import item_names, tiny_release
from worker.core.availability import Availability
from worker.core.constraints import Constraints
from worker.core.known_items import Item, KnownItems
from worker.core.placing import Constraint
from worker.core.rule_effects import changing, in_reach
from worker.core.rules import Action, Allow, Boost, Exclude, Limit, Pin, Rule

NAMES = item_names(6)
SCORES = np.arange(6, 0, -1, dtype=np.float32)


def effective(rules: dict[str, Rule], k: int = 3) -> list[str]:
    """The rules that change the list item-0, item-1, ...; the items from item-3 on are new."""
    release, known = tiny_release(NAMES), KnownItems()
    known.put([(item, Item(tags=("new",) if item > "item-2" else ("old",))) for item in NAMES], now_ms=0)
    constraints = Constraints(release.catalogue, Availability(release))
    constraints.set(rules, known)
    return changing(SCORES, k, [*rules], constraints.together)


def test_a_rule_that_changes_the_list_counts() -> None:
    """Whatever its action."""
    actions: dict[str, Action] = {
        "allow": Allow(("new",)),
        "boost": Boost(("new",), 1000.0),
        "cap": Limit("old", 1),
        "exclude": Exclude(("old",)),
        "pin": Pin("item-5", 1),
    }

    assert [name for name, action in actions.items() if effective({name: Rule(action)})] == [*actions]


def test_a_rule_that_changes_nothing_does_not_count() -> None:
    """Because no item in reach has its tags, or the item is at its place anyway."""
    rules = {
        "allow": Rule(Allow(("old",))),
        "boost": Rule(Boost(("old",), 2.0)),
        "cap": Rule(Limit("old", 3)),
        "exclude": Rule(Exclude(("none",))),
        "pin": Rule(Pin("item-0", 1)),
    }

    assert effective(rules) == []


def test_a_rule_counts_if_the_list_would_be_another_one_without_it() -> None:
    """With all the others. Of two rules that say the same, neither does."""
    same = {name: Rule(Exclude(("old",))) for name in ("one", "two")}

    assert effective(same) == []
    assert effective({"one": Rule(Exclude(("old",))), "pin": Rule(Pin("item-4", 3))}) == ["one", "pin"]


def test_items_that_no_list_may_have_are_in_none() -> None:
    """So a rule for them has no effect."""

    def of(names: Collection[str]) -> Constraint:
        return Constraint(pins=((1, 5),)) if names else Constraint()

    assert changing(np.where(SCORES == 1, -np.inf, SCORES), 3, ["pin"], of) == []


def test_few_items_are_in_reach() -> None:
    """The best without rules, the best under all of them, and those at fixed places."""
    scores = np.arange(100_000, dtype=np.float32)
    items = in_reach(scores, -scores, 20, [50_000])

    assert {0, 19, 50_000, 99_980, 99_999} <= {*items.tolist()}
    assert len(items) < 3_000
    assert (np.diff(items) > 0).all()


def test_rules_for_some_items_are_those_for_all_items() -> None:
    """Scores, pins and groups are in the order of the items."""
    release, known = tiny_release(NAMES), KnownItems()
    known.put([(item, Item(tags=(str(at % 2),))) for at, item in enumerate(NAMES)], now_ms=0)
    constraints = Constraints(release.catalogue, Availability(release))
    rules = {"boost": Rule(Boost(("1",), 3.0)), "cap": Rule(Limit("", 1)), "pin": Rule(Pin("item-4", 2))}
    constraints.set(rules, known)
    items = np.array([1, 2, 4], np.int32)

    every, some = constraints.together(rules), constraints.together(rules, items)

    assert every.adjust is not None
    assert some.adjust is not None
    assert some.adjust.tolist() == every.adjust[items].tolist()
    assert some.caps[0].groups.tolist() == every.caps[0].groups[items].tolist()
    assert (every.pins, some.pins) == (((2, 4),), ((2, 2),))
