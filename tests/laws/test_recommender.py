"""Laws of the walk of a batch: it does what one click after the other does, however clicks are divided."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tests.builders import ITEMS, tiny_release_parts
from tests.examples import examples
from tests.reference import STATE_TOLERANCE, Answer, OneClick, Reference, User, check_user, columns
from worker.core.blocks import decode, encode
from worker.core.cells import CELLS
from worker.core.manifest import Manifest
from worker.core.ranking import OwnItems
from worker.core.recommender import Recommendations, Recommender
from worker.core.release import Release, verify
from worker.core.states import States

NOW_MS: Final = 1_700_000_000_000
MAX_AGE_MS: Final = 60_000
GAP_MS: Final = 1_800_000
TTL_MS: Final = 3 * GAP_MS
RELEASE: Final = 5

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
)

# Users that come often and rarely, unknown items, pauses around the gap, clocks that run backwards,
# records of every age and of none.
raw_clicks = st.tuples(
    st.sampled_from([0, 0, 0, 3]),
    st.sampled_from("aaaaabbcd"),
    st.sampled_from([*ITEMS[:6], "unknown", "strange"]),
    st.sampled_from([1, 1, 1, 1000, 0, -5000, GAP_MS, GAP_MS + 1, TTL_MS, TTL_MS + 1, -2 * GAP_MS]),
    st.sampled_from([NOW_MS, NOW_MS, NOW_MS - MAX_AGE_MS, NOW_MS - MAX_AGE_MS - 1, 0, -1, NOW_MS + 5]),
)
sequences = st.lists(st.lists(raw_clicks, min_size=1, max_size=15), max_size=6)


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


def dated(batches: Iterable[Iterable[tuple[Any, ...]]]) -> list[list[OneClick]]:
    """The batches with times that follow each other, and offsets that rise in each partition."""
    time_ms, offsets, found = NOW_MS - 10**9, {0: 100, 3: 7}, []
    for batch in batches:
        clicks = []
        for partition, user_id, item_id, after_ms, record_ms in batch:
            time_ms += after_ms
            offsets[partition] += 1
            clicks.append(OneClick(partition, offsets[partition], user_id, item_id, time_ms, record_ms))
        found.append(clicks)
    return found


def recommender(rules: Rules) -> tuple[Recommender, States]:
    """A recommender under `rules`, and its empty states."""
    release = verify(*parts_of(rules), number=RELEASE)
    states = States(state_size=release.state_size, recent_items=rules.recent_items, slab_rows=rules.slab_rows)
    return recommender_of(release, states, rules), states


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
    return Reference(*parts_of(rules), ITEMS, user_ttl_ms=rules.user_ttl_ms)


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
    """The list that the definition has for a user under these rules."""
    excluded, keeps = min(rules.exclude_recent, rules.recent_items), rules.recent_items
    return by.answer(user, top=rules.top, exclude_recent=excluded, keeps=keeps)


def answered(clicks: list[OneClick], rules: Rules) -> list[int]:
    """Which clicks of a batch have a list: every one, or the newest of each user; none that is too old."""
    newest = {(click.partition, click.user_id): place for place, click in enumerate(clicks)}
    places = range(len(clicks)) if rules.publish == "every" else sorted(newest.values())
    oldest_ms = NOW_MS - rules.max_age_ms if rules.max_age_ms else 0
    times = [click.record_timestamp_ms for click in clicks]
    return [place for place in places if times[place] < 0 or times[place] >= oldest_ms]


@given(sequences, rules)
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
    """
    made, states = recommender(rules)
    one_by_one = reference(rules)
    for clicks in dated(batches):
        lists = serve(made, clicks)
        users = [one_by_one.apply(click) for click in clicks]

        assert [found.click for found in lists] == answered(clicks, rules)
        for found in lists:
            check_list(found, answer(one_by_one, users[found.click], rules))
    assert len(states) == len(one_by_one.users)
    for (partition, user_id), user in one_by_one.users.items():
        check_user(states, partition, user_id, user)
        assert states.read(states.rows(partition, [user_id])).release.tolist() == [RELEASE]


