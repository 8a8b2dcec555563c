"""The loop as a whole: what a worker does when the group, the cluster or an orchestrator want something."""

from __future__ import annotations

import pytest
from kafka.errors import KafkaConnectionError
from structlog.typing import EventDict

from tests.worker.desk import GROUP, Desk
from tests.worker.judging import assert_sound
from worker.errors import SharedIdentity, TopicError
from worker.kafka.memory import MemoryConnection
from worker.process.stop import StopNow


def failures(desk: Desk, worker_id: str = "a") -> float:
    """How often a worker started over."""
    return desk.workers[worker_id].metric("nextclick_checkpoints_total", outcome="failed")


def load(desk: Desk, count: int = 10) -> None:
    """Clicks of five users in all partitions, and now and then a bad record."""
    for number in range(count):
        desk.click(f"user-{number % 5}", f"item-{number % 7}", partition=number % desk.partitions)
        if number % 4 == 3:
            desk.send(b"garbage", partition=number % desk.partitions)


def answered_and_not_committed() -> Desk:
    """A desk where worker `a` has sent answers in a transaction that is still open, for five seconds."""
    desk = Desk(commit_interval=5.0)
    desk.serving()
    desk.step(100)
    load(desk)
    desk.step(2)

    assert len(desk.answers(committed=False)) == 10
    assert desk.answers() == []

    return desk


def test_every_click_is_answered_once() -> None:
    """One worker that nothing happens to; its last checkpoint saves all states."""
    desk = Desk()
    desk.serving()
    load(desk, 40)
    desk.settle()

    assert_sound(desk)


def test_a_killed_worker_is_replaced_without_a_loss() -> None:
    """Another one recovers its partitions from blocks and clicks."""
    desk = Desk()
    desk.start("a")
    desk.serving("b")
    for _ in range(5):
        load(desk)
        desk.step(3)
    desk.kill("a")
    load(desk)
    desk.advance(11)
    desk.settle()

    assert_sound(desk)


def test_partitions_that_go_are_committed_first() -> None:
    """Rule b: inside the poll that gives them up. So nothing is done again, and nothing was in vain."""
    desk = answered_and_not_committed()
    desk.start("b")
    desk.until(lambda: len(desk.workers["b"].served) == 1, "one partition to move")
    load(desk)
    desk.settle()

    assert (failures(desk, "a"), failures(desk, "b")) == (0, 0)
    assert desk.workers["b"].metric("nextclick_replayed_clicks_total") == 0
    assert len(desk.answers(committed=False)) == len(desk.answers())
    assert_sound(desk)


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after"])
def test_a_failure_while_partitions_go_starts_over(after: bool) -> None:
    """It happened on the client's thread; the loop's decides, and what went belongs to another anyway."""
    desk = answered_and_not_committed()
    connection = desk.workers["a"].connection
    desk.cluster.fail("commit", KafkaConnectionError("lost"), after=after, connection=connection)
    desk.start("b")
    desk.settle()

    assert failures(desk) == 1
    assert_sound(desk)


def test_a_fault_of_the_program_while_partitions_go_ends_the_worker() -> None:
    """What is not ours to repair leaves the loop, from wherever it was raised."""
    desk = answered_and_not_committed()
    worker = desk.workers["a"]
    desk.cluster.fail("commit", ZeroDivisionError(), connection=worker.connection)
    desk.start("b")

    with pytest.raises(ZeroDivisionError):
        desk.step(10)


def test_lost_partitions_are_recovered() -> None:
    """Rules c and e: who stood still for longer than its session forgets what it did, and joins again."""
    desk = answered_and_not_committed()
    desk.freeze("a")
    desk.advance(11)
    desk.thaw("a")
    desk.settle()

    assert failures(desk) >= 1
    assert_sound(desk)


def test_a_zombie_that_wakes_changes_nothing() -> None:
    """Another has its partitions and has answered: the zombie drops its part and takes its share."""
    desk = answered_and_not_committed()
    desk.freeze("a")
    desk.start("b")
    desk.advance(11)
    desk.settle()
    load(desk)
    desk.step(3)
    desk.thaw("a")
    desk.until(lambda: len(desk.workers["a"].served) == 1, "its share")
    load(desk)
    desk.settle()

    assert failures(desk, "b") == 0
    assert_sound(desk)


