"""Laws of the walk of a batch: it does what one click after the other does, however clicks are divided."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from functools import cache
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tests.builders import ITEMS, tiny_release_parts
from tests.examples import examples
from tests.reference import STATE_TOLERANCE, Answer, OneClick, Reference, User, check_user, columns
from worker.core.bought import DAY_MS
from worker.core.cells import CELLS
from worker.core.event_types import EXCLUDE, STEP
from worker.core.manifest import Manifest
from worker.core.ranking import OwnItems
from worker.core.recommender import Recommendations, Recommender
from worker.core.release import Release, verify
from worker.core.states import States
from worker.core.user_states import NO_RELEASE

NOW_MS: Final = 1_700_000_000_000
MAX_AGE_MS: Final = 60_000
GAP_MS: Final = 1_800_000
TTL_MS: Final = 3 * GAP_MS
RELEASE: Final = 5
BOUGHT: Final = 2

SCORE_TOLERANCE: Final = 0.02
"""What a rounding step of a state makes of a score of scale 1: item vectors are about 3 long."""


class Rules(NamedTuple):
    """Under what a sequence of clicks is applied."""

    cell: str
    gap_seconds: float
    normalize: bool
    publish: Literal["latest", "every"]
    max_age_ms: int
    exclude_recent: int
    top: int
    recent_items: int
    slab_rows: int
    user_ttl_ms: int = 0
    layers: int = 1
    transitions: int = 0
    repeat_bias: tuple[float, ...] = ()
    own_items: OwnItems = OwnItems()
    co_occurrences: int = 0
    """Entries in a row; if any, the last three clicks add their rows."""
    exclude_days: int | None = None
    """For how many days the last two bought items are left out; if None, nobody buys."""


rules = st.builds(
    Rules,
    cell=st.sampled_from([*CELLS]),
    gap_seconds=st.sampled_from([0.0, GAP_MS / 1000]),
    normalize=st.booleans(),
    publish=st.sampled_from(["latest", "every"]),
    max_age_ms=st.sampled_from([0, MAX_AGE_MS]),
    exclude_recent=st.sampled_from([0, 1, 3, 100]),
    top=st.sampled_from([1, 5, 20]),
    recent_items=st.sampled_from([1, 3, 20, 30]),
    slab_rows=st.sampled_from([1, 2, 1 << 20]),
    user_ttl_ms=st.sampled_from([0, TTL_MS, 500]),
    layers=st.sampled_from([1, 1, 2, 3]),
    transitions=st.sampled_from([0, 5, 20]),
    repeat_bias=st.sampled_from([(), (-3.0,), (3.0, -2.0, 1.0), tuple(np.linspace(-2, 2, 20).tolist())]),
    own_items=st.sampled_from([OwnItems(), OwnItems(3, 2.0, 0.5), OwnItems(25, -1.0, 8.0, 0.5)]),
    co_occurrences=st.sampled_from([0, 5]),
    exclude_days=st.sampled_from([None, 0, 1]),
)

# Users that come often and rarely, unknown items, pauses around the gap, clocks that run backwards,
# records of every age and of none.
raw_clicks = st.tuples(
    st.sampled_from([0, 0, 0, 3]),
    st.sampled_from("aaaaabbcd"),
    st.sampled_from([*ITEMS[:6], "unknown", "strange"]),
    st.sampled_from([1, 1, 1, 1000, 0, -5000, GAP_MS, GAP_MS + 1, TTL_MS, TTL_MS + 1, -2 * GAP_MS, DAY_MS]),
    st.sampled_from([NOW_MS, NOW_MS, NOW_MS - MAX_AGE_MS, NOW_MS - MAX_AGE_MS - 1, 0, -1, NOW_MS + 5]),
)
sequences = st.lists(st.lists(raw_clicks, min_size=1, max_size=15), max_size=6)
with_purchases = st.lists(
    st.lists(
        st.builds(
            lambda click, kind: (*click, kind),
            raw_clicks,
            st.sampled_from([STEP, STEP, STEP, EXCLUDE, STEP | EXCLUDE]),
        ),
        min_size=1,
        max_size=15,
    ),
    max_size=6,
)


@cache
def parts(
    *,
    cell: str,
    layers: int,
    gap_seconds: float,
    normalize: bool,
    transitions: int,
    repeat_bias: tuple[float, ...],
    own_items: OwnItems,
    co_occurrences: int,
) -> tuple[Manifest, bytes]:
    """The release of these rules; its popular items are known and unpopular ones alike."""
    return tiny_release_parts(
        cell=cell,
        layers=layers,
        session_gap_seconds=gap_seconds,
        normalize=normalize,
        scale=1.0,
        transitions=transitions,
        repeat_bias=repeat_bias,
        own_items=own_items,
        co_occurrences=co_occurrences,
        co_occurrence_decay=(0.5, -0.25, 1.0) if co_occurrences else (),
        popular=ITEMS[4:1:-1],
    )


def parts_of(rules: Rules) -> tuple[Manifest, bytes]:
    """The same, by the rules."""
    return parts(
        cell=rules.cell,
        layers=rules.layers,
        gap_seconds=rules.gap_seconds,
        normalize=rules.normalize,
        transitions=rules.transitions,
        repeat_bias=rules.repeat_bias,
        own_items=rules.own_items,
        co_occurrences=rules.co_occurrences,
    )


def dated(batches: Iterable[Iterable[tuple[Any, ...]]], *, purchases: bool = True) -> list[list[OneClick]]:
    """The batches with times that follow each other, and offsets that rise in each partition."""
    time_ms, offsets, found = NOW_MS - 10**9, {0: 100, 3: 7}, []
    for batch in batches:
        clicks = []
        for partition, user_id, item_id, after_ms, record_ms, *kinds in batch:
            time_ms += after_ms
            offsets[partition] += 1
            click = OneClick(partition, offsets[partition], user_id, item_id, time_ms, record_ms)
            clicks.append(click._replace(kind=kinds[0]) if kinds and purchases else click)
        found.append(clicks)
    return found


def recommender(rules: Rules) -> tuple[Recommender, States]:
    """A recommender under `rules`, and its empty states."""
    release = verify(*parts_of(rules), number=RELEASE)
    states = states_of(release, rules)
    return recommender_of(release, states, rules), states


def states_of(release: Release, rules: Rules) -> States:
    """Empty states under `rules`."""
    states = States(state_size=release.state_size, recent_items=rules.recent_items, slab_rows=rules.slab_rows)
    if rules.exclude_days is not None:
        states.keep_bought(rules.exclude_days, items=BOUGHT)
    return states


def recommender_of(release: Release, states: States, rules: Rules) -> Recommender:
    """The same of a given release, over given states."""
    return Recommender(
        release,
        states,
        publish=rules.publish,
        publish_max_age_ms=rules.max_age_ms,
        user_ttl_ms=rules.user_ttl_ms,
        exclude_recent=rules.exclude_recent,
        top=rules.top,
    )


def reference(rules: Rules) -> Reference:
    """The definition under the same rules."""
    return Reference(
        *parts_of(rules),
        ITEMS,
        user_ttl_ms=rules.user_ttl_ms,
        keeps_bought=BOUGHT,
        exclude_days=rules.exclude_days or 0,
    )


def serve(made: Recommender, clicks: list[OneClick]) -> list[Recommendations]:
    """The lists for one batch."""
    return made.rank(made.apply(columns(clicks), now_ms=NOW_MS))


def check_list(found: Recommendations, expected: Answer) -> None:
    """The same list, but that items of nearly equal scores may stand in either order."""
    assert found.reason == expected.reason
    if expected.reason == "cold":
        assert found.items == expected.items
        assert len(found.scores) == 0
        return
    assert len(set(found.items)) == len(found.items) == len(expected.items) == len(found.scores)
    ours = [expected.scores[item_id] for item_id in found.items]
    theirs = [expected.scores[item_id] for item_id in expected.items]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=SCORE_TOLERANCE)
    np.testing.assert_allclose(found.scores, ours, rtol=0, atol=SCORE_TOLERANCE)


def answer(by: Reference, user: User, rules: Rules) -> Answer:
    """The list that the definition has for a user under these rules, as of the user's last click."""
    excluded, keeps = min(rules.exclude_recent, rules.recent_items), rules.recent_items
    day = (user.timestamp_ms or 0) // DAY_MS
    return by.answer(user, top=rules.top, exclude_recent=excluded, keeps=keeps, day=day)


