"""The checkpoint: whatever is cut short, and at whichever step, a committed reader sees each click once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from kafka.errors import KafkaConnectionError

from tests.builders import ITEMS
from tests.worker.desk import Desk
from tests.worker.judging import assert_sound
from worker.errors import CheckpointFailed
from worker.kafka.memory import Crashed

STEPS = 14
"""How many records the checkpoint of `about_to_commit` sends at least."""


def about_to_commit() -> Desk:
    """A desk whose worker will send everything that a checkpoint can have, with its next round.

    Dead letters, recommendations, blocks, `replay`, a report of live quality, a deletion request as it was
    heard, and the first `replay` of a partition.
    """
    desk = Desk(partitions=3)
    desk.serving()
    for number in range(6):
        desk.click(f"user-{number}", ITEMS[number], partition=number % 2)
    desk.settle()
    desk.advance(11)
    desk.forget("eve", [0])
    desk.send(b"garbage", partition=1)
    for number in range(6):
        desk.click(f"user-{number}", ITEMS[number + 1], partition=number % 2)
    desk.click("ada", partition=2)
    return desk


def struck_at_each_send(error: BaseException, *, after: bool) -> Iterator[Desk]:
    """Desks where `error` struck the first, the second, ... send, until there are no more sends."""
    for skip in count():
        desk = about_to_commit()
        desk.cluster.fail("send", error, after=after, skip=skip, connection=desk.workers["a"].connection)
        desk.step(3)
        if "a" in desk.workers and not failures(desk):
            assert skip > STEPS
            return
        yield desk


def failures(desk: Desk) -> float:
    """How often the worker started over."""
    return desk.workers["a"].metric("nextclick_checkpoints_total", outcome="failed")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_send_changes_nothing(after: bool) -> None:
    """Step 1: kill -9 in the midst of what is sent; who starts again aborts it and does it again."""
    for desk in struck_at_each_send(Crashed(), after=after):
        assert desk.workers == {}
        desk.restart()

        assert_sound(desk)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_send_that_fails_changes_nothing(after: bool) -> None:
    """Step 2: the worker lives; what it did since the last checkpoint it forgets and does again."""
    for desk in struck_at_each_send(KafkaConnectionError("lost"), after=after):
        desk.settle()

        assert failures(desk) == 1
        assert_sound(desk)


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after"])
def test_a_crash_at_the_commit_changes_nothing(after: bool) -> None:
    """Steps 3 and 4: all of it, or nothing of it; which of both, the next worker reads from the offsets."""
    desk = about_to_commit()
    before = len(desk.answers())
    desk.cluster.crash_at("commit", after=after, connection=desk.workers["a"].connection)
    desk.step()

    assert (len(desk.answers()) > before) is after

    desk.restart()

    assert_sound(desk)


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after"])
def test_a_commit_without_an_answer_is_taken_for_none(after: bool) -> None:
    """Rules c and e: the worker recovers what the transaction had a part in, and finds what holds."""
    desk = about_to_commit()
    before = len(desk.answers())
    desk.cluster.fail("commit", KafkaConnectionError("lost"), after=after)
    desk.step()

    assert (len(desk.answers()) > before) is after

    desk.settle()

    assert failures(desk) == 1
    assert_sound(desk)


@pytest.mark.parametrize("crash", [False, True], ids=["failure", "crash"])
def test_offsets_without_their_commit_change_nothing(crash: bool) -> None:
    """Between steps 3 and 4: the transaction has the offsets, and nobody sees them."""
    desk = about_to_commit()
    before = desk.committed()
    error = Crashed() if crash else KafkaConnectionError("lost")
    desk.cluster.fail("end", error, connection=desk.workers["a"].connection)
    desk.step()

    assert desk.committed() == before

    desk.restart() if crash else desk.settle()

    assert_sound(desk)


def test_commits_fail_again_and_again() -> None:
    """The worker waits the longer the more often it failed; in the end all is as if it had not."""
    desk = about_to_commit()
    desk.cluster.fail("commit", KafkaConnectionError("lost"), times=5)
    desk.settle()

    assert failures(desk) == 5
    assert_sound(desk)


def test_all_partitions_of_a_transaction_have_their_offsets_in_it() -> None:
    """Rule d: bad records alone move the offset of their partition, so their dead letters come once."""
    desk = Desk()
    desk.serving()
    for _ in range(5):
        desk.send(b"garbage", partition=1)
    desk.settle()
    desk.restart()

    assert desk.committed() == {1: 5}
    assert_sound(desk)


def test_a_stale_member_commits_nothing() -> None:
    """Rule a: thrown out while it stood still, a worker commits under metadata that the broker refuses."""
    desk = Desk(commit_interval=5)
    zombie = desk.serving()
    desk.click("ada")
    desk.step()
    desk.freeze("a")
    desk.advance(8)
    desk.start("b")
    desk.advance(3)
    desk.settle()

    with pytest.raises(CheckpointFailed):
        zombie.worker.checkpoint.commit(15)

    desk.thaw("a")
    desk.settle()
    assert_sound(desk)


def test_where_nothing_happened_nothing_is_written() -> None:
    """An idle worker costs Kafka nothing but heartbeats."""
    desk = Desk()
    desk.serving()
    desk.click("ada")
    desk.settle()
    desk.step(300)
    before = desk.written()
    desk.step(300)

    assert desk.written() == before


def test_the_first_transaction_of_a_partition_says_where_replay_begins() -> None:
    """Whoever recovers it then never finds an offset without a `replay`, nor blocks without one."""
    desk = Desk(state={"flush_interval": 3_600})
    desk.serving()
    desk.click("ada", partition=1)
    desk.settle()

    assert [(one.partition, one.key) for one in desk.states()] == [(1, b"replay")]
    assert desk.saved() == {1: 0}


def test_a_checkpoint_is_due_each_interval() -> None:
    """No sooner, so that a transaction has many clicks; what is open meanwhile no committed reader sees."""
    desk = Desk(commit_interval=1)
    desk.serving()
    desk.step()
    desk.click("ada")
    desk.step(2)

    assert (len(desk.answers()), len(desk.answers(committed=False))) == (0, 1)

    desk.step(20)

    assert len(desk.answers()) == 1


def test_many_changes_are_saved_over_many_checkpoints(small_blocks: None) -> None:
    """A flush is spread over half of its interval, so that no checkpoint takes long."""
    desk = Desk(partitions=1, state={"flush_interval": 10})
    desk.serving()
    for number in range(20):
        desk.click(f"user-{number}")
    sizes = []
    for _ in range(300):
        before = len(desk.states())
        desk.step()
        sizes.append(len(desk.states()) - before)

    assert desk.saved() == {0: 20}
    assert sum(size > 0 for size in sizes) >= 5
    assert max(sizes) <= 5
