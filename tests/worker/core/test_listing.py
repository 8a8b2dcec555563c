"""Lists under a release and its rules, told with a release whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ITEMS, tiny_release
from tests.worker.core.test_constraints import all_rules
from tests.worker.core.test_recommender import Served
from worker.core.known_items import Item, KnownItems
from worker.core.listing import Listing
from worker.core.quality import Quality
from worker.core.ranking import NO_ITEM
from worker.core.recommender import COLD, MODEL, Recommendations
from worker.core.rules import Allow, Boost, Exclude, Limit, Pin, Rule

EVEN = "number:even"
ODD = "number:odd"


def known_items() -> KnownItems:
    """The items of a tiny release: with their numbers, even and odd."""
    known = KnownItems()
    tags = {item: (EVEN if number % 2 == 0 else ODD, f"item:{number}") for number, item in enumerate(ITEMS)}
    known.put([(item, Item(tags=its)) for item, its in tags.items()], now_ms=0)
    return known


def served(rules: dict[str, Rule], **options: Any) -> Served:
    """A recommender with rules in force; after a click, the next item is best, then the items in order."""
    found = Served(**{"top": 5} | options)
    found._recommender.listing.constraints.set(rules, known_items())
    return found


def answer(rules: dict[str, Rule], item: str = "item-4", **options: Any) -> Recommendations:
    """The list after a click."""
    return served(rules, **options).batch(("ada", item))[0]


def numbers(found: Recommendations) -> list[int]:
    """The numbers of the items of a list."""
    return [int(item.removeprefix("item-")) for item in found.items]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Exclude((EVEN,)), [5, 1, 3, 7, 9]),
        (Allow((EVEN,)), [0, 2, 6, 8, 10]),
        (Allow(("none",)), []),
        (Boost(("item:9",), 100.0), [9, 5, 0, 1, 2]),
        (Boost(("item:5",), 1e-9), [0, 1, 2, 3, 6]),
        (Pin("item-8", 2), [5, 8, 0, 1, 2]),
        (Pin("item-8", 6), [5, 0, 1, 2, 3]),
        (Pin("unknown", 1), [5, 0, 1, 2, 3]),
        (Pin("item-4", 1), [5, 0, 1, 2, 3]),
        (Limit("number:", 2), [5, 0, 1, 2]),
        (Limit("none:", 1), [5, 0, 1, 2, 3]),
    ],
)
def test_each_action_changes_ranked_lists(action: Any, expected: list[int]) -> None:
    """The item clicked last is left out, whatever rules say."""
    found = answer({"rule": Rule(action)})

    assert found.reason == MODEL
    assert numbers(found) == expected
    assert len(found.scores) == len(found.items)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Exclude((EVEN,)), [11, 9, 7, 5, 3]),
        (Allow((EVEN,)), [10, 8, 6, 4, 2]),
        (Boost(("item:9",), 4.0), [9, 11, 10, 8, 7]),
        (Boost(("item:11",), 0.4), [10, 11, 9, 8, 7]),
        (Pin("item-3", 2), [11, 3, 10, 9, 8]),
        (Limit("number:", 2), [11, 10, 9, 8]),
    ],
)
def test_each_action_changes_fallback_lists(action: Any, expected: list[int]) -> None:
    """Place 3 with a factor of 4 comes before place 1."""
    for placements in ((), ("home",)):
        rules = {"rule": Rule(action, placements=placements)}
        of = served(rules)
        found = of.batch(("ada", "unknown"))[0]
        listed = of._recommender.listing.lists(cold(of), placement="home")

        assert found.reason == COLD
        assert numbers(found) == ([11, 10, 9, 8, 7] if placements else expected)
        assert [item for item in listed.indexes[0].tolist() if item != NO_ITEM] == expected


class Cold:
    """Someone without a known item."""

    def __init__(self, state_size: int) -> None:
        self.hidden = np.zeros((1, state_size), np.float16)
        self.warm = np.zeros(1, np.bool_)
        self.excluded = self.recent = self.own = np.empty((1, 0), np.int32)
        self.last = np.full(1, NO_ITEM, np.int32)


def cold(of: Served) -> Cold:
    """Such a user."""
    return Cold(of.release.state_size)


def test_a_rule_for_some_last_events_changes_only_the_lists_after_them() -> None:
    """In one batch with others; a click on an item that the release does not know has no tags."""
    rules = {
        "after even": Rule(Exclude((ODD,)), last_event_tags=(EVEN,)),
        "after odd": Rule(Pin("item-0", 1), last_event_tags=(ODD,)),
        "home": Rule(Allow(("none",)), placements=("home",)),
        "none": Rule(Allow(("none",)), last_event_tags=("none",)),
    }
    of = served(rules, top=3)
    found = of.batch(("ada", "item-4"), ("bob", "item-5"), ("cyd", "item-6"), ("dan", "unknown"))

    assert [numbers(one) for one in found] == [[0, 2, 6], [0, 6, 1], [0, 2, 4], [11, 10, 9]]


@pytest.mark.parametrize("rules", [{}, {"cap": Rule(Limit("number:", 2)), "pin": Rule(Pin("item-3", 1))}])
def test_a_filter_holds_besides_the_rules(rules: dict[str, Rule]) -> None:
    """In ranked and in fallback lists; pinned items obey it, too."""
    of = served(rules)
    allowed = np.array([number % 2 == 0 for number in range(len(ITEMS))])
    listing, asked = of._recommender.listing, cold(of)
    found = []
    for warm in (True, False):
        asked.warm[:] = warm
        listed = listing.lists(asked, 4, allowed=allowed).indexes[0].tolist()
        found.append([item for item in listed if item != NO_ITEM])

    assert found == ([[0, 2], [10, 8]] if rules else [[0, 2, 4, 6], [10, 8, 6, 4]])
    assert listing.lists(asked, 2).indexes[0].tolist() == ([3, 11] if rules else [11, 10])


def test_rules_hold_together_in_their_order() -> None:
    """Not available, then the user's own items, then exclude and allow, then pins, then caps, then boosts."""
    rules = {
        "allow": Rule(Allow((EVEN, "item:7"))),
        "boost": Rule(Boost(("item:8", "item:10"), 10.0)),
        "cap": Rule(Limit("number:", 2)),
        "exclude": Rule(Exclude(("item:6",))),
        "pin gone": Rule(Pin("item-2", 1)),
        "pin mine": Rule(Pin("item-4", 1)),
        "pin odd": Rule(Pin("item-5", 1)),
        "pin out": Rule(Pin("item-6", 1)),
        "pin zero": Rule(Pin("item-0", 2)),
    }
    of = served(rules)
    of._recommender.listing.availability.set(["item-2"], np.array([False]))

    assert numbers(of.batch(("ada", "item-4"))[0]) == [8, 0, 7]


