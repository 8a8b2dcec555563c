"""The follower of the releases: what it hands over, what it refuses and says once, and its thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.broken import GOOD, POINTERS, RELEASES, tensors
from tests.builders import tiny_release_parts
from worker.core.release import CANDIDATE_SHARE, Pointer
from worker.errors import NotAllowed
from worker.kafka.memory import MemoryCluster, Right
from worker.releases.follower import Denied, Event, Failed, Looked, Refused, ReleaseFollower, Verified, Waits
from worker.topics import releases
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader

TOPIC: Final = "releases"
PARTS: Final = tiny_release_parts()
PATIENCE_SECONDS: Final = 30.0


@pytest.fixture
def cluster() -> MemoryCluster:
    """With a topic of releases that has none."""
    found = MemoryCluster()
    found.create(TOPIC)
    return found


@pytest.fixture
def follower(cluster: MemoryCluster) -> Iterator[ReleaseFollower]:
    """One that reads when it is asked."""
    found = ReleaseFollower(ReleaseReader(cluster.connect(), topic=TOPIC), background=False)
    found.start()
    yield found
    found.close()


def publish(cluster: MemoryCluster, **options: Any) -> int:
    """Publish a good release; its number."""
    return releases.publish(cluster.connect(), TOPIC, *PARTS, **options)


def events(follower: ReleaseFollower) -> list[Event]:
    """All that there is to take."""
    return list(iter(follower.take, None))


def numbers(event: Event | None) -> tuple[int, int | None, float]:
    """Champion, candidate and share of what is to serve."""
    assert isinstance(event, Verified)
    candidate = event.candidate.number if event.candidate else None
    return event.champion.number, candidate, event.share


def test_without_a_champion_it_waits(cluster: MemoryCluster, follower: ReleaseFollower) -> None:
    """And says how to make one."""
    (waits,) = events(follower)

    assert isinstance(waits, Waits)
    assert "topic releases has no @champion. Train one with `nextclick-trainer fit`" in waits.reason
    publish(cluster)
    assert numbers(follower.take())[0] == 1


def test_a_new_champion_is_handed_over_once(cluster: MemoryCluster, follower: ReleaseFollower) -> None:
    """Verified, with the highest number that was looked at; a pointer set again to the same is no news."""
    publish(cluster)
    first = events(follower)
    publish(cluster)
    second = events(follower)
    cluster.produce(TOPIC, Pointer(2).value(), key=CHAMPION.encode())

    assert [numbers(first[0]), first[1]] == [(1, None, CANDIDATE_SHARE), Looked(1, "")]
    assert [numbers(second[0]), second[1]] == [(2, None, CANDIDATE_SHARE), Looked(2, "")]
    assert events(follower) == [Looked(2, "")]


def test_what_nobody_can_decode_is_said_and_changes_nothing(
    cluster: MemoryCluster, follower: ReleaseFollower
) -> None:
    """What serves goes on; the next champion ends it."""
    publish(cluster)
    events(follower)
    first = cluster.produce_unreadable(TOPIC, offsets=2, why="its checksum is wrong")
    (looked,) = events(follower)
    publish(cluster)
    after = events(follower)

    assert isinstance(looked, Looked)
    assert (
        f"offsets {first} to {first + 1} of topic releases cannot be decoded: its checksum" in looked.remark
    )
    assert (numbers(after[0])[0], after[1]) == (2, Looked(2, ""))


def test_a_chunk_that_nobody_can_decode_is_missing(cluster: MemoryCluster) -> None:
    """A worker that starts then says what is wrong, and waits for the next release."""
    cluster.produce_unreadable(TOPIC, offsets=5, why="its checksum is wrong")
    follower = ReleaseFollower(ReleaseReader(cluster.connect(), topic=TOPIC), background=False)
    (waits,) = events(follower)
    publish(cluster)

    assert isinstance(waits, Waits)
    assert "its checksum is wrong. Publish again" in waits.reason
    assert numbers(follower.take())[0] == 1


def test_a_candidate_comes_and_goes(cluster: MemoryCluster, follower: ReleaseFollower) -> None:
    """With its share; the champion stays the same object, so that nobody builds it again."""
    publish(cluster)
    champion = follower.take()
    events(follower)
    publish(cluster, pointer=CANDIDATE, share=0.3)
    tried = events(follower)[0]
    cluster.produce(TOPIC, None, key=CANDIDATE.encode())
    ended = events(follower)[0]

    assert numbers(tried) == (1, 2, 0.3)
    assert numbers(ended) == (1, None, CANDIDATE_SHARE)
    assert isinstance(champion, Verified)
    assert isinstance(tried, Verified)
    assert champion.champion is tried.champion


def test_a_candidate_that_is_promoted_is_no_candidate(
    cluster: MemoryCluster, follower: ReleaseFollower
) -> None:
    """While both pointers still name it."""
    publish(cluster)
    publish(cluster, pointer=CANDIDATE)
    events(follower)
    cluster.produce(TOPIC, Pointer(2).value(), key=CHAMPION.encode())

    assert numbers(follower.take())[:2] == (2, None)


@pytest.mark.parametrize("kind", RELEASES)
@pytest.mark.parametrize("pointer", [CHAMPION, CANDIDATE])
def test_the_broken_are_refused(
    cluster: MemoryCluster, follower: ReleaseFollower, kind: str, pointer: str
) -> None:
    """With the reason, once; the champion serves on, and the next good one is handed over."""
    publish(cluster)
    events(follower)
    reason, records = RELEASES[kind]
    for key, value in [*records(2), (pointer, Pointer(2).value())]:
        cluster.produce(TOPIC, value, key=key.encode())

    refused, looked = events(follower)
    cluster.produce(TOPIC, None, key=b"something else")
    again = events(follower)
    publish(cluster, pointer=pointer)
    mended = events(follower)

    assert isinstance(refused, Refused)
    assert (refused.pointer, refused.number, refused.error.reason) == (pointer, 2, reason)
    assert isinstance(looked, Looked)
    assert looked.remark.startswith(f"{pointer} release 2 was refused: ")
    assert again == [looked]
    assert isinstance(mended[0], Verified)
    assert isinstance(mended[1], Looked)
    assert mended[1].remark == ""


@pytest.mark.parametrize("kind", POINTERS)
def test_a_broken_pointer_is_refused(cluster: MemoryCluster, follower: ReleaseFollower, kind: str) -> None:
    """It names nothing that could be tried."""
    publish(cluster)
    events(follower)
    cluster.produce(TOPIC, POINTERS[kind], key=CHAMPION.encode())

    refused = follower.take()

    assert isinstance(refused, Refused)
    assert (refused.pointer, refused.number, refused.error.reason) == (CHAMPION, None, "pointer")


def test_a_champion_that_was_deleted_serves_on(cluster: MemoryCluster, follower: ReleaseFollower) -> None:
    """A worker never stops for lack of a pointer; it says so."""
    publish(cluster)
    events(follower)
    cluster.produce(TOPIC, None, key=CHAMPION.encode())

    refused, looked = events(follower)

    assert isinstance(refused, Refused)
    assert "@champion was deleted from topic releases" in str(refused.error)
    assert isinstance(looked, Looked)


def test_a_refused_release_that_is_mended_serves(cluster: MemoryCluster, follower: ReleaseFollower) -> None:
    """Under the same number: one record of it came late."""
    publish(cluster)
    manifest = next(one for one in cluster.read(TOPIC) if one.key == b"release/0001")
    cluster.produce(TOPIC, None, key=manifest.key)
    refused = events(follower)
    cluster.produce(TOPIC, manifest.value, key=manifest.key)

    assert [type(one) for one in refused] == [Refused]
    assert numbers(follower.take())[0] == 1


def test_an_outage_is_waited_out(cluster: MemoryCluster, follower: ReleaseFollower) -> None:
    """And what was published meanwhile is found by the connection that follows."""
    publish(cluster)
    events(follower)
    cluster.down()
    away = follower.take()
    cluster.up()
    publish(cluster)

    assert isinstance(away, Waits)
    assert "Is a broker running at memory" in away.reason
    assert numbers(follower.take())[0] == 2


def test_a_follower_that_is_closed_says_nothing_more(
    cluster: MemoryCluster, follower: ReleaseFollower
) -> None:
    """Whatever is published."""
    publish(cluster)
    follower.close()

    assert follower.take() is None


def test_the_thread_hands_over_what_it_finds_and_ends(cluster: MemoryCluster) -> None:
    """`take` waits for it; after `close` it is gone."""
    before = set(threading.enumerate())
    follower = ReleaseFollower(ReleaseReader(cluster.connect(), topic=TOPIC))
    follower.start()
    (thread,) = set(threading.enumerate()) - before
    waits = follower.take(PATIENCE_SECONDS)
    publish(cluster)
    verified = follower.take(PATIENCE_SECONDS)
    follower.adopted()
    follower.close()
    thread.join(PATIENCE_SECONDS)

    assert isinstance(waits, Waits)
    assert numbers(verified)[0] == 1
    assert not thread.is_alive()


def test_a_follower_that_may_not_read_any_more_goes_on(cluster: MemoryCluster) -> None:
    """It has handed over a release, which serves on; with the right back, it finds what came meanwhile."""
    connection = cluster.connect()
    follower = ReleaseFollower(ReleaseReader(connection, topic=TOPIC), background=False)
    publish(cluster)
    events(follower)
    cluster.restrict(connection, [])
    denied = [follower.take(), follower.take()]
    publish(cluster)
    cluster.restrict(connection, [Right("topic", TOPIC, "READ")])
    after = events(follower)

    assert all(isinstance(one, Denied) for one in denied)
    assert "TopicAuthorizationFailedError" in str(denied[0])
    assert (numbers(after[0])[0], after[1]) == (2, Looked(2, ""))


def test_what_ends_the_thread_is_handed_on() -> None:
    """The loop raises it; the thread does not die unheard, and does not go on."""
    before = set(threading.enumerate())
    cluster = MemoryCluster()
    cluster.create("releases")
    follower = ReleaseFollower(ReleaseReader(cluster.connect([]), topic="releases"))
    follower.start()
    failed = follower.take(PATIENCE_SECONDS)
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_SECONDS)

    assert isinstance(failed, Failed)
    assert isinstance(failed.error, NotAllowed)
    assert set(threading.enumerate()) <= before


def test_threads_take_shorter_turns_while_a_release_is_verified(
    cluster: MemoryCluster, follower: ReleaseFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop goes on beside it. Afterwards turns are as before, also if the release was refused."""
    real, before, during = sys.setswitchinterval, sys.getswitchinterval(), list[float]()

    def noted(seconds: float) -> None:
        during.append(seconds)
        real(seconds)

    monkeypatch.setattr(sys, "setswitchinterval", noted)
    for parts in (GOOD, tensors(bias=None)):
        releases.publish(cluster.connect(), TOPIC, *parts)
        events(follower)

    assert during == [pytest.approx(0.001), before] * 2
    assert sys.getswitchinterval() == before
