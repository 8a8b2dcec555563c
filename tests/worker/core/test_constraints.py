"""Rules compiled for a release: what they say item by item, whatever changed before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import item_names, tiny_release
from worker.core.availability import Availability
from worker.core.constraints import Constraints
from worker.core.known_items import Item, KnownItems
from worker.core.placing import Constraint
from worker.core.ranking import NO_ITEM
from worker.core.release import Release
from worker.core.rules import Allow, Boost, Exclude, Limit, Pin, Rule

NAMES: Final = item_names(6)
TAGS: Final = ["kind:a", "kind:b", "brand:x", "brand:y", "new"]

some_tags = st.lists(st.sampled_from(TAGS), min_size=1, max_size=3, unique=True).map(tuple)
actions = st.one_of(
    st.builds(Exclude, some_tags),
    st.builds(Allow, some_tags),
    st.builds(Boost, some_tags, st.sampled_from([0.5, 2.0, 3.0])),
    st.builds(Pin, st.sampled_from([*NAMES, "unknown"]), st.integers(1, 4)),
    st.builds(Limit, st.sampled_from(["kind:", "brand:", "none:"]), st.integers(1, 3)),
)
all_rules = st.dictionaries(
    st.sampled_from(["p", "q", "r", "s", "t"]),
    st.builds(
        Rule,
        actions,
        placements=st.sampled_from([(), (), ("home",), ("home", "cart")]),
        last_event_tags=st.just(()) | some_tags,
    ),
)
tags = st.lists(st.sampled_from(TAGS), max_size=4, unique=True).map(tuple)
changes = st.lists(
    st.tuples(st.sampled_from([*NAMES, "unknown"]), st.none() | st.builds(Item, tags=tags)), max_size=5
)
steps = st.lists(changes | all_rules, min_size=1, max_size=6)


def added(rules: list[Rule], its: tuple[str, ...]) -> float:
    """What rules add to the score of an item with the tags `its`: the definition."""
    total = np.float32(0)
    for rule in rules:
        action = rule.action
        if isinstance(action, Exclude | Allow | Boost):
            has = bool({*its} & {*action.tags})
            if isinstance(action, Boost):
                total += np.float32(np.log(action.factor)) if has else 0
            elif has == isinstance(action, Exclude):
                return -np.inf
    return float(total)


def pins_of(rules: list[Rule]) -> list[tuple[int, int]]:
    """The pins in order of place and name; the first one of an item counts."""
    pins = [rule.action for rule in rules if isinstance(rule.action, Pin) and rule.action.item_id in NAMES]
    found = dict[str, int]()
    for pin in sorted(pins, key=lambda one: one.place):
        found.setdefault(pin.item_id, pin.place)
    return [(place, NAMES.index(item)) for item, place in found.items()]


def alike(groups: list[int]) -> list[list[int]]:
    """The items of each group, in the order of the groups' first items; those of no group are left out."""
    found = defaultdict[int, list[int]](list)
    for item, group in enumerate(groups):
        if group >= 0:
            found[group].append(item)
    return [*found.values()]


def prefixed(its: Mapping[str, tuple[str, ...]], prefix: str) -> list[list[int]]:
    """The same by the tags themselves."""
    found = defaultdict[str, list[int]](list)
    for number, item in enumerate(NAMES):
        first = next((tag for tag in its.get(item, ()) if tag.startswith(prefix)), None)
        if first is not None:
            found[first].append(number)
    return [*found.values()]


def check(
    constraint: Constraint | None, rules: list[Rule], scoring: list[Rule], its: Mapping[str, Any]
) -> None:
    """Compare a constraint with the rules that make it; `scoring`: those whose scores it has."""
    found = constraint or Constraint()
    adjust = np.zeros(len(NAMES), np.float32) if found.adjust is None else found.adjust

    assert adjust.tolist() == [added(scoring, its.get(item, ())) for item in NAMES]
    assert [*found.pins] == pins_of(rules)
    limits = [rule.action for rule in rules if isinstance(rule.action, Limit)]
    assert [cap.at_most for cap in found.caps] == [limit.at_most for limit in limits]
    for cap, limit in zip(found.caps, limits, strict=True):
        assert alike(cap.groups.tolist()) == prefixed(its, limit.prefix)


def bias(release: Release) -> list[float]:
    """What the table adds to the score of each item."""
    nothing, states = np.empty((1, 0), np.int32), np.zeros((1, release.state_size), np.float32)
    found = release.rank(states, release.items, None, nothing, own=nothing)
    by_item = dict(zip(found.indexes[0].tolist(), found.scores[0].tolist(), strict=True))
    return [by_item.get(item, -np.inf) for item in range(release.items)]


