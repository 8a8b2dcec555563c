"""Lists on request, from the states as they are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tests.builders import ITEMS, item_names, tiny_release
from tests.worker.core.test_recommender import NOW_MS, Served
from worker.core.asking import MAX_K, NO_ROW, Listed, Query, answer, similar
from worker.core.known_items import Item, KnownItems
from worker.core.ranking import Indexes, OwnItems
from worker.core.recommender import Recommender
from worker.core.rules import Boost, Exclude, Limit, Pin, Rule
from worker.core.slabs import Rows
from worker.core.tag_filter import TagFilter


class Asked(Served):
    """A recommender that is asked for lists; each item has its number modulo 3 as a tag, and `all`."""

    def __init__(self, *arguments: Any, **rules: Any) -> None:
        super().__init__(*arguments, **rules)
        self.known = KnownItems()
        self.known.put(
            [(item_id, Item(tags=(str(at % 3), "all"))) for at, item_id in enumerate(ITEMS)], now_ms=0
        )
        self._filters = TagFilter(self.release.catalogue)

    @property
    def recommender(self) -> Recommender:
        """The recommender."""
        return self._recommender

    def allowed(self, query: Query) -> Indexes:
        """The items that the tags of a query allow."""
        return self._filters.items(self.known, query.only, query.without)

    def put_rules(self, tags: dict[str, tuple[str, ...]], **rules: Rule) -> None:
        """Put rules into force, after some items got other tags."""
        self.known.put([(item_id, Item(tags=some)) for item_id, some in tags.items()], now_ms=0)
        self.recommender.listing.constraints.set(rules, self.known)

    def rows(self, *user_ids: str) -> Rows:
        """The rows of users, who need not have one."""
        found = [self.states.find(0, user_id) for user_id in user_ids]
        return np.array([NO_ROW if row is None else row for row in found], np.int64)

    def ask(self, user_id: str, query: Query) -> Listed:
        """The answer to one user."""
        (listed,) = answer(self.recommender, self.rows(user_id), [query], self.allowed)
        return listed


def test_a_list_on_request_is_that_of_the_last_click() -> None:
    """Items, scores, release and reason; and asking changes nothing."""
    asked = Asked(top=4)
    (clicked,) = asked.batch(("ada", "item-4"))
    before = asked.state("ada")

    for _ in range(2):
        listed = asked.ask("ada", Query(4))
        assert (listed.items, listed.reason, listed.release) == (clicked.items, "model", clicked.release)
        assert listed.scores.tolist() == pytest.approx(clicked.scores.tolist())

    after = asked.state("ada")
    assert all(np.array_equal(getattr(before, name), getattr(after, name)) for name in before.__slots__)


def test_a_request_says_how_long_its_list_is() -> None:
    """Longer or shorter than those of clicks."""
    asked = Asked(top=4)
    asked.batch(("ada", "item-4"))

    assert len(asked.ask("ada", Query(2)).items) == 2
    assert len(asked.ask("ada", Query(1_000)).items) == len(ITEMS) - 1  # the clicked item is left out


@pytest.mark.parametrize("user_id", ["ada", "nobody"])
def test_rules_hold_for_lists_on_request(user_id: str) -> None:
    """Of users with a state and without, beside the filters of the request, and at a placement only there."""
    asked = Asked(tiny_release(popular=["item-7", "item-2", "item-4"]), exclude_recent=0)
    asked.batch(("ada", "item-4"))
    asked.put_rules(
        {},
        gone=Rule(Exclude(("0",))),
        first=Rule(Pin("item-11", 1)),
        home=Rule(Limit("1", 2), placements=("home",)),
    )

    plain = asked.ask(user_id, Query(12)).items
    filtered = asked.ask(user_id, Query(12, only=("1",))).items
    home = asked.ask(user_id, Query(12, placement="home")).items

    assert plain[0] == "item-11"
    assert set(plain) == {item_id for at, item_id in enumerate(ITEMS) if at % 3}
    assert set(filtered) == {item_id for at, item_id in enumerate(ITEMS) if at % 3 == 1}
    ones = [item_id for item_id in plain if int(item_id[5:]) % 3 == 1]
    assert home == [item_id for item_id in plain if item_id not in ones[2:]]


def test_a_request_leaves_out_items() -> None:
    """In addition to those that every list leaves out; an id that nobody knows is none."""
    asked = Asked()
    asked.batch(("ada", "item-4"))
    full = asked.ask("ada", Query(12)).items

    listed = asked.ask("ada", Query(12, exclude=("item-5", "nothing", "item-0")))

    assert listed.items == [item_id for item_id in full if item_id not in ("item-5", "item-0")]


def test_a_request_allows_some_tags() -> None:
    """The best of those that it allows, in the same order and with the same scores."""
    asked = Asked()
    asked.batch(("ada", "item-4"))
    full = asked.ask("ada", Query(12))

    listed = asked.ask("ada", Query(3, only=("1", "2"), without=("2",)))

    wanted = [
        (item_id, score)
        for item_id, score in zip(full.items, full.scores.tolist(), strict=True)
        if ITEMS.index(item_id) % 3 == 1
    ]
    assert listed.items == [item_id for item_id, _ in wanted][:3]
    assert listed.scores.tolist() == pytest.approx([score for _, score in wanted][:3], abs=1e-5)


def test_a_user_whom_nobody_knows_gets_popular_items() -> None:
    """So does one whose clicks are on unknown items; those that the request does not allow are left out."""
    asked = Asked(tiny_release(popular=["item-7", "item-2", "item-5"]))
    asked.batch(("bob", "no-item"))

    for user_id in ("ada", "bob"):
        listed = asked.ask(user_id, Query(2, exclude=("item-2",)))
        assert (listed.items, listed.reason, listed.scores.tolist()) == (["item-7", "item-5"], "cold", [])


def test_popular_items_are_filled_up_with_others() -> None:
    """A filter that allows few of them still fills the list, by the biases of the release."""
    release = tiny_release(popular=["item-7", "item-2"], output_bias=True)
    asked = Asked(release)
    asked.recommender.listing.availability.set(["item-1"], np.zeros(1, np.bool_))
    biases = release._table.bias(release._table.places(np.arange(12, dtype=np.int32)))
    rest = sorted((4, 10), key=lambda at: -biases[at])

    listed = asked.ask("ada", Query(9, only=("1",)))

    assert listed.items == ["item-7", *(ITEMS[at] for at in rest)]


def test_an_unavailable_item_is_in_no_list() -> None:
    """With a filter or without."""
    asked = Asked()
    asked.batch(("ada", "item-4"))
    asked.recommender.listing.availability.set(["item-5"], np.zeros(1, np.bool_))

    for query in (Query(12), Query(12, only=("all",)), Query(12, without=("0",))):
        for user_id in ("ada", "eve"):
            assert "item-5" not in asked.ask(user_id, query).items


queries = st.builds(
    Query,
    st.integers(1, 13),
    st.lists(st.sampled_from([*ITEMS, "nothing"]), max_size=3).map(tuple),
    st.lists(st.sampled_from(["0", "1", "all", "none"]), max_size=2).map(tuple),
    st.lists(st.sampled_from(["0", "2"]), max_size=1).map(tuple),
)


@given(st.lists(st.tuples(st.sampled_from(["ada", "bob", "cyd", "eve"]), queries), min_size=1, max_size=12))
def test_many_questions_are_answered_as_each_alone(asked_for: Sequence[tuple[str, Query]]) -> None:
    """Whatever they ask for, and whoever asks."""
    asked = Asked(tiny_release(repeat_bias=(-1.0,), own_items=OwnItems(3, 0.5, 2.0, 0.1)), exclude_recent=2)
    asked.batch(("ada", "item-4"), ("bob", "item-1"), ("ada", "item-2"), ("cyd", "unknown"))
    rows = asked.rows(*(user_id for user_id, _ in asked_for))

    together = answer(asked.recommender, rows, [query for _, query in asked_for], asked.allowed)

    for (user_id, query), listed in zip(asked_for, together, strict=True):
        alone = asked.ask(user_id, query)
        assert (listed.items, listed.reason) == (alone.items, alone.reason)
        assert listed.scores == pytest.approx(alone.scores, abs=1e-4)
        assert len(listed.items) <= query.k
        assert not set(listed.items) & set(query.exclude)


@pytest.mark.parametrize("only", [(), ("none",)])
def test_long_lists_of_many_users_need_little_memory(only: tuple[str, ...]) -> None:
    """Of popular items and of others, with rules and as many ids to leave out as are allowed."""
    names = item_names(2_000)
    asked = Asked(tiny_release(names, popular=names[:1_500]))
    asked.put_rules({}, first=Rule(Pin(names[3], 1)))
    query = Query(MAX_K, exclude=tuple(names[1_000:2_000]), without=only)
    rows = np.full(300, NO_ROW)
    asked.ask("nobody", query)

    tracemalloc.start()
    lists = answer(asked.recommender, rows, [query] * len(rows), asked.allowed)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert {len(one.items) for one in lists} == {1_000}
    assert most < 60_000_000


def test_a_state_that_has_expired_is_none() -> None:
    """The user's next click would start afresh: popular items, and no clicks whose items are left out."""
    asked = Asked(user_ttl_ms=1_000)
    asked.batch(("ada", "item-4"))
    rows, query = asked.rows("ada"), Query(12)
    for now_ms, reason in ((NOW_MS + 1_000, "model"), (NOW_MS + 1_001, "cold"), (None, "model")):
        (listed,) = answer(asked.recommender, rows, [query], asked.allowed, now_ms=now_ms)

        assert listed.reason == reason
        assert ("item-4" in listed.items) == (reason == "cold")


