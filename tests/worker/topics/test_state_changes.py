"""What commands write to the state topic: deletion requests, and a new beginning."""

from __future__ import annotations

import pytest

from worker.errors import CheckpointFailed, KafkaAway, StateRefused, TopicError
from worker.kafka.memory import MemoryCluster, MemoryRecord
from worker.topics import state_changes
from worker.topics.state_changes import Beginning
from worker.topics.states import Forget, parse_forget, parse_replay

KEY = b"forget/ada"


@pytest.fixture
def cluster() -> MemoryCluster:
    """Clicks and states in two partitions."""
    found = MemoryCluster()
    for topic in ("clicks", "state"):
        found.create(topic, partitions=2)
    return found


def ask(cluster: MemoryCluster) -> dict[int, int]:
    """Ask for the deletion of ada; where it stands."""
    return state_changes.ask_to_forget(cluster.connect(), "ada", {0: 5, 1: 0}, topic="state", asked_at=9)


def write(cluster: MemoryCluster, partition: int, value: bytes | None) -> None:
    """Have an owner write about ada."""
    cluster.produce("state", value, key=KEY, partition=partition)


def begin(cluster: MemoryCluster, *beginnings: Beginning) -> None:
    """Begin again."""
    state_changes.reset(
        cluster.connect(), beginnings, group="g", topic="state", clicks="clicks", timeout_ms=10_000
    )


def test_a_request_is_written_to_every_partition(cluster: MemoryCluster) -> None:
    """With the offset that the clicks had there."""
    cluster.produce("state", b"x", key=b"block/1", partition=1)

    asked = ask(cluster)

    found = [one for one in cluster.read("state") if one.key == KEY]
    assert asked == {0: 0, 1: 1}
    assert [parse_forget("ada", one.value or b"") for one in found] == [Forget(5, 9), Forget(0, 9)]


def test_a_request_is_done_when_its_owner_has_heard_it_and_removed_it(cluster: MemoryCluster) -> None:
    """Partition by partition; what concerns others is passed over."""
    looks = state_changes.pending(cluster.connect(), "ada", ask(cluster), topic="state")
    before = next(looks)
    write(cluster, 0, Forget(5, 9, heard=True).value())
    cluster.produce("state", None, key=b"forget/bob", partition=1)
    heard = next(looks)
    write(cluster, 0, None)
    half = next(looks)
    write(cluster, 1, Forget(2, 9, heard=True).value())
    write(cluster, 1, None)

    assert (before, heard, half, next(looks)) == ({0, 1}, {0, 1}, {1}, set())


def test_the_end_of_an_earlier_request_is_not_that_of_this_one(cluster: MemoryCluster) -> None:
    """Its tombstone may follow ours; our request was not heard then."""
    looks = state_changes.pending(cluster.connect(), "ada", ask(cluster), topic="state")
    write(cluster, 0, None)

    assert next(looks) == {0, 1}


def test_a_request_that_cannot_be_read_is_said(cluster: MemoryCluster) -> None:
    """Rather than waited for."""
    looks = state_changes.pending(cluster.connect(), "ada", ask(cluster), topic="state")
    write(cluster, 0, b"junk")

    with pytest.raises(StateRefused, match="forget/ada cannot be read"):
        next(looks)


def test_a_new_beginning_drops_states_and_sets_offsets(cluster: MemoryCluster) -> None:
    """Where states stay, only the offset is set."""
    begin(cluster, Beginning(0, 7, [b"block/1", b"forget/eve"]), Beginning(1, 3, release=None))

    def plain(one: MemoryRecord) -> tuple[int, bytes | None, bytes | None]:
        return one.partition, one.key, one.value

    *dropped, replay = cluster.read("state")
    assert [plain(one) for one in dropped] == [(0, b"block/1", None), (0, b"forget/eve", None)]
    assert (replay.partition, replay.key) == (0, b"replay")
    assert parse_replay(replay.value or b"").offset == 7
    assert cluster.committed("g", "clicks") == {0: 7, 1: 3}


@pytest.mark.parametrize("call", ["send", "commit"])
def test_a_beginning_that_fails_is_none(cluster: MemoryCluster, call: str) -> None:
    """Neither a tombstone nor an offset is seen, and the next attempt works."""
    cluster.fail("send" if call == "send" else "commit", skip=1 if call == "send" else 0)

    with pytest.raises(CheckpointFailed):
        begin(cluster, Beginning(0, 7, [b"block/1"]), Beginning(1, 3, [b"block/1"]))
    failed = cluster.read("state"), cluster.committed("g", "clicks")
    begin(cluster, Beginning(0, 7, [b"block/1"]))

    assert failed == ([], {})
    assert cluster.committed("g", "clicks") == {0: 7}


def test_who_has_no_topic_or_no_broker_changes_nothing(cluster: MemoryCluster) -> None:
    """A partition of the state topic that is missing is an error of the topic."""
    with pytest.raises(TopicError):
        begin(cluster, Beginning(5, 7, [b"block/1"]))
    with pytest.raises(TopicError):
        state_changes.ask_to_forget(cluster.connect(), "ada", {7: 5}, topic="state", asked_at=9)
    cluster.down()
    with pytest.raises(KafkaAway):
        ask(cluster)