@given(steps)
def test_rules_say_of_each_item_what_its_tags_say(steps: list[Any]) -> None:
    """After any changes of rules and tags, in any order: for all lists, for a placement, after an event."""
    release, known, its = tiny_release(NAMES), KnownItems(), dict[str, tuple[str, ...]]()
    constraints, rules = Constraints(release.catalogue, Availability(release)), dict[str, Rule]()
    for step in steps:
        if isinstance(step, dict):
            rules = dict(sorted(step.items()))
            constraints.set(step, known)
        else:
            constraints.retag(dict.fromkeys(known.put(step, now_ms=0)))
            its |= {item: () if one is None else one.tags for item, one in step}
        always = [rule for rule in rules.values() if not rule.is_conditional]
        last = np.array([*range(len(NAMES)), NO_ITEM], np.int32)

        assert bias(release) == [added(always, its.get(item, ())) for item in NAMES]
        for placement in ("", "home"):
            rows = list[int]()
            for part in constraints.parts(last, placement):
                rows += part.rows.tolist()
                for row in part.rows.tolist():
                    tags = its.get(NAMES[row], ()) if row < len(NAMES) else ()
                    holds = [
                        rule
                        for rule in rules.values()
                        if (not rule.placements or placement in rule.placements)
                        and (not rule.last_event_tags or {*rule.last_event_tags} & {*tags})
                    ]
                    conditional = [rule for rule in holds if rule.is_conditional]
                    check(part.constraint, holds, conditional, its)
                    if not placement:
                        names = constraints.holding(last[row : row + 1])
                        assert [rules[name] for name in names] == holds
                        check(constraints.together(names), holds, holds, its)
            assert sorted(rows) == [*range(len(last))]


def test_without_rules_there_is_one_part_without_a_constraint() -> None:
    """And no table of tags."""
    release, known = tiny_release(NAMES), KnownItems()
    constraints = Constraints(release.catalogue, Availability(release))
    constraints.set({}, known)
    constraints.retag(["item-1"])

    (part,) = constraints.parts(np.array([0, 1], np.int32))
    assert (part.rows.tolist(), part.constraint) == ([0, 1], None)
    assert constraints.parts(np.empty(0, np.int32)) == []
    assert len(constraints._places) == 0
    assert bias(release) == [0.0] * len(NAMES)


def test_an_item_that_is_described_later_is_found() -> None:
    """Its tags count from then on."""
    release, known = tiny_release(NAMES), KnownItems()
    constraints = Constraints(release.catalogue, Availability(release))
    constraints.set({"rule": Rule(Exclude(("new",)))}, known)
    before = bias(release)
    constraints.retag(known.put([("item-2", Item(tags=("new",)))], now_ms=0))

    assert before == [0.0] * len(NAMES)
    assert bias(release) == [-np.inf if item == 2 else 0.0 for item in range(len(NAMES))]


def test_a_change_of_the_availability_alone_costs_nothing() -> None:
    """What was made of the rules is kept until tags change."""
    known, last = KnownItems(), np.zeros(1, np.int32)
    known.put([("item-2", Item(tags=("new",)))], now_ms=0)
    release = tiny_release(NAMES)
    constraints = Constraints(release.catalogue, Availability(release))
    constraints.set({"rule": Rule(Exclude(("new",)), placements=("home",))}, known)

    def change(item_id: str, item: Item) -> Constraint | None:
        constraints.retag(known.put([(item_id, item)], now_ms=0))
        (part,) = constraints.parts(last, "home")
        return part.constraint

    first = change("item-1", Item(tags=("old",)))

    assert change("item-1", Item(available=False, tags=("old",))) is first
    assert change("item-3", Item(available=False)) is first

    after = change("item-3", Item(tags=("new",)))

    assert after is not None
    assert after.adjust is not None
    assert np.flatnonzero(after.adjust).tolist() == [2, 3]


def test_constraints_that_are_in_use_are_kept() -> None:
    """Of more than are kept, those used last."""
    known, last = KnownItems(), np.zeros(1, np.int32)
    release = tiny_release(NAMES)
    constraints = Constraints(release.catalogue, Availability(release))
    rules = {str(at): Rule(Exclude(("new",)), placements=(str(at),)) for at in range(200)}
    constraints.set(rules, known)

    def constraint(placement: str) -> Constraint | None:
        (part,) = constraints.parts(last, placement)
        return part.constraint

    first = constraint("0")
    for at in range(1, 200):
        constraint(str(at))

        assert constraint("0") is first
