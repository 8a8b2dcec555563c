"""Laws of a release that takes over: it rebuilds the states that another release made."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ITEMS, tiny_release_parts
from tests.examples import examples
from tests.laws.test_recommender import (
    BOUGHT,
    GAP_MS,
    RELEASE,
    Rules,
    answer,
    check_list,
    dated,
    recommender,
    recommender_of,
    reference,
    rules,
    serve,
    states_of,
    with_purchases,
)
from tests.reference import Reference, check_user
from worker.core.blocks import decode, encode
from worker.core.event_types import STEP
from worker.core.manifest import Manifest
from worker.core.ranking import OwnItems
from worker.core.release import verify


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


@given(with_purchases, with_purchases, rules, successors)
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
    history = dated([*before, *after], purchases=rules.exclude_days is not None)
    for clicks in history[: len(before)]:
        serve(made, clicks)
        for click in clicks:
            expected.apply(click)
    parts = successor_parts(rules.cell, successor)
    release = verify(*parts, number=RELEASE + 1)
    loaded = states_of(release, rules)
    for partition in (0, 3):
        loaded.load(partition, 1, decode(encode(states, states.owned(partition))))
    second = Reference(
        *parts,
        successor.item_ids,
        user_ttl_ms=rules.user_ttl_ms,
        keeps_bought=BOUGHT,
        exclude_days=rules.exclude_days or 0,
    )
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
            click = clicks[found.click]
            bought = second.users[click.partition, click.user_id].bought
            user = replace(users[found.click], timestamp_ms=click.timestamp_ms, bought=bought)
            check_list(found, answer(second, user, every))

    steps = [click for one in history[len(before) :] for click in one if click.kind & STEP]
    for partition, user_id in {(click.partition, click.user_id) for click in steps}:
        check_user(loaded, partition, user_id, second.users[partition, user_id])
        assert loaded.read(loaded.rows(partition, [user_id])).release.tolist() == [RELEASE + 1]
