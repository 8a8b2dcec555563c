"""The table of partitions."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from structlog.typing import EventDict

from tests.worker.desk import Desk, DeskWorker
from tests.worker.judging import assert_sound
from worker.errors import CheckpointFailed
from worker.partitions.partition import Status


def desk_and_worker() -> tuple[Desk, DeskWorker]:
    """A desk of three partitions, with users in each, and the worker that serves them."""
    desk = Desk(partitions=3)
    worker = desk.serving()
    for number in range(9):
        desk.click(f"user-{number}", partition=number % 3)
    desk.settle()
    desk.step(60)
    return desk, worker


def test_a_partition_that_is_dropped_leaves_nothing() -> None:
    """Its rows go, its lists, and the reading of its states; others stay."""
    _, worker = desk_and_worker()
    table, states = worker.worker.table, worker.worker.states

    assert table.drop(1) == 3
    assert table.drop(1) == 0
    assert 1 not in table
    assert table.get(1) is None
    assert sorted(table.served()) == [0, 2]
    assert len(states) == 6
    assert table.blocks() == 2


def test_a_partition_that_is_assigned_begins_from_nothing() -> None:
    """Under a new token: what an earlier reading still brings is not taken for what this one does."""
    _, worker = desk_and_worker()
    table = worker.worker.table
    before = table[1].token
    table.drop(1)
    again = table.assign(1)

    assert again.token != before
    assert (again.status, len(again.ledger), again.requests) == (Status.ASSIGNED, 0, {})
    assert table.recovering() == [again]
    assert table.at(Status.ASSIGNED, Status.LOADING) == [again]


def test_it_says_why_not_all_is_served() -> None:
    """Nothing where all is; where something is waited for, that."""
    _, worker = desk_and_worker()
    table = worker.worker.table

    assert table.describe() == ""

    for number in (2, 0):
        table.drop(number)
        table.assign(number)

    assert table.describe().startswith("recovering partitions 0, 2: 0 users, 0 MB of blocks, 0 clicks")

    table.waits_for = "a release"

    assert table.describe() == "recovering partitions 0, 2: a release"


def test_users_that_changed_since_they_were_saved_are_counted() -> None:
    """Of served partitions alone."""
    desk, worker = desk_and_worker()

    assert worker.worker.table.unsaved_users() == 0

    desk.click("user-1", partition=1)
    desk.step()

    assert worker.worker.table.unsaved_users() == 1


@pytest.mark.parametrize(
    ("status", "offset", "refused"),
    [
        (Status.SERVED, 3, False),
        (Status.SERVED, 2, True),
        (Status.REPLAYING, 1, False),
        (Status.REPLAYING, 0, True),
        (Status.LOADING, 0, False),
    ],
)
def test_a_record_that_comes_too_early_is_refused(status: Status, offset: int, refused: bool) -> None:
    """While a partition is served, all before its position; in a replay, what comes before that."""
    desk, worker = desk_and_worker()
    table = worker.worker.table
    table[1].status, table[1].replay_from, table[1].position = status, 1, 3
    again = [one for one in desk.cluster.read(desk.topics.clicks) if one.partition == 1]
    polled = [again[0]._replace(offset=offset), again[-1]._replace(offset=9)]

    with pytest.raises(CheckpointFailed, match="offset") if refused else nullcontext():
        table.require_order(polled)
    table.require_order([one._replace(partition=7) for one in polled])


@pytest.mark.parametrize("more", [0, 9], ids=["idle", "under load"])
def test_clicks_that_come_again_are_not_answered_again(more: int, logged: list[EventDict]) -> None:
    """Kafka's client went back to the first record: the worker starts over from its last checkpoint.

    It does so where a broker lost the last records, or has not yet heard that it leads no more.
    """
    desk, worker = desk_and_worker()
    for number in range(more):
        desk.click(f"user-{number}", partition=number % 3)
    worker.member.begin(0, 0)
    desk.step(5)
    desk.settle()

    assert worker.metric("nextclick_checkpoints_total", outcome="failed") == 1
    assert "the broker lost records, or was not the leader" in str(logged)
    assert_sound(desk)
