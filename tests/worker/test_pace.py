"""The pace of the loop."""

from __future__ import annotations

import pytest

from tests.builders import tiny_release_parts
from tests.worker.desk import Desk
from worker.kafka.interface import MAX_BATCH
from worker.pace import (
    IDLE_POLL_MS,
    LOAD_ALONE_SECONDS,
    LOAD_SECONDS,
    LOADING_POLL_MS,
    REBUILD_MEANWHILE_SECONDS,
    REBUILD_SECONDS,
    Pace,
    fitting,
)
from worker.partitions.partition import Status


def pace(desk: Desk) -> Pace:
    """The pace of the worker."""
    return desk.workers["a"].worker.loop._pace


def idle_desk() -> Desk:
    """A desk whose worker has nothing to do, and commits each second."""
    desk = Desk(commit_interval=1.0, state={"flush_interval": 3_600})
    desk.serving()
    desk.step(30)
    return desk


def test_who_has_nothing_to_do_waits_for_long() -> None:
    """But no longer than a stop may be noticed late."""
    assert pace(idle_desk()).wait_ms() == IDLE_POLL_MS


def test_who_has_something_to_commit_waits_until_it_is_due() -> None:
    """A poll that waits longer would delay what committed readers see."""
    desk = idle_desk()
    desk.click("ada")
    desk.step()
    left = desk.workers["a"].worker.checkpoint.left_seconds()
    desk.advance(left - 0.1)

    assert 95 <= pace(desk).wait_ms() <= 105

    desk.advance(0.5)

    assert pace(desk).wait_ms() == 0


def test_who_has_a_flush_under_way_does_not_sleep_over_it(small_blocks: None) -> None:
    """Its next part is due with the next checkpoint, though nobody clicks."""
    desk = Desk(partitions=1, commit_interval=0.1, state={"flush_interval": 60})
    desk.serving()
    for number in range(30):
        desk.click(f"user-{number}")
    desk.settle()
    partition = desk.workers["a"].worker.table[0]
    desk.until(lambda: partition.flushing, "a flush")

    assert desk.workers["a"].worker.checkpoint.needed
    assert pace(desk).wait_ms() <= 100


def test_who_loads_blocks_polls_often() -> None:
    """At once where it serves nothing, or where something was read; shortly where others wait for answers."""
    desk = Desk(partitions=2)
    worker = desk.start()
    worker.worker.table.assign(0)

    assert pace(desk).wait_ms() == 0
    assert pace(desk).load_seconds() == (LOAD_ALONE_SECONDS, IDLE_POLL_MS / 1000)

    desk.settle()
    worker.worker.table.drop(0)
    worker.worker.table.assign(0)

    assert pace(desk).wait_ms() == LOADING_POLL_MS
    assert pace(desk).load_seconds() == (LOAD_SECONDS, 0.0)


def test_who_rebuilds_states_does_not_wait() -> None:
    """Idle time is what it is done in; where clicks come it takes little of each round, of many none."""
    desk = idle_desk()
    desk.click("ada")
    desk.settle()
    desk.publish(*tiny_release_parts(seed=1))
    desk.workers["a"].worker.adoption.adopt()

    assert pace(desk).wait_ms() == 0
    assert pace(desk).spare_seconds(0) == REBUILD_SECONDS
    assert pace(desk).spare_seconds(1) == REBUILD_MEANWHILE_SECONDS
    assert pace(desk).spare_seconds(pace(desk).records // 4 + 1) == 0.0


def test_batches_fit_into_the_commit_interval() -> None:
    """The next poll brings what can be walked in that time, by how long the last batch took."""
    desk = idle_desk()
    with pace(desk).measured(1_000):
        desk.advance(2)

    assert pace(desk).records == 500


def test_the_size_of_replayed_batches_ends_with_the_replay() -> None:
    """To answer a click takes much longer than to replay it."""
    desk = idle_desk()
    with pace(desk).measured(1_000):
        desk.advance(5)
    partition = desk.workers["a"].worker.table[0]
    partition.status, sizes = Status.REPLAYING, list[tuple[int, int]]()
    for status in (Status.REPLAYING, Status.SERVED):
        with pace(desk).measured(1_000, replayed=True):
            desk.advance(0.5)
            partition.status = status
        sizes.append((pace(desk).records, pace(desk).served))

    assert sizes == [(2_000, 200), (200, 200)]


def test_a_batch_that_failed_is_no_measure() -> None:
    """How long it would have taken nobody knows."""
    desk = idle_desk()
    before = pace(desk).records
    with pytest.raises(ZeroDivisionError), pace(desk).measured(1_000):
        raise ZeroDivisionError

    assert pace(desk).records == before


@pytest.mark.parametrize(("seconds", "records"), [(0.0, MAX_BATCH), (100.0, 64)])
def test_batches_have_limits(seconds: float, records: int) -> None:
    """Of few rows a matrix product costs more per row; more than the most a poll does not bring."""
    assert fitting(100, 100, seconds, within=0.2) == records


def test_batches_of_many_clicks_a_record_have_few_records() -> None:
    """Down to one; the next poll of single clicks brings many again."""
    desk = idle_desk()
    with pace(desk).measured(64):
        pace(desk).count(250_000)
        desk.advance(20)

    assert pace(desk).records == 1

    with pace(desk).measured(1):
        pace(desk).count(1)

    assert pace(desk).records == MAX_BATCH
