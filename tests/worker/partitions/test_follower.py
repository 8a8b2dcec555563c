"""The follower of the state topic: what it reads, in which order, and what it says when it is done."""

from __future__ import annotations

from tests.builders import clicked
from tests.waiting import eventually
from worker.core import blocks
from worker.core.flush import Flush, Ledger
from worker.core.states import States
from worker.kafka.memory import MemoryCluster
from worker.partitions.follower import AllRead, Copies, StateFollower, StateRecord, Waits
from worker.topics.states import Forget


def block(*user_ids: str, offset: int) -> bytes:
    """A block of these users, whose last click had this offset."""
    states, ledger = States(state_size=2, slab_rows=64), Ledger()
    clicked(states, 0, user_ids, offset=offset)
    ((_, value),) = Flush(states, ledger, partition=0).next_blocks(1)
    return value


class Followed:
    """A state topic of two partitions, and a follower that reads in `take`, or in a thread."""

    def __init__(self, *, background: bool = False) -> None:
        self.cluster = MemoryCluster()
        self.cluster.create("clicks", partitions=2)
        self.cluster.create("state", partitions=2)
        self.follower = StateFollower(
            self.cluster.connect(), topic="state", clicks="clicks", group="group", background=background
        )

    def write(self, key: str, value: bytes | None = b"x", *, partition: int = 0) -> None:
        """A record of the state topic."""
        self.cluster.produce("state", value, key=key.encode(), partition=partition)

    def taken(self) -> list[object]:
        """All events that are there, until it has nothing more to say for now."""
        events: list[object] = []
        silent = 0
        while silent < 3:
            event = self.follower.take()
            events += [event] if event else []
            silent = 0 if event else silent + 1
            if isinstance(event, Waits):
                break
        return events


def test_a_partition_is_read_to_its_end_and_then_followed_for_requests() -> None:
    """Records in order, then what Kafka knows of the clicks; after that deletion requests alone."""
    followed = Followed()
    for _ in range(3):
        followed.cluster.produce("clicks", b"x", partition=1)
    followed.write("block/1", partition=1)
    followed.write("replay", partition=1)
    token = followed.follower.follow(1)

    assert followed.taken() == [
        StateRecord(1, token, "block/1", b"x", 0.5),
        StateRecord(1, token, "replay", b"x", 1.0),
        AllRead(1, token, committed=None, begin=0, end=3),
    ]

    followed.write("block/2", partition=1)
    followed.write("forget/ada", partition=1)

    assert [event.key for event in followed.taken() if isinstance(event, StateRecord)] == ["forget/ada"]


def test_a_partition_that_is_followed_again_is_read_again() -> None:
    """Under another token; the events of the reading before it can be told."""
    followed = Followed()
    followed.write("replay")
    first = followed.follower.follow(0)
    followed.taken()
    followed.follower.leave(0)
    second = followed.follower.follow(0)
    events = followed.taken()

    assert first != second
    assert [type(event) for event in events] == [StateRecord, AllRead]
    assert {event.token for event in events if isinstance(event, StateRecord | AllRead)} == {second}


def test_who_leaves_hears_no_more() -> None:
    """Nothing of a partition comes that nobody follows."""
    followed = Followed()
    followed.follower.follow(0)
    followed.taken()
    followed.follower.leave(0)
    followed.write("forget/ada")

    assert followed.taken() == []


def test_what_is_open_is_waited_for() -> None:
    """To the high-water mark, not the last stable offset: a predecessor's last transaction may be there."""
    followed = Followed()
    transactions = followed.cluster.connect().transactions("predecessor", timeout_ms=10_000)
    transactions.renew()
    transactions.send("state", 0, key=b"replay", value=b"x")
    followed.follower.follow(0)

    assert followed.taken() == []

    transactions.commit("clicks", {0: 0}, "group", seconds=1)

    assert [type(event) for event in followed.taken()] == [StateRecord, AllRead]


def test_an_offset_that_may_still_change_is_waited_for() -> None:
    """It says for what; then it brings the offset that was committed."""
    followed = Followed()
    followed.cluster.produce("clicks", b"x")
    followed.cluster.hold_marks()
    transactions = followed.cluster.connect().transactions("predecessor", timeout_ms=10_000)
    transactions.renew()
    transactions.send("clicks", 1, key=None, value=b"x")
    transactions.commit("clicks", {0: 1}, "group", seconds=1)
    token = followed.follower.follow(0)

    assert followed.taken() == [Waits("the last transaction of partition 0 is still open")]

    followed.cluster.write_marks()

    assert followed.taken() == [AllRead(0, token, committed=1, begin=0, end=1)]


def test_a_search_finds_the_blocks_with_copies_of_those_who_asked() -> None:
    """Below their offset; not what superseded blocks held, nor the requests that were heard before."""
    followed = Followed()
    followed.write("block/1", block("ada", "eve", offset=3))
    followed.write("block/2", block("eve", offset=3))
    followed.write("block/2", block("bob", offset=4))
    followed.write("block/3", block("eve", offset=9))
    followed.write("forget/eve", Forget(5, 1).value())
    token = followed.follower.follow(0)
    followed.taken()
    followed.follower.search(0, {"eve": 5})

    assert followed.taken() == [Copies(0, token, {"eve": 5}, frozenset({1}))]


def test_a_block_that_cannot_be_read_may_hold_a_copy() -> None:
    """Then it is condemned with the others."""
    followed = Followed()
    damaged = block("eve", offset=3)[:-1]

    assert blocks.may_hold(damaged, "eve")

    followed.write("block/1", damaged)
    token = followed.follower.follow(0)
    followed.taken()
    followed.follower.search(0, {"eve": 5})

    assert followed.taken() == [Copies(0, token, {"eve": 5}, frozenset({1}))]


def test_an_outage_is_said_and_then_it_goes_on() -> None:
    """From where it was: nothing is brought twice."""
    followed = Followed()
    followed.write("replay")
    followed.follower.follow(0)
    followed.cluster.down()
    (waits,) = followed.taken()

    assert isinstance(waits, Waits)
    assert "the cluster is down" in waits.reason

    followed.cluster.up()

    assert [type(event) for event in followed.taken()] == [StateRecord, AllRead]

    followed.cluster.down()
    followed.cluster.up()
    followed.write("forget/ada")

    assert [type(event) for event in followed.taken()] == [StateRecord]


def test_a_thread_goes_on_when_kafka_was_away_at_the_first_partition() -> None:
    """It tries again by itself: nobody tells it another time."""
    followed = Followed(background=True)
    followed.write("replay")
    followed.cluster.down()
    followed.follower.follow(0)
    eventually(lambda: isinstance(followed.follower.take(0.1), Waits), what="the outage")
    eventually(lambda: isinstance(followed.follower.take(2.0), Waits), what="the second try")
    followed.cluster.up()
    eventually(lambda: isinstance(followed.follower.take(2.0), AllRead), what="the end of the partition")
    followed.follower.close()