@given(sequences, sequences, rules)
@examples(0.4)
def test_partitions_do_not_know_of_each_other(before: list[Any], after: list[Any], rules: Rules) -> None:
    """Clicks of other partitions in the same batches, of users of the same names, change nothing.

    Neither does forgetting those partitions on the way.
    """
    mixed, states = recommender(rules)
    alone, states_alone = recommender(rules)
    for history in (before, after):
        for clicks in dated(history):
            serve(mixed, clicks)
            serve(alone, [click for click in clicks if click.partition == 0])
        states.drop(3)

    names = sorted({click[1] for batch in (*before, *after) for click in batch if click[0] == 0})
    assert states.users(0) == states_alone.users(0) == len(names)
    ours, theirs = (one.read(one.rows(0, names)) for one in (states, states_alone))
    for name in ("clicks", "session", "warm", "timestamp_ms", "offset", "release"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name))
    np.testing.assert_allclose(ours.hidden, theirs.hidden, rtol=STATE_TOLERANCE, atol=STATE_TOLERANCE)


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


@given(sequences, rules, st.integers(0, 90), st.integers(0, 90), st.integers(1, 20))
@examples(0.4)
def test_replaying_what_is_held_changes_nothing(
    batches: list[Any], rules: Rules, begin: int, end: int, at_once: int
) -> None:
    """Any stretch of the past, in batches of any size: not a bit, and no row counts as changed."""
    made, states = recommender(rules)
    history = dated(batches)
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


class Successor(NamedTuple):
    """How the release differs that takes over."""

    gap_seconds: float
    hidden_size: int
    item_ids: tuple[str, ...]
    layers: int
    repeat_bias: tuple[float, ...]
    own_items: OwnItems


successors = st.builds(
    Successor,
    st.sampled_from([0.0, GAP_MS / 1000]),
    st.sampled_from([8, 5]),
    st.sampled_from([ITEMS[::-1], ITEMS[2:4], ("unknown", *ITEMS[1:5]), ("nobody", "clicked")]),
    st.sampled_from([1, 2]),
    st.sampled_from([(), (3.0, -2.0, 1.0)]),
    st.sampled_from([OwnItems(), OwnItems(25, 2.0, 8.0)]),
)


@cache
def successor_parts(cell: str, successor: Successor) -> tuple[Manifest, bytes]:
    """The release of these, with other weights."""
    return tiny_release_parts(
        successor.item_ids,
        cell=cell,
        session_gap_seconds=successor.gap_seconds,
        layers=successor.layers,
        hidden_size=successor.hidden_size,
        scale=1.0,
        transitions=len(successor.repeat_bias),
        repeat_bias=successor.repeat_bias,
        own_items=successor.own_items,
        popular=successor.item_ids[::-1],
        seed=7,
    )


@given(sequences, sequences, rules, successors)
@examples(0.8)
def test_a_row_of_another_release_is_made_anew(
    before: list[Any], after: list[Any], rules: Rules, successor: Successor
) -> None:
    """From the recent items of its session, as if these had been clicked under the new release alone.

    Its lists are made of the same items. Where sessions do not end under that one: all recent items.
    Whatever either knows, whatever the size.
    """
    made, states = recommender(rules)
    expected = reference(rules)
    history = dated([*before, *after])
    for clicks in history[: len(before)]:
        serve(made, clicks)
        for click in clicks:
            expected.apply(click)
    parts = successor_parts(rules.cell, successor)
    release = verify(*parts, number=RELEASE + 1)
    loaded = States(state_size=release.state_size, recent_items=rules.recent_items, slab_rows=rules.slab_rows)
    for partition in (0, 3):
        loaded.load(partition, 1, decode(encode(states, states.owned(partition))))
    second = Reference(*parts, successor.item_ids, user_ttl_ms=rules.user_ttl_ms)
    second.users = {key: second.rebuild(user, rules.recent_items) for key, user in expected.users.items()}
    every = rules._replace(publish="every", max_age_ms=0)
    made = recommender_of(release, loaded, every)
    for (partition, user_id), user in second.users.items():
        row = int(loaded.rows(partition, [user_id])[0])
        check_list(made.recommend(row), answer(second, user, every))
    for clicks in history[len(before) :]:
        lists = serve(made, clicks)
        users = [second.apply(click) for click in clicks]
        for found in lists:
            check_list(found, answer(second, users[found.click], every))

    for partition, user_id in {
        (click.partition, click.user_id) for one in history[len(before) :] for click in one
    }:
        check_user(loaded, partition, user_id, second.users[partition, user_id])
        assert loaded.read(loaded.rows(partition, [user_id])).release.tolist() == [RELEASE + 1]
