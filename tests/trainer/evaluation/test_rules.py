"""The price of items and rules: what a plain reference says, and what the worker itself answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import (
    Options,
    item_names,
    packed,
    successor_release_parts,
    tiny_release,
    tiny_release_parts,
    tiny_tensors,
)
from tests.trainer.builders import CYCLE, MINUTE_MS, START_MS, cyclic_clicks
from tests.trainer.evaluation.test_replay import SHAPES, held_out, held_out_clicks
from tests.worker.core.test_constraints import TAGS, all_rules
from tests.worker.desk import Desk
from tests.worker.items.test_updates import describe, lists
from trainer.evaluation.replay import answers, listed, walked
from trainer.evaluation.rules import Effect, effect_of, introduce
from worker.core.known_items import Item, KnownItems
from worker.core.listing import Listing
from worker.core.ranking import NO_ITEM
from worker.core.release import Release, verify
from worker.core.rule_record import RuleDecoder
from worker.core.rules import Allow, Boost, Exclude, Limit, Pin, Rule

ITEMS: Final = item_names(30)
CLICKS: Final = held_out_clicks(2)
HELD: Final = held_out(CLICKS, 1800, START_MS + 100 * MINUTE_MS)
TOP: Final = 5


def known(tags: Mapping[str, Sequence[str]], unavailable: Sequence[str] = ()) -> KnownItems:
    """Items with their tags."""
    found = KnownItems()
    every = dict.fromkeys([*tags, *unavailable])
    found.put(
        [(item, Item(available=item not in unavailable, tags=tuple(tags.get(item, ())))) for item in every],
        now_ms=0,
    )
    return found


def tagged(unavailable: Sequence[str] = ()) -> KnownItems:
    """The items with a kind, a brand, and some that are new."""
    tags = {
        item: [
            f"kind:{'ab'[number % 2]}",
            f"brand:{'xyz'[number % 3]}",
            *(["new"] if number % 7 == 0 else []),
        ]
        for number, item in enumerate(ITEMS)
    }
    return known(tags, unavailable)


def effect(rules: Mapping[str, Rule] | None, items: KnownItems | None = None, **options: Any) -> Effect:
    """What rules do to the lists of a release with random weights."""
    release = options.pop("release", None) or tiny_release(ITEMS)
    given = {"top": TOP, "exclude_recent": 1} | options
    return effect_of(release, HELD, tagged() if items is None else items, rules, **given)


@pytest.mark.parametrize("exact", [False, True])
def test_a_rule_that_excludes_what_is_clicked_costs_what_counting_says(*, exact: bool) -> None:
    """The release is always right, so the loss is the share of clicks on even items."""
    names = item_names(CYCLE)
    clicks = cyclic_clicks(100)
    held = held_out(clicks, 1800, None)
    even = [item for item in names if int(item.removeprefix("item-")) % 2 == 0]
    targets = [item for number, item in enumerate(clicks["item_id"].to_list()) if number % 5]
    share = sum(item in even for item in targets) / len(targets)
    found = effect_of(
        verify(*successor_release_parts(names, popular=names)),
        held,
        known({item: ["even"] for item in even}),
        {"odd only": Rule(Exclude(("even",)))},
        top=3,
        smaller_tops=(1,),
        exclude_recent=1,
        exact=exact,
    )

    assert [one.a for one in found.differences.values()][:2] == [1, 1]
    for metric in ("recall_at_1", "recall_at_3", "mrr_at_3", "ndcg_at_3"):
        assert found.differences[metric].difference == pytest.approx(-share)
        assert found.differences[metric].worse
    assert (found.lists, found.short) == (400, (0, 0))


REFERENCES: Final[Mapping[str, Rule]] = {
    "exclude": Rule(Exclude(("kind:a",))),
    "allow": Rule(Allow(("new", "brand:x"))),
    "nothing": Rule(Allow(("none",))),
    "pin": Rule(Pin("item-4", 3)),
    "cap": Rule(Limit("brand:", 1)),
}


def by_hand(ranking: Sequence[int], rule: Rule, items: KnownItems) -> list[int]:
    """Make the list from a whole ranking, item by item."""
    action, tags = rule.action, [items.tags(item) for item in ITEMS]
    if isinstance(action, Exclude):
        ranking = [item for item in ranking if not {*tags[item]} & {*action.tags}]
    if isinstance(action, Allow):
        ranking = [item for item in ranking if {*tags[item]} & {*action.tags}]
    if isinstance(action, Pin) and (pinned := ITEMS.index(action.item_id)) in ranking:
        others = [item for item in ranking if item != pinned]
        ranking = [*others[: action.place - 1], pinned, *others[action.place - 1 :]]
    if isinstance(action, Limit):
        first = [next(tag for tag in its if tag.startswith(action.prefix)) for its in tags]
        kept = list[int]()
        for item in ranking:
            if sum(first[one] == first[item] for one in kept) < action.at_most:
                kept.append(item)
        ranking = kept
    return [*ranking[:TOP]]


@pytest.mark.parametrize("rule", REFERENCES.values(), ids=REFERENCES)
def test_the_metrics_are_those_of_a_plain_reference(rule: Rule) -> None:
    """It takes the whole rankings without rules, and makes the lists from them by hand."""
    items, release = tagged(), tiny_release(ITEMS)
    sessions = HELD.sessions(release.catalogue)
    whole = [
        [item for item in row if item != NO_ITEM]
        for row in walked(release, HELD, top=len(ITEMS), exclude_recent=1).tolist()
    ]
    before, after = [row[:TOP] for row in whole], [by_hand(row, rule, items) for row in whole]
    targets = sessions.items[sessions.scored].tolist()
    found = effect({"rule": rule})

    for side, shown in (("a", before), ("b", after)):
        hits = [target in row for target, row in zip(targets, shown, strict=True)]
        places = [
            1 / (row.index(target) + 1) if target in row else 0
            for target, row in zip(targets, shown, strict=True)
        ]
        assert getattr(found.differences["recall_at_5"], side) == pytest.approx(np.mean(hits))
        assert getattr(found.differences["mrr_at_5"], side) == pytest.approx(np.mean(places))
    assert found.changed == sum(a != b for a, b in zip(before, after, strict=True))
    assert found.changed > 0
    assert found.short == tuple(sum(len(row) < TOP for row in rows) for rows in (before, after))


NO_EFFECT: Final[Mapping[str, Rule]] = {
    "exclude": Rule(Exclude(("none",))),
    "allow": Rule(Allow(("kind:a", "kind:b"))),
    "boost": Rule(Boost(("kind:a",), 1.0)),
    "pin": Rule(Pin("item-3", TOP + 1)),
    "unknown pin": Rule(Pin("unknown", 1)),
    "cap": Rule(Limit("kind:", TOP)),
    "placement": Rule(Exclude(("kind:a",)), placements=("home",)),
    "last event": Rule(Exclude(("kind:a",)), last_event_tags=("none",)),
}


def alike() -> Release:
    """A release whose items have almost the same scores: the rounding of a product decides on their order."""
    tensors = tiny_tensors(len(ITEMS), hidden_size=400, embedding_size=400)
    embedding = tensors["embedding"]
    tensors["embedding"] = embedding[0] + embedding * np.float32(1e-7)
    return verify(*packed(tensors, ITEMS, cell="gru", output="tied", normalize=True))


def test_the_rounding_of_scores_does_not_count_as_an_effect() -> None:
    """Although the table of scores has one more column where there are rules."""
    release, again = alike(), alike()
    states = np.random.default_rng(0).normal(size=(300, release.state_size)).astype(np.float32)
    again.adjust(np.arange(len(ITEMS), dtype=np.int32), np.zeros(len(ITEMS), np.float32))
    plain, adjusted = (one.rank(states, TOP).indexes for one in (release, again))

    assert (plain != adjusted).any()
    assert effect({"rule": NO_EFFECT["exclude"]}, release=alike()).changed == 0
    assert effect(None, tagged(), release=alike()).changed == 0


@pytest.mark.parametrize("shape", [{}, {"output_bias": True}, {"lists": 4}], ids=str)
@pytest.mark.parametrize("rules", [*({name: one} for name, one in NO_EFFECT.items()), NO_EFFECT, {}], ids=str)
def test_rules_without_an_effect_change_nothing(shape: Options, rules: Mapping[str, Rule]) -> None:
    """No list and no metric, to the bit; the interval is empty."""
    found = effect(rules, release=tiny_release(ITEMS, **shape))

    assert found.changed == 0
    assert found.short[0] == found.short[1]
    assert {(one.difference, one.low, one.high) for one in found.differences.values()} == {(0, 0, 0)}


def test_without_items_and_rules_the_lists_are_those_of_an_evaluation() -> None:
    """Rank by rank those of `answers`, with fallback lists among them."""
    release = tiny_release(ITEMS)
    sessions = HELD.sessions(release.catalogue)
    ranks = answers(release, sessions, top=TOP, exclude_recent=4).ranks
    shown = listed(
        Listing(release, top=TOP, approximate=False), release, sessions, exclude_recent=4, at_once=3
    )
    targets = sessions.items[sessions.scored]

    assert NO_ITEM in sessions.items
    assert ranks.tolist() == [
        row.index(target) + 1 if target != NO_ITEM and target in row else 0
        for row, target in zip(shown.tolist(), targets.tolist(), strict=True)
    ]


def test_items_alone_are_compared_with_none_and_rules_with_items_alone() -> None:
    """So the price of rules is theirs alone."""
    items = tagged(["item-1", "item-2", "item-3"])
    alone, both = effect(None, items), effect({"rule": REFERENCES["exclude"]}, items)

    assert alone.changed > 0
    assert both.differences["recall_at_5"].a == alone.differences["recall_at_5"].b
    assert effect({}, items).changed == 0


@pytest.mark.parametrize("shape", ["gru", "two layers", "repeats", "all together"])
@given(
    rules=all_rules,
    unavailable=st.lists(st.sampled_from(ITEMS), max_size=25, unique=True),
    exclude_recent=st.sampled_from([0, 1, 4]),
)
def test_the_lists_are_those_of_the_workers_recommender(
    shape: str, rules: Mapping[str, Rule], unavailable: Sequence[str], exclude_recent: int
) -> None:
    """Item by item, whatever the rules, and the items that are not available."""
    release, items = tiny_release(ITEMS, **SHAPES[shape]), tagged(unavailable)
    sessions = HELD.sessions(release.catalogue)
    listing = Listing(release, top=TOP, approximate=False)
    introduce(listing, items, rules)
    found = listed(listing, release, sessions, exclude_recent=exclude_recent)
    expected = walked(
        release,
        HELD,
        top=TOP,
        exclude_recent=exclude_recent,
        prepare=lambda one: introduce(one, items, rules),
    )

    assert found.tolist() == expected.tolist()


def test_rules_at_a_placement_have_an_effect_there() -> None:
    """Not on the lists that follow clicks."""
    rules = {"home": Rule(Exclude(("kind:a",)), placements=("home",))}
    everywhere = {"home": Rule(Exclude(("kind:a",)))}

    assert effect(rules).changed == 0
    assert effect(rules, placement="home") == effect(everywhere)


RECORDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "no a": {"exclude": {"tags": ["kind:a"]}, "last_event_tags": ["brand:x"]},
    "cap": {"cap": {"prefix": "brand:", "at_most": 2}},
    "fresh": {"boost": {"tags": ["new"], "factor": 3}},
    "lamp": {"pin": {"item_id": "item-4", "place": 2}},
    "over": {"allow": {"tags": ["new"]}, "until": "2020-01-01"},
}


def test_the_lists_are_those_that_a_worker_publishes() -> None:
    """The same records in its topics, the same clicks; the whole worker, wired as in production."""
    parts, unavailable = tiny_release_parts(ITEMS), ["item-6", "item-7"]
    desk = Desk(
        release=parts,
        partitions=1,
        topics={"items": "items", "rules": "rules"},
        recommend={"top": TOP, "exclude_recent": 1, "publish": "every", "publish_max_age": 0},
    )
    items = tagged(unavailable)
    for item in ITEMS:
        describe(desk, item, {"tags": items.tags(item), "available": item not in unavailable})
    for name, record in RECORDS.items():
        desk.cluster.produce("rules", orjson.dumps(record), key=name.encode())
    desk.serving()
    clicks = HELD.history
    for user, item, time_ms in clicks.select("user_id", "item_id", "timestamp_ms").rows():
        desk.click(user, item, timestamp=time_ms)
    desk.settle()
    release = verify(*parts)
    sessions = HELD.sessions(release.catalogue)
    listing = Listing(release, top=TOP, approximate=False)
    introduce(listing, items, in_force(desk.cluster.now_ms))
    found = listed(listing, release, sessions, exclude_recent=1)
    assert sessions.history is not None
    asked = (sessions.history.places[sessions.scored] - 1).tolist()
    published = lists(desk)

    assert len(published) == len(clicks)
    assert [named(release, row) for row in found.tolist()] == [published[click]["items"] for click in asked]


def named(release: Release, row: Sequence[int]) -> list[str]:
    """The ids of the items of a list."""
    items: list[str] = release.catalogue.ids(np.array([item for item in row if item != NO_ITEM])).tolist()
    return items


def in_force(now_ms: int) -> dict[str, Rule]:
    """The rules of `RECORDS` that are in force."""
    changes = [RuleDecoder().decode(orjson.dumps(one), name.encode()) for name, one in RECORDS.items()]
    every = {str(name): rule for name, rule in changes if isinstance(rule, Rule)}

    assert len(every) == len(RECORDS)
    return {name: rule for name, rule in every.items() if rule.is_in_force(now_ms)}


def test_the_tags_of_the_rules_are_those_of_the_items() -> None:
    """Or random rules would test little."""
    assert {*TAGS} - {"brand:y"} <= {tag for item in ITEMS for tag in tagged().tags(item)}