def test_fenced_twice_within_a_minute_ends_the_worker() -> None:
    """Two workers under one transactional id fence each other for ever: one says so and stops."""
    desk = answered_and_not_committed()
    other = desk.cluster.connect()
    fenced_twice(desk, other)
    member = other.member(
        topic=desk.topics.clicks,
        group=GROUP,
        client_id=desk.workers["a"].settings.transactional_id,
        session_timeout_ms=10_000,
        heartbeat_interval_ms=500,
    )
    member.join(lambda _: None)
    member.poll(0)

    with pytest.raises(SharedIdentity, match=r"worker_id at memory .*; give each worker"):
        desk.step(5)


def test_fenced_twice_by_transactions_that_took_too_long_goes_on() -> None:
    """As in a cluster whose brokers stand still, one after the other: no other worker is there."""
    desk = answered_and_not_committed()
    fenced_twice(desk, desk.cluster.connect())
    desk.settle()

    assert failures(desk) == 2
    assert_sound(desk)


def fenced_twice(desk: Desk, other: MemoryConnection) -> None:
    """Fence worker `a`, let it start over, and fence it again in its next transaction."""
    producer = other.transactions(desk.workers["a"].settings.transactional_id, timeout_ms=10_000)
    producer.renew()
    desk.settle()
    load(desk)
    desk.step(2)
    producer.renew()


def test_fenced_once_in_a_while_does_not() -> None:
    """As where the process stood still for longer than its transaction may."""
    desk = answered_and_not_committed()
    worker = desk.workers["a"]
    other = desk.cluster.connect().transactions(worker.settings.transactional_id, timeout_ms=10_000)
    for _ in range(3):
        other.renew()
        for _ in range(61):
            desk.advance(1)
            desk.step()
        load(desk)
        desk.step(2)
    desk.settle()

    assert failures(desk) == 3
    assert_sound(desk)


def test_partitions_that_are_added_are_served() -> None:
    """A running worker takes them up by itself; a user who moved there is new, and counted."""
    desk = Desk()
    worker = desk.serving()
    desk.click("ada", partition=0)
    desk.settle()
    desk.add_partitions(4)
    desk.settle()
    desk.click("ada", "item-5", partition=3, timestamp=desk.cluster.now_ms + 1)
    desk.settle()

    assert worker.served == {0, 1, 2, 3}
    assert worker.recent("ada") == ["item-5"]
    assert worker.metric("nextclick_users_moved_total") == 1
    assert_sound(desk)


def test_clicks_that_grow_before_their_topics_do_are_waited_for() -> None:
    """Never a wrong partition: the worker says which command helps, and goes on by itself after it."""
    desk = answered_and_not_committed()
    worker, reasons = desk.workers["a"], []

    def meanwhile() -> None:
        reasons.append(worker.reason)
        if len(reasons) == 5:
            desk.add_partitions(4)

    worker.stop_by_hand.meanwhile = meanwhile
    desk.cluster.add_partitions(desk.topics.clicks, 4)
    desk.settle()

    assert "has 2 partitions, but it needs 4. Run `nextclick-worker topics`" in reasons[0]

    load(desk)
    desk.settle()
    assert_sound(desk)


def test_a_missing_topic_ends_the_worker_before_it_joins() -> None:
    """With the command that creates it."""
    desk = Desk()
    desk.sections = {"topics": {"quality": "absent"}}

    with pytest.raises(TopicError, match="`nextclick-worker topics`"):
        desk.start()

    assert desk.connection.admin().members("desk", topic=desk.topics.clicks) == []


def test_a_state_topic_with_too_few_partitions_ends_the_worker_before_it_joins() -> None:
    """Never a wrong partition; after the command it serves."""
    desk = Desk(partitions=4)
    desk.cluster.delete(desk.topics.state)
    desk.cluster.create(desk.topics.state, partitions=2)

    with pytest.raises(TopicError, match=r"topic desk.state has 2 partitions, but it needs 4\. Run"):
        desk.start()

    desk.cluster.add_partitions(desk.topics.state, 4)
    desk.serving()
    load(desk)
    desk.settle()
    assert_sound(desk)


def test_a_worker_waits_for_the_cluster() -> None:
    """At the start it is alive, not ready, and says where it looks; then it serves."""
    desk = Desk()
    reasons: set[str] = set()
    worker = desk.new()
    worker.stop_by_hand.meanwhile = lambda: reasons.add(worker.reason)
    desk.down(30)
    worker.begin()
    load(desk)
    desk.settle()

    assert any("Is a broker running at memory" in reason for reason in reasons)
    assert worker.reason == ""
    assert_sound(desk)