def answered(clicks: list[OneClick], rules: Rules) -> list[int]:
    """Which clicks of a batch have a list: every one, or the newest of each user; none that is too old."""
    steps = [place for place, click in enumerate(clicks) if click.kind & STEP]
    newest = {(clicks[place].partition, clicks[place].user_id): place for place in steps}
    places = steps if rules.publish == "every" else sorted(newest.values())
    oldest_ms = NOW_MS - rules.max_age_ms if rules.max_age_ms else 0
    times = [click.record_timestamp_ms for click in clicks]
    return [place for place in places if times[place] < 0 or times[place] >= oldest_ms]


@given(with_purchases, rules)
@examples(1.5)
@example(
    [[(0, "a", "unknown", 1, NOW_MS)], [(0, "a", "item-1", 1, NOW_MS)]],
    Rules("gru", 0.0, True, "every", 0, 3, 20, 20, 2),
)
@example(
    [[(0, "a", "item-4", 1, NOW_MS)], [(0, "a", "unknown", GAP_MS + 1, NOW_MS)]],
    Rules("lstm", 1800.0, True, "every", 0, 3, 20, 20, 2),
)
@example(
    [[(0, "a", "item-1", 1, NOW_MS)], [(0, "a", "item-2", GAP_MS + 1, NOW_MS)] * 2],
    Rules("gru", 1800.0, True, "every", 0, 0, 20, 20, 2, repeat_bias=(0.0, 3.0, 1.0)),
)
@example([[], [(0, "a", "item-1", 1, NOW_MS)] * 15], Rules("gru", 1800.0, True, "latest", 0, 100, 20, 3, 1))
def test_however_clicks_are_divided_the_result_is_that_of_one_by_one(
    batches: list[Any], rules: Rules
) -> None:
    """States and lists equal the definition's, whatever clicks a batch holds, under any rules.

    Offsets, recent items, sessions and warmth exactly, hidden states to rounding, lists up to near ties;
    with `latest` exactly one list per user and batch, for the newest click; none for a click too old.
    What the batch bought is in none of its lists.
    """
    made, states = recommender(rules)
    one_by_one = reference(rules)
    for clicks in dated(batches, purchases=rules.exclude_days is not None):
        lists = serve(made, clicks)
        users = [one_by_one.apply(click) for click in clicks]
        users = [
            replace(
                user,
                timestamp_ms=click.timestamp_ms,
                bought=one_by_one.users[click.partition, click.user_id].bought,
            )
            for user, click in zip(users, clicks, strict=True)
        ]

        assert [found.click for found in lists] == answered(clicks, rules)
        for found in lists:
            check_list(found, answer(one_by_one, users[found.click], rules))
    assert len(states) == len(one_by_one.users)
    for (partition, user_id), user in one_by_one.users.items():
        check_user(states, partition, user_id, user)
        release = RELEASE if user.items else NO_RELEASE
        assert states.read(states.rows(partition, [user_id])).release.tolist() == [release]