def test_similar_items_are_those_with_similar_vectors() -> None:
    """Without the item itself, unavailable ones, and those that the request leaves out or does not allow."""
    asked = Asked()
    asked.recommender.listing.availability.set(["item-3"], np.zeros(1, np.bool_))
    cosines = asked.release.similarities(4)
    order = [at for at in np.argsort(-cosines, kind="stable").tolist() if at not in (3, 4, 6)]
    query = Query(5, exclude=("item-6", "nothing"))

    listed = similar(asked.recommender, "item-4", query, asked.allowed)

    assert listed is not None
    assert (listed.items, listed.reason) == ([ITEMS[at] for at in order[:5]], "similar")
    assert listed.scores.tolist() == pytest.approx(cosines[order[:5]].tolist())

    listed = similar(asked.recommender, "item-4", query._replace(only=("2",)), asked.allowed)

    assert listed is not None
    assert listed.items == [ITEMS[at] for at in order if at % 3 == 2][:5]
    assert similar(asked.recommender, "nothing", query, asked.allowed) is None


def test_similar_items_obey_the_rules() -> None:
    """Everywhere and at a placement; a boost is added to the cosine, and a limit counts pinned items."""
    asked = Asked()
    cosines = asked.release.similarities(4)
    order = [at for at in np.argsort(-cosines, kind="stable").tolist() if at != 4]
    first, last = order[0], order[-1]
    asked.put_rules(
        {ITEMS[first]: ("best",), ITEMS[last]: ("worst",)},
        gone=Rule(Exclude(("best",))),
        first=Rule(Pin(ITEMS[order[5]], 1), placements=("home",)),
        up=Rule(Boost(("worst",), 1000.0), placements=("cart",)),
        few=Rule(Limit("", 1), placements=("home",)),
    )

    plain, home, cart = (
        similar(asked.recommender, "item-4", Query(12, placement=place), asked.allowed)
        for place in ("", "home", "cart")
    )

    assert plain is not None
    assert home is not None
    assert cart is not None
    assert plain.items == [ITEMS[at] for at in order[1:]]
    assert cart.items == [ITEMS[last], *(ITEMS[at] for at in order[1:-1])]
    assert cart.scores[0] == pytest.approx(cosines[last] + np.log(1000), abs=1e-5)
    assert home.items[0] == ITEMS[order[5]]
    tags = [asked.known.tags(item_id)[0] for item_id in home.items]
    assert len({*tags}) == len(tags) > 1


def test_similar_items_are_without_those_that_the_user_has_clicked() -> None:
    """As in the user's other lists."""
    asked = Asked(exclude_recent=2)
    asked.batch(("ada", "item-4"))
    asked.batch(("ada", "item-7"))
    (row,) = asked.rows("ada").tolist()

    listed = similar(asked.recommender, "item-2", Query(12), asked.allowed, row=row)

    assert listed is not None
    assert {*ITEMS} - {*listed.items} == {"item-2", "item-4", "item-7"}
