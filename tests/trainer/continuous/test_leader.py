"""Which of several trainers leads, and what one that leads no more can do; at a desk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.builders import ITEMS, successor_release_parts
from trainer.continuous.leader import STANDING_BY, Leader
from worker.clock import Clock
from worker.errors import CheckpointFailed, KafkaAway, NotAllowed, TopicError
from worker.kafka.memory import MemoryCluster, MemoryConnection, MemoryGroupMember
from worker.topics.releases import publish

RELEASES = "releases"
GROUP = "releases.trainer"
PARTS = successor_release_parts(ITEMS)


class Group:
    """Trainers in one group, each a process of its own; `connections` are in the order of `joined`."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.cluster.create(RELEASES)
        self.clock = Clock(self.cluster.wall, self.cluster.steady, self.cluster.advance)
        self.connections: list[MemoryConnection] = []
        self.life = ExitStack()

    def leader(self, releases: str = RELEASES, *, background: bool = False) -> Leader:
        """Return a trainer that is not in the group yet."""
        self.connections.append(self.cluster.connect())
        return Leader(
            self.connections[-1],
            releases=releases,
            session_timeout_ms=30_000,
            clock=self.clock,
            background=background,
        )

    def joined(self) -> Leader:
        """Return a trainer that is in the group, until the end of the test."""
        leader = self.life.enter_context(self.leader().membership())
        leader.wait(0)
        return leader

    def freeze(self, leader: Leader) -> None:
        """Freeze a trainer until the group has thrown it out."""
        assert isinstance(leader._member, MemoryGroupMember)
        self.cluster.freeze(leader._member)
        self.cluster.advance(31)


@pytest.fixture
def group() -> Iterator[Group]:
    """Return a group without trainers."""
    group = Group()
    with group.life:
        yield group


def settle(*leaders: Leader) -> None:
    """Let each hear of the group, until nothing changes any more."""
    for one in 3 * leaders:
        one.wait(0)


def test_one_leads_and_the_next_takes_over(group: Group) -> None:
    """The second stands by until the first leaves."""
    first = group.leader()
    with first.membership():
        assert first.wait(0)
        second = group.joined()
        settle(first, second)
        assert (first.leads, second.leads, second.state) == (True, False, STANDING_BY)

    assert second.wait(0)
    assert not first.leads


def test_a_trainer_that_is_gone_is_replaced_after_its_session(group: Group) -> None:
    """Not before: it may be slow alone."""
    gone, other = group.joined(), group.joined()
    settle(gone, other)
    group.cluster.crash(group.connections[0])
    group.cluster.advance(29)
    assert other.wait(0) is None

    assert other.wait(2) or other.wait(0)


def test_a_trainer_that_was_thrown_out_publishes_nothing(group: Group) -> None:
    """The broker refuses it though it did not hear of that; then it hears of it, and stands by."""
    sleeping, other = group.joined(), group.joined()
    settle(sleeping, other)
    lease = sleeping.wait(0)
    assert lease
    assert publish(group.connections[0], RELEASES, *PARTS, fence=lease.metadata) == 1
    group.freeze(sleeping)
    settle(other)
    assert other.leads
    assert sleeping.leads

    with pytest.raises(CheckpointFailed, match="commit"):
        publish(group.connections[0], RELEASES, *PARTS, fence=lease.metadata)

    settle(sleeping, other)
    assert (sleeping.leads, sleeping.state, lease.over) == (False, STANDING_BY, True)
    keys = {record.key for record in group.cluster.read(RELEASES)}
    assert b"release/0001" in keys
    assert b"release/0002" not in keys
    assert group.cluster.committed(GROUP, RELEASES) == {0: 0}


def test_an_old_lease_does_not_count_when_its_trainer_leads_again(group: Group) -> None:
    """Another one may have led in between: what was made under the old lease is not published."""
    alone = group.joined()
    lease = alone.wait(0)
    assert lease
    group.freeze(alone)
    settle(alone)

    assert alone.leads
    assert lease.over
    with pytest.raises(CheckpointFailed, match="another trainer leads now, or led in the meantime"):
        publish(group.connections[0], RELEASES, *PARTS, fence=lease.metadata)


def test_a_lease_that_is_over_touches_nothing(group: Group) -> None:
    """Its trainer does not even take the transactional id from the one that publishes."""
    lease = group.joined().wait(0)
    assert lease
    lease.end()

    with pytest.raises(CheckpointFailed, match="another trainer leads now"):
        publish(group.connections[0], RELEASES, *PARTS, fence=lease.metadata)

    assert group.cluster.read(RELEASES, committed=False) == []


def test_without_the_topic_no_trainer_ever_leads(group: Group) -> None:
    """It says so, and does not wait."""
    leader = group.leader("nowhere")

    with leader.membership(), pytest.raises(TopicError, match="does not exist"):
        leader.wait(30)


def test_an_outage_is_waited_out(group: Group) -> None:
    """The trainer says what it waits for, and leads when Kafka is back."""
    group.cluster.fail("join", KafkaAway("no broker answers"))
    leader = group.joined()
    assert (leader.leads, leader.state) == (False, "no broker answers")

    assert leader.wait(0)


def test_the_thread_of_a_trainer_leads_by_itself(group: Group) -> None:
    """`wait` returns as soon as it does."""
    leader = group.leader(background=True)

    with leader.membership():
        lease = leader.wait(30)
        assert lease
        assert publish(group.connections[0], RELEASES, *PARTS, fence=lease.metadata) == 1
    assert lease.over


def test_the_thread_hands_on_what_ends_it(group: Group) -> None:
    """To whoever waits; from then on this trainer leads no more."""
    leader = group.leader(background=True)

    with leader.membership():
        lease = leader.wait(30)
        assert lease
        group.cluster.fail("poll", NotAllowed("no right to read the group"))
        leader._thread.join(30)
        for _ in range(2):
            with pytest.raises(NotAllowed, match="no right to read the group"):
                leader.wait(30)
        assert lease.over
        assert not leader.leads