@given(with_purchases, with_purchases, rules)
@examples(0.4)
def test_partitions_do_not_know_of_each_other(before: list[Any], after: list[Any], rules: Rules) -> None:
    """Clicks of other partitions in the same batches, of users of the same names, change nothing.

    Neither does forgetting those partitions on the way.
    """
    mixed, states = recommender(rules)
    alone, states_alone = recommender(rules)
    for history in (before, after):
        for clicks in dated(history, purchases=rules.exclude_days is not None):
            serve(mixed, clicks)
            serve(alone, [click for click in clicks if click.partition == 0])
        states.drop(3)

    names = sorted({click[1] for batch in (*before, *after) for click in batch if click[0] == 0})
    assert states.users(0) == states_alone.users(0) == len(names)
    ours, theirs = (one.read(one.rows(0, names)) for one in (states, states_alone))
    for name in ("clicks", "session", "warm", "timestamp_ms", "offset", "release"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name))
    np.testing.assert_allclose(ours.hidden, theirs.hidden, rtol=STATE_TOLERANCE, atol=STATE_TOLERANCE)
    assert bought_by(states, names) == bought_by(states_alone, names)


def bought_by(states: States, names: list[str]) -> list[list[str]]:
    """What each of these users of partition 0 has bought."""
    if states.bought is None:
        return []
    codes, _ = states.bought.of(states.rows(0, names))
    return [states.item_codes.ids(one[one >= 0]) for one in codes]


@given(sequences, rules)
@examples(0.4)
def test_an_unknown_item_is_remembered_and_moves_nothing(batches: list[Any], rules: Rules) -> None:
    """Within a session the state after it is the state before it; the item stands among the recent ones."""
    made, states = recommender(rules)
    for clicks in dated(batches):
        serve(made, clicks)
    rows = states.rows(0, ["a"])
    before = states.read(rows)

    last = OneClick(0, 10**6, "a", "never seen", int(before.timestamp_ms[0]), NOW_MS)
    serve(made, [last])

    after = states.read(rows)
    assert states.item_codes.ids(after.ring.oldest_first(0))[-1] == "never seen"
    assert np.array_equal(after.hidden, before.hidden)
    assert after.warm.tolist() == before.warm.tolist()
    assert after.clicks.tolist() == [before.clicks[0] + 1]


@given(with_purchases, rules, st.integers(0, 90), st.integers(0, 90), st.integers(1, 20))
@examples(0.4)
def test_replaying_what_is_held_changes_nothing(
    batches: list[Any], rules: Rules, begin: int, end: int, at_once: int
) -> None:
    """Any stretch of the past, in batches of any size: not a bit, and no row counts as changed."""
    made, states = recommender(rules)
    history = dated(batches, purchases=rules.exclude_days is not None)
    for clicks in history:
        serve(made, clicks)
    every = np.concatenate([states.owned(0), states.owned(3)])
    before = states.read(every)
    states.saved(every, 1)
    past = [click for clicks in history for click in clicks][begin:end]
    counts = [made.replay(columns(past[at : at + at_once])) for at in range(0, len(past), at_once)]

    after = states.read(every)
    assert sum(counts) == 0
    assert all(
        np.array_equal(getattr(before, name.name), getattr(after, name.name)) for name in fields(before)
    )
    assert [len(states.changed(0)), len(states.changed(3))] == [0, 0]
