"""Flushing: what is saved when, and which users are evicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Final

import pytest
from kafka.errors import KafkaConnectionError
from structlog.testing import capture_logs

from tests.oracle import Owner, saved
from tests.worker.desk import Desk, records
from tests.worker.judging import assert_sound
from worker.errors import CheckpointFailed

HOUR_SECONDS: Final = 3_600
HOUR_MS: Final = 1_000 * HOUR_SECONDS
SELDOM: Final = {"flush_interval": 100_000}


def known(desk: Desk, *user_ids: str) -> list[bool]:
    """Of each of these users, whether the worker holds a state."""
    states = desk.workers["a"].worker.states
    return [any(states.find(at, user) is not None for at in range(desk.partitions)) for user in user_ids]


def evicted(desk: Desk, reason: str) -> float:
    """How many users the worker evicted for a reason."""
    return desk.workers["a"].metric("nextclick_evicted_users_total", reason=reason)


def saved_users(desk: Desk) -> set[str]:
    """Whose states stand in the state topic."""
    return {owner.user_id for owner in saved(records(desk.states()))}


@pytest.mark.parametrize("how", ["flush_due", "commit", "commit_all"])
def test_whoever_cannot_send_knows_of_which_partition(how: str) -> None:
    """A flush believes that its blocks are written: without the partition its memory would not be dropped."""
    desk = Desk(partitions=1, commit_interval=5)
    worker = desk.serving()
    desk.click("ada")
    desk.step()
    if how == "commit":
        desk.forget("ada")
        worker.worker.loop._recovery.load(1)
    checkpoint, table = worker.worker.checkpoint, worker.worker.table
    # As at the begin of a transaction that nothing was walked in.
    checkpoint._pending, checkpoint._touched, checkpoint._flush_due = set(), set(), True
    desk.advance(2)
    desk.cluster.fail("send", KafkaConnectionError("lost"), connection=worker.connection)
    ways: dict[str, Callable[[], None]] = {
        "flush_due": checkpoint.flush_due,
        "commit": lambda: checkpoint.commit(15),
        "commit_all": lambda: checkpoint.commit_all([*table], 15, flush_seconds=1),
    }

    with pytest.raises(CheckpointFailed):
        ways[how]()
    assert checkpoint.take_touched() == {0}


def test_users_who_would_start_afresh_anyway_are_evicted() -> None:
    """By the time of the newest click, an hour later than their time to live ends."""
    desk = Desk(partitions=1, state={"user_ttl": 10 * HOUR_SECONDS} | SELDOM)
    desk.serving()
    now = desk.cluster.now_ms
    for user, hours in {"ada": 12, "bob": 10, "eve": 0}.items():
        desk.click(user, timestamp=now - hours * HOUR_MS)
    desk.settle()
    desk.workers["a"].worker.table[0].flush_due = 0
    with capture_logs() as logs:
        desk.step(10)

    said = [line for line in logs if "evicted" in line["event"]]
    assert [(line["partition"], line["users"]) for line in said] == [(0, 1)]
    assert known(desk, "ada", "bob", "eve") == [False, True, True]
    assert evicted(desk, "ttl") == 1
    assert saved_users(desk) == {"bob", "eve"}


def test_a_click_from_the_future_evicts_nobody() -> None:
    """A producer whose clock is wrong dates its records, too: one such click must not cost all others."""
    desk = Desk(partitions=1, state={"user_ttl": 10 * HOUR_SECONDS})
    desk.serving()
    now = desk.cluster.now_ms
    desk.click("ada", timestamp=now)
    desk.click("bob", timestamp=now)
    far = now + 1_000_000 * HOUR_MS
    value = b'{"user_id": "eve", "item_id": "item-1", "timestamp": %d}' % far
    desk.cluster.produce(desk.topics.clicks, value, timestamp=far)
    desk.settle()
    desk.step(60)

    assert known(desk, "ada", "bob", "eve") == [True, True, True]
    assert saved_users(desk) == {"ada", "bob", "eve"}


def test_without_a_time_to_live_nobody_is_evicted() -> None:
    """0 means for ever."""
    desk = Desk(partitions=1, state={"user_ttl": 0})
    desk.serving()
    desk.click("ada", timestamp=desk.cluster.now_ms - 10_000 * HOUR_MS)
    desk.click("eve")
    desk.settle()
    desk.step(60)

    assert known(desk, "ada", "eve") == [True, True]


def test_where_there_are_too_many_the_longest_idle_are_evicted() -> None:
    """Some more than the surplus, so that room is not made for each new user; the newest stay."""
    desk = Desk(partitions=1, state={"max_users": 40} | SELDOM)
    desk.serving()
    for number in range(41):
        desk.click(f"user-{number}", timestamp=desk.cluster.now_ms + number)
    desk.settle()

    assert known(desk, "user-0", "user-1", "user-2", "user-3", "user-40") == [False] * 3 + [True] * 2
    assert evicted(desk, "max_users") == 3
    assert desk.workers["a"].metric("nextclick_users") == 38


@pytest.mark.parametrize(
    ("limits", "limit", "left"),
    [
        ({"max_users": 0, "max_bytes": 10_000}, "max_bytes", 35),
        ({"max_users": 30, "max_bytes": 10_000}, "max_users", 29),
        ({"max_users": 0, "max_bytes": 0}, "", 41),
    ],
)
def test_the_limit_that_is_reached_first_counts(limits: dict[str, int], limit: str, left: int) -> None:
    """Memory limits the number of users too; the log names the limit."""
    desk = Desk(partitions=1, state=SELDOM | limits)
    worker = desk.serving()
    with capture_logs() as logs:
        for number in range(41):
            desk.click(f"user-{number:02}", timestamp=desk.cluster.now_ms + number)
        desk.settle()
    states = worker.worker.states

    assert len(states) == left
    assert not limits["max_bytes"] or states.size_bytes <= limits["max_bytes"]
    assert [one["limit"] for one in logs if one["event"].startswith("users evicted")] == (
        [f"state.{limit}"] if limit else []
    )
    assert not limit or evicted(desk, limit) == 41 - left


def test_a_flush_begins_each_interval_where_something_changed() -> None:
    """Each brings the rows that changed and the offset where it began; nothing that did not."""
    desk = Desk(partitions=1, state={"flush_interval": 2.0})
    desk.serving()
    for user in ("ada", "bob"):
        desk.click(user)
        desk.settle()
        desk.step(60)

    blocks = [one for one in desk.states() if (one.key or b"").startswith(b"block/")]
    assert len(blocks) == 2
    assert desk.saved() == {0: 2}
    assert saved(records(blocks[:1])).keys() == {Owner(0, "ada")}
    assert saved(records(blocks[1:])).keys() == {Owner(0, "bob")}


def test_partitions_are_not_all_flushed_at_once() -> None:
    """The first flushes of a worker are spread over their interval, by the numbers of their partitions."""
    desk = Desk(partitions=8, state={"flush_interval": 8.0})
    worker = desk.serving()
    dues = sorted(one.flush_due for one in worker.worker.table)

    assert dues[-1] - dues[0] > 4
    assert min(later - sooner for sooner, later in pairwise(dues)) > 0.2


def test_blocks_that_are_hollow_are_merged_and_go(small_blocks: None) -> None:
    """A block with few current rows gives them to the next flush and gets a tombstone with it."""
    desk = Desk(partitions=1)
    desk.serving()
    for _ in range(6):
        for number in range(6):
            desk.click(f"user-{number}")
        desk.settle()
        desk.step(30)

    latest = {one.key: one.value for one in desk.states()}
    tombstones = [key for key, value in latest.items() if value is None]
    held = sum(value is not None and key != b"replay" for key, value in latest.items())
    assert tombstones or max(Counter(one.key for one in desk.states()).values()) > 3
    assert held <= 6
    assert held == desk.workers["a"].metric("nextclick_state_blocks")

    desk.restart()
    assert_sound(desk)


def test_a_flush_in_the_midst_of_which_the_worker_dies_begins_again(small_blocks: None) -> None:
    """Its blocks count as far as they were committed; replay begins where the flush before it did."""
    desk = Desk(partitions=1, state={"flush_interval": 20.0})
    desk.serving()
    for number in range(40):
        desk.click(f"user-{number}")
    desk.settle()
    desk.until(lambda: desk.workers["a"].worker.table[0].flushing, "a flush")
    desk.step(20)

    assert desk.workers["a"].worker.table[0].flushing
    assert len(saved_users(desk)) < 40

    worker = desk.restart()
    assert worker.metric("nextclick_replayed_clicks_total") + len(saved_users(desk)) >= 40
    assert_sound(desk)
