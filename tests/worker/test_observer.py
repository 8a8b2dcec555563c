"""The observer: what people and Prometheus get to know of a worker."""

from __future__ import annotations

import pytest

from tests.worker.desk import Desk, DeskWorker
from worker.errors import KafkaAway
from worker.observer import LOOK_SECONDS


def test_it_notes_what_the_worker_has() -> None:
    """Partitions, users, blocks, and what is not saved."""
    desk = Desk(partitions=3)
    worker = desk.serving()
    for number in range(6):
        desk.click(f"user-{number}", partition=number % 2)
    desk.settle()
    desk.step(200)

    assert worker.metric("nextclick_assigned_partitions") == 3
    assert worker.metric("nextclick_recovering_partitions") == 0
    assert worker.metric("nextclick_users") == 6
    assert worker.metric("nextclick_state_blocks") == 2
    assert worker.metric("nextclick_unsaved_users") == 0
    assert worker.metric("nextclick_release") == 1
    assert worker.metric("nextclick_ready") == 1


def test_the_lag_is_asked_for_every_few_seconds() -> None:
    """Per partition: how many records are still to be read."""
    desk = Desk(partitions=2)
    worker = desk.serving()
    desk.step()
    for _ in range(5):
        desk.click("ada", partition=1)
    observer = worker.worker.loop._observer
    observer.look()

    assert worker.metric("nextclick_lag_records", partition="1") == 0

    desk.advance(LOOK_SECONDS)
    observer.look()

    assert worker.metric("nextclick_lag_records", partition="1") == 5
    assert worker.metric("nextclick_lag_records", partition="0") == 0


def shown(worker: DeskWorker) -> dict[str, float]:
    """The lag of each partition for which there is one."""
    samples = [one for metric in worker.process.metrics.registry.collect() for one in metric.samples]
    return {one.labels["partition"]: one.value for one in samples if one.name == "nextclick_lag_records"}


def test_the_lag_is_absent_until_a_partition_is_served() -> None:
    """Right after a restart nothing is behind, though positions are not known; then it is right at once."""
    desk = Desk(partitions=1)
    desk.serving()
    for _ in range(50):
        desk.click("ada")
    desk.settle()
    desk.stop()
    worker = desk.start()
    seen = []
    for _ in range(50):
        desk.step()
        seen.append(shown(worker))
        if worker.served:
            break

    assert seen[:-1] == [{}] * (len(seen) - 1)
    assert seen[-1] == {"0": 0}


def test_the_lag_is_absent_while_it_starts_over() -> None:
    """An outage, a topic that is gone: what was known is old, and a held partition has no position."""
    desk = Desk(partitions=1)
    worker = desk.serving()
    for _ in range(50):
        desk.click("ada")
    desk.settle()
    desk.step(60)
    seen = []
    worker.stop_by_hand.meanwhile = lambda: seen.append(shown(worker))
    desk.click("ada")
    desk.cluster.fail("commit", times=4)
    desk.settle()
    desk.step(60)

    assert seen
    assert seen == [{}] * len(seen)
    assert shown(worker) == {"0": 0}


def test_deleted_records_are_no_lag() -> None:
    """As by retention, while the worker is held up: it will never read them."""
    desk = Desk(partitions=1)
    worker = desk.serving()
    desk.step(60)
    for _ in range(50):
        desk.click("ada")
    desk.cluster.delete_before(desk.topics.clicks, 0, 40)
    desk.advance(LOOK_SECONDS)
    worker.worker.loop._observer.look()

    assert shown(worker) == {"0": 10}


def test_a_broker_that_does_not_answer_leaves_no_old_lag_behind() -> None:
    """The lag in seconds grows, for as long as the outage lasts; the committed offset stays."""
    desk = Desk(partitions=1)
    worker = desk.serving()
    desk.click("ada")
    desk.settle()
    desk.step(120)
    before = desk.cluster.steady()
    seen: list[tuple[float, float]] = []
    worker.stop_by_hand.meanwhile = lambda: seen.append(
        (desk.cluster.steady(), worker.metric("nextclick_lag_seconds", partition="0"))
    )
    desk.click("ada")
    desk.down(seconds=60)
    desk.step(120)
    desk.settle()

    assert len(seen) > 5
    assert all(lag >= now - before for now, lag in seen)
    assert worker.metric("nextclick_failures_total", reason="kafka_away") > 1
    desk.step(120)
    assert worker.metric("nextclick_lag_seconds", partition="0") <= LOOK_SECONDS
    assert worker.metric("nextclick_committed_offset", partition="0") == 2


def test_partitions_are_counted_that_the_topic_has() -> None:
    """Also those of other workers."""
    desk = Desk(partitions=3)
    first, second = desk.start("a"), desk.start("b")
    desk.settle()
    desk.step(120)

    for worker in (first, second):
        assert worker.metric("nextclick_topic_partitions") == 3
    owned = [worker.metric("nextclick_assigned_partitions") for worker in (first, second)]
    assert sum(owned) == 3


def test_the_lag_costs_no_transaction() -> None:
    """In the midst of one it is not asked for: a late answer must not cost a sound one."""
    desk = Desk(commit_interval=5.0)
    worker = desk.serving()
    desk.step(110)
    desk.click("ada")
    desk.step(2)
    desk.advance(4)
    desk.cluster.down()
    observer = worker.worker.loop._observer
    observer.look()
    worker.worker.checkpoint.failed()
    desk.advance(LOOK_SECONDS)

    with pytest.raises(KafkaAway):
        observer.look()


def test_marks_of_others_in_the_clicks_are_passed() -> None:
    """They are no records, so no batch brings them; but what is saved and committed goes past them."""
    desk = Desk(partitions=1)
    desk.serving()
    desk.click("ada")
    desk.settle()
    producer = desk.cluster.connect().transactions("shop", timeout_ms=10_000)
    producer.renew()
    producer.send(desk.topics.clicks, 0, key=None, value=b'{"user_id": "eve", "item_id": "item-1"}')
    producer.commit(desk.topics.clicks, {}, "shop", seconds=1)
    desk.until(lambda: desk.committed() == {0: 3}, "the mark to be passed")

    assert len(desk.answers()) == 2

    desk.until(lambda: desk.saved() == {0: 3}, "the mark to be saved")


def test_the_loop_beats() -> None:
    """/livez says no when it does not come round any more."""
    desk = Desk()
    worker = desk.serving()
    desk.advance(70)

    assert worker.process.readiness.silent_seconds == 70

    desk.step()

    assert worker.process.readiness.silent_seconds == 0