def test_without_rules_everything_is_as_before() -> None:
    """To the bit, after rules were in force."""
    of, plain = served({"one": Rule(Boost((EVEN,), 3.0)), "two": Rule(Exclude((ODD,)))}), Served(top=5)
    of._recommender.listing.constraints.set({}, known_items())
    found, expected = (one.batch(("ada", "item-4"), ("bob", "unknown")) for one in (of, plain))

    assert [one.items for one in found] == [one.items for one in expected]
    assert found[0].scores.tobytes() == expected[0].scores.tobytes()


def test_pinned_items_are_not_judged() -> None:
    """A click on one is no hit; one on another item of the list is."""
    hits = []
    for clicked in ("item-8", "item-5"):
        of = Served(top=3)
        quality = Quality(of.states, top=3)
        recommender = of._recommender
        recommender._quality = quality
        quality.introduce(of.release.number, [*of.release.manifest.popular], exclude_recent=1)
        recommender.listing.constraints.set({"pin": Rule(Pin("item-8", 1))}, known_items())
        of.batch(("ada", "item-4"))
        of.batch(("ada", clicked))
        tally = quality.open[of.release.number]
        hits.append((tally.clicks, tally.hits))

    assert hits == [(1, 0), (1, 1)]


def test_short_lists_are_counted() -> None:
    """Those that could not be filled."""
    of = served({"rule": Rule(Allow(("item:1", "item:2")))}, top=2)
    of.batch(("ada", "item-4"), ("bob", "item-1"), ("cyd", "unknown"))

    assert of._recommender.short == 1


def test_a_list_is_compared_when_that_is_due() -> None:
    """The first that the network ranks; rules that do not hold for it cannot change it."""
    rules = {
        "allow": Rule(Allow((EVEN,))),
        "boost": Rule(Boost((EVEN,), 2.0)),
        "home": Rule(Exclude((EVEN,)), placements=("home",)),
        "odd": Rule(Exclude((EVEN,)), last_event_tags=(ODD,)),
        "pin": Rule(Pin("item-10", 1), last_event_tags=(EVEN,)),
    }
    of = served(rules)
    effects = of._recommender.listing.effects
    of.batch(("ada", "item-4"))
    before = effects.compared
    effects.due = True
    of.batch(("bob", "unknown"))
    of.batch(("cyd", "item-4"))
    of.batch(("dan", "item-4"))

    assert (before, effects.compared, effects.due) == (0, 1, False)
    assert effects.changed == {"allow": 1, "pin": 1}


@given(all_rules, st.integers(0, 3))
def test_comparing_changes_no_list(rules: dict[str, Rule], seed: int) -> None:
    """And finds no effect of rules that are not in force."""
    release = tiny_release(seed=seed, transitions=2)
    listing = Listing(release, top=4, approximate=False)
    listing.constraints.set(rules, known_items())
    random = np.random.default_rng(seed)

    class Warm(Cold):
        def __init__(self) -> None:
            super().__init__(release.state_size)
            self.hidden = random.standard_normal((1, release.state_size)).astype(np.float16)
            self.warm = np.ones(1, np.bool_)
            self.recent = np.zeros((1, 1), np.int32)
            self.last = np.zeros(1, np.int32)

    asked = Warm()
    before = listing.lists(asked)
    listing.effects.due = True
    listing.compare(asked)
    after = listing.lists(asked)

    assert before.indexes.tolist() == after.indexes.tolist()
    assert before.scores.tolist() == after.scores.tolist()
    assert listing.effects.changed.keys() <= {name for name, rule in rules.items() if not rule.placements}