@pytest.mark.parametrize("seconds", [6, 30], ids=["short", "longer than sessions and transactions"])
def test_the_cluster_goes_away_and_comes_back(seconds: float) -> None:
    """While no broker answers the worker lives, is not ready and says why; then it goes on, nothing lost."""
    desk = answered_and_not_committed()
    worker, reasons = desk.workers["a"], set[str]()
    worker.stop_by_hand.meanwhile = lambda: reasons.add(worker.reason)
    desk.down(seconds)
    desk.step(100)
    load(desk)
    desk.settle()

    assert any("Is a broker running at memory" in reason or "is down" in reason for reason in reasons)
    assert worker.reason == ""
    assert_sound(desk)


def test_an_outage_is_noticed_without_a_click() -> None:
    """The lag is asked for every few seconds: who has nothing to do sees that nobody answers."""
    desk = Desk()
    desk.serving()
    desk.step(10)
    desk.down(30)
    desk.step(200)

    assert failures(desk) >= 1

    desk.settle()
    assert_sound(desk)


def test_a_stop_commits_and_saves_all() -> None:
    """Whoever comes next finds every answer, and replays nothing."""
    desk = answered_and_not_committed()
    desk.stop("a")

    assert len(desk.answers()) == 10
    assert desk.saved() == desk.committed()

    worker = desk.serving("b")
    assert worker.metric("nextclick_replayed_clicks_total") == 0
    assert_sound(desk)


def test_a_stop_in_the_midst_of_a_batch_commits_nothing_of_it(logged: list[EventDict]) -> None:
    """What is in the transaction in part must not be committed: its clicks are read again."""
    desk = Desk()
    worker = desk.new()
    load(desk)
    desk.cluster.fail("send", StopNow(), skip=4, connection=worker.connection)
    worker.worker.loop.run()
    del desk.workers["a"]

    assert "stopped in the middle of a batch; its clicks will be read again" in [
        one["event"] for one in logged
    ]
    assert desk.answers() == []
    assert desk.committed() == {}

    desk.advance(11)
    desk.serving("b")
    assert_sound(desk)


def test_a_stop_does_not_wait_for_a_cluster_that_is_away(logged: list[EventDict]) -> None:
    """Asked to stop while it backs off, a worker tries one last commit, says that it failed, and ends."""
    desk = answered_and_not_committed()
    worker = desk.workers.pop("a")
    worker.stop_by_hand.meanwhile = worker.process.stop.request
    desk.cluster.down()
    desk.advance(6)

    with pytest.raises(StopNow):
        worker.round()

    worker.worker.loop.last_checkpoint(2, flush_seconds=0)
    worker.worker.loop.end()

    desk.cluster.up()
    desk.advance(11)
    desk.serving("b")
    assert_sound(desk)


def test_a_stop_that_is_asked_for_ends_the_run() -> None:
    """`run` is the whole life: it begins, goes round, and leaves the group."""
    desk = Desk()
    load(desk)
    worker = desk.new()
    worker.stop_by_hand.meanwhile = worker.process.stop.request
    desk.cluster.fail("poll", KafkaConnectionError("away"), skip=6, connection=worker.connection)
    worker.worker.loop.run()
    del desk.workers["a"]

    assert worker.reason == "stopping"
    assert desk.connection.admin().members("desk", topic=desk.topics.clicks) == []
    desk.advance(11)
    desk.serving("b")
    assert_sound(desk)


def test_a_worker_that_ended_revokes_nothing_any_more() -> None:
    """Leaving the group gives partitions up; what is pending then did not commit, and must not."""
    desk = answered_and_not_committed()
    desk.workers.pop("a").worker.loop.end()

    assert desk.answers() == []

    desk.advance(11)
    desk.serving("b")
    assert_sound(desk)


def test_records_of_a_partition_that_just_went_are_not_walked() -> None:
    """A poll may bring them with the revocation; they belong to whoever gets the partition."""
    desk = Desk()
    desk.serving("a")
    desk.start("b")
    for _ in range(30):
        load(desk, 4)
        desk.step()
    desk.settle()

    assert_sound(desk)
