"""Topics that go and come while a worker runs: what is said of them, and when."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import pytest
from structlog.testing import capture_logs

from tests.waiting import eventually
from worker.errors import CheckpointFailed, NotAllowed, TopicError, TopicGone
from worker.http.readiness import Readiness
from worker.kafka.memory import MemoryCluster, Right
from worker.metrics import Metrics
from worker.topics import watch
from worker.topics.needs import Need
from worker.topics.watch import CONFIRM_SECONDS, LOOK_SECONDS, TopicWatch

WANTED: Final = [Need("clicks", ("READ",), partitions=1), Need("lists", ("WRITE",))]
LOST: Final = CheckpointFailed("the commit was lost")


class Stand:
    """Two topics, and a watch that has seen them."""

    def __init__(self, *, spared: Sequence[str] = (), background: bool = False) -> None:
        self.cluster = MemoryCluster()
        for topic in ("clicks", "lists"):
            self.cluster.create(topic, partitions=2)
        self.readiness = Readiness(Metrics().ready, self.cluster.steady)
        self.readiness.ready()
        self.connection = self.cluster.connect()
        self.watch = TopicWatch(
            self.connection,
            WANTED,
            readiness=self.readiness,
            steady=self.cluster.steady,
            spared=spared,
            background=background,
        )
        self.watch.require()

    def look(self, seconds: float = LOOK_SECONDS) -> str:
        """Let time pass; return why the worker is not ready after the next look."""
        self.cluster.advance(seconds)
        self.watch.look()
        return self.readiness.reason


@pytest.fixture
def stand() -> Stand:
    """A watch that looks when it is told to."""
    found = Stand()
    found.watch.start()
    return found


def test_trouble_is_said_when_it_was_seen_twice(stand: Stand) -> None:
    """Once in the log, whatever the loop says of readiness; and no more when it is over."""
    stand.cluster.delete("lists")
    with capture_logs() as logs:
        first = stand.look()
        second = stand.look(CONFIRM_SECONDS)
        stand.readiness.ready()
        third = stand.look()

    assert first == ""
    assert second.startswith("topic lists does not exist. Run `nextclick-worker topics`")
    assert third == second
    assert [line["problem"] for line in logs] == [second]

    stand.cluster.create("lists", partitions=2)
    assert stand.look() == ""


def test_a_cluster_without_any_of_the_topics_may_be_another_one(stand: Stand) -> None:
    """To create them there is not the first thing to do."""
    for topic in ("clicks", "lists"):
        stand.cluster.delete(topic)
    stand.look()

    said = stand.look(CONFIRM_SECONDS)
    assert said.startswith(
        "none of the topics exists any more (clicks, lists). Check kafka.bootstrap_servers"
    )
    with pytest.raises(TopicGone, match="Check kafka"):
        stand.watch.require()


def test_trouble_that_passes_is_not_said(stand: Stand) -> None:
    """A broker that has just started knows no topics yet."""
    stand.cluster.delete("lists")
    stand.look()
    stand.cluster.create("lists", partitions=2)

    assert stand.look(CONFIRM_SECONDS) == ""
    assert stand.watch.take_created_again() == {"lists"}
    assert stand.watch.take_created_again() == set()


def test_a_topic_that_is_too_small_is_trouble(stand: Stand) -> None:
    """As when the clicks got more partitions first."""
    stand.cluster.add_partitions("clicks", 3)
    stand.look()

    assert "topic lists has 2 partitions, but it needs 3" in stand.look(CONFIRM_SECONDS)


def test_an_outage_says_nothing_of_topics(stand: Stand) -> None:
    """Neither that they are gone nor that they are back."""
    stand.cluster.down()

    assert [stand.look(), stand.look()] == ["", ""]

    stand.cluster.up()
    stand.cluster.delete("lists")
    stand.look()
    found = stand.look(CONFIRM_SECONDS)
    stand.cluster.down()

    assert found
    assert stand.look() == found


def test_before_the_start_a_missing_topic_is_a_mistake() -> None:
    """After it somebody deleted it, and may create it again."""
    stand = Stand()
    stand.cluster.delete("lists")

    with pytest.raises(TopicError, match="topic lists does not exist"):
        stand.watch.require()

    stand.watch.start()
    with pytest.raises(TopicGone, match="topic lists does not exist"):
        stand.watch.require()


def test_the_cause_of_a_failure_is_the_topic_that_is_gone(stand: Stand) -> None:
    """Or was; else the failure itself, and a TopicError with another cause is raised."""
    other = TopicError("a list is too large", topic="lists")

    assert stand.watch.cause(LOST) is LOST
    with pytest.raises(TopicError, match="a list is too large"):
        stand.watch.cause(other)

    stand.cluster.delete("lists")
    for error in (LOST, other):
        assert str(stand.watch.cause(error)).startswith("topic lists does not exist")

    stand.cluster.create("lists", partitions=2)
    for error in (LOST, other):
        assert str(stand.watch.cause(error)) == "deleted and created again: topic lists"

    stand.cluster.down()
    assert stand.watch.cause(LOST) is LOST


def test_what_is_known_of_a_topic_stays_while_it_is_gone(stand: Stand) -> None:
    """So a recovery that is under way does not fail for it."""
    before = stand.watch.id("lists")
    stand.cluster.delete("lists")
    stand.look()

    assert before
    assert (stand.watch.id("lists"), stand.watch.partitions("lists")) == (before, 2)

    stand.cluster.create("lists", partitions=3)
    stand.look()
    assert stand.watch.partitions("lists") == 3


def test_the_id_of_a_topic_changes_when_it_is_taken(stand: Stand) -> None:
    """Until then the states in memory are of the former topic, however often a thread or the loop looks."""
    before = stand.watch.id("lists")
    stand.cluster.delete("lists")
    stand.cluster.create("lists", partitions=2)
    stand.look()
    stand.watch.require()

    assert stand.watch.id("lists") == before
    assert stand.watch.take_created_again() == {"lists"}
    assert stand.watch.id("lists") not in {"", before}


def test_a_topic_that_is_hidden_is_a_right_that_is_missing(stand: Stand) -> None:
    """Not a topic that may come back: nobody waits for it."""
    stand.cluster.restrict(stand.connection, [Right("topic", "clicks", "READ")])
    stand.look()
    found = stand.look(CONFIRM_SECONDS)

    assert found.startswith("topic lists: no right to see it. Grant WRITE on the topic")
    with pytest.raises(NotAllowed, match="topic lists: no right to see it"):
        stand.watch.require()
    with pytest.raises(NotAllowed, match="topic lists: no right to see it"):
        stand.watch.cause(LOST)


def test_a_topic_that_is_spared_may_be_hidden_once_the_worker_runs() -> None:
    """Whoever reads it says so; a start without it fails."""
    stand = Stand(spared=["lists"])
    stand.cluster.restrict(stand.connection, [Right("topic", "clicks", "READ")])
    with pytest.raises(NotAllowed, match="topic lists: no right to see it"):
        stand.watch.require()
    stand.watch.start()
    stand.watch.require()

    assert [stand.look(), stand.look()] == ["", ""]

    stand.cluster.delete("lists")
    stand.cluster.restrict(stand.connection, [Right("topic", name, "READ") for name in ("clicks", "lists")])
    stand.look()
    assert stand.look(CONFIRM_SECONDS).startswith("topic lists does not exist")


def test_a_thread_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the loop waits in a call of the client; it ends when it is closed."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(watch, "CONFIRM_SECONDS", 0.01)
    before = set(threading.enumerate())
    stand = Stand(background=True)
    stand.watch.start()
    stand.cluster.delete("lists")

    eventually(lambda: "topic lists does not exist" in stand.readiness.reason, what="the topic to be named")
    stand.watch.close()
    eventually(lambda: set(threading.enumerate()) <= before, what="the thread to end")


def test_a_thread_does_not_end_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop ends with the bug; a worker without a watch would look healthy."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.01)
    before = set(threading.enumerate())
    stand = Stand(background=True)
    monkeypatch.setattr(stand.connection, "admin", None)
    stand.watch.start()

    eventually(lambda: set(threading.enumerate()) <= before, what="the thread to end")
    with pytest.raises(TypeError):
        stand.watch.look()
