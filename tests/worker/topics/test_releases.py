"""The topic of releases: publications as a whole or not at all, pointers that move as expected."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, Final

import numpy as np
import pytest

from tests.broken import GOOD
from tests.builders import tiny_release_parts
from worker.core.manifest import Manifest
from worker.core.release import CANDIDATE_SHARE, CHUNK_BYTES, Pointer, numbers, verify
from worker.errors import CheckpointFailed, KafkaAway, ReleaseRefused
from worker.kafka.memory import Crashed, MemoryCluster
from worker.topics import releases
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader

TOPIC: Final = "releases"
PARTS: Final = tiny_release_parts()


@pytest.fixture
def cluster() -> MemoryCluster:
    """With a topic of releases that has none."""
    found = MemoryCluster()
    found.create(TOPIC)
    return found


def publish(cluster: MemoryCluster, parts: tuple[Manifest, bytes] = PARTS, **options: Any) -> int:
    """Publish a release; its number."""
    return releases.publish(cluster.connect(), TOPIC, *parts, **options)


def pointers(cluster: MemoryCluster) -> tuple[Pointer | None, Pointer | None]:
    """What champion and candidate are."""
    with ReleaseReader(cluster.connect(), topic=TOPIC).opened() as reader:
        reader.read()
        return reader.pointer(CHAMPION), reader.pointer(CANDIDATE)


def held(cluster: MemoryCluster) -> list[int]:
    """The numbers of the releases in the topic."""
    with ReleaseReader(cluster.connect(), topic=TOPIC).opened() as reader:
        reader.read()
        return numbers(reader.held())


def test_what_is_published_is_read_whole(cluster: MemoryCluster) -> None:
    """Several chunks and a manifest, under the next number; the pointer says which was before."""
    first, second = publish(cluster), publish(cluster, GOOD)

    with ReleaseReader(cluster.connect(), topic=TOPIC).opened() as reader:
        assert reader.read()
        assert not reader.read()
        release = verify(*reader.fetch(second), number=second)

        assert (first, second) == (1, 2)
        assert release.manifest == GOOD[0]
        assert reader.pointer(CHAMPION) == Pointer(2, None, 1)
        assert reader.pointed_at_ms(CHAMPION) == cluster.now_ms
        assert reader.pointed_at_ms(CANDIDATE) is None


def test_a_publication_that_is_not_committed_is_not_there(cluster: MemoryCluster) -> None:
    """Its records stand in the log, and nobody reads them; the next one gets the same number."""
    publish(cluster)
    connection = cluster.connect()
    cluster.crash_at("commit", connection=connection)

    with pytest.raises(Crashed):
        releases.publish(connection, TOPIC, *GOOD)

    assert len(cluster.read(TOPIC, committed=False)) > len(cluster.read(TOPIC))
    assert held(cluster) == [1]
    assert publish(cluster, GOOD) == 2


def test_of_two_publishers_one_wins(cluster: MemoryCluster) -> None:
    """Whoever comes later takes the transactional id: the other publishes nothing."""
    turns: list[Callable[[], object]] = [lambda: None, lambda: publish(cluster)]

    def fence() -> object:
        return turns.pop(0)()

    with pytest.raises(CheckpointFailed):
        publish(cluster, GOOD, fence=fence)

    assert held(cluster) == [1]
    assert turns == []


@pytest.mark.parametrize("fails_at", [1, 2])
def test_who_leads_no_more_publishes_nothing(cluster: MemoryCluster, fails_at: int) -> None:
    """The fence is asked before the transactional id is taken, and again before the commit."""
    publish(cluster)
    asked = count(1)

    def fence() -> None:
        if next(asked) == fails_at:
            raise CheckpointFailed("another trainer leads")

    with pytest.raises(CheckpointFailed, match="another trainer leads"):
        publish(cluster, fence=fence)
    assert held(cluster) == [1]


def test_the_commit_carries_the_term_of_the_one_who_leads(cluster: MemoryCluster) -> None:
    """With the metadata of a member that another one replaced, the broker refuses it."""
    member = cluster.connect().member(
        topic=TOPIC, group="leader", client_id="a", session_timeout_ms=6_000, heartbeat_interval_ms=1_000
    )
    member.join(lambda _: None)
    while not member.assigned():
        member.poll(0)
    assert publish(cluster, fence=lambda: member.metadata) == 1

    cluster.freeze(member)
    cluster.advance(7)

    with pytest.raises(CheckpointFailed):
        publish(cluster, fence=lambda: member.metadata)
    assert held(cluster) == [1]


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        ({CHAMPION: 7}, "named release 7 and now names release 1"),
        ({CHAMPION: None}, "did not exist and now names release 1"),
        ({CANDIDATE: 2}, "named release 2 and no longer exists"),
    ],
)
def test_who_decided_on_what_is_no_longer_so_changes_nothing(
    cluster: MemoryCluster, expected: dict[str, int | None], says: str
) -> None:
    """Neither with a publication nor with a pointer."""
    publish(cluster)

    with pytest.raises(ReleaseRefused, match=says):
        publish(cluster, expected=expected)
    with pytest.raises(ReleaseRefused, match=says):
        releases.point(cluster.connect(), TOPIC, {CHAMPION: Pointer(1)}, expected=expected)
    assert pointers(cluster) == (Pointer(1), None)
    assert held(cluster) == [1]


def test_promotion_and_rollback_move_pointers_together(cluster: MemoryCluster) -> None:
    """A candidate has a share, by default a small one; a champion has none, and knows the one before."""
    publish(cluster)
    publish(cluster, pointer=CANDIDATE)
    tried = pointers(cluster)
    promotion = {CHAMPION: Pointer(2), CANDIDATE: None}
    releases.point(cluster.connect(), TOPIC, promotion, expected={CANDIDATE: 2})
    promoted = pointers(cluster)
    releases.point(cluster.connect(), TOPIC, {CHAMPION: Pointer(1)}, expected={CHAMPION: 2})

    assert tried == (Pointer(1), Pointer(2, CANDIDATE_SHARE))
    assert promoted == (Pointer(2, None, 1), None)
    assert pointers(cluster) == (Pointer(1), None)


def test_a_pointer_to_a_release_that_is_not_there_is_refused(cluster: MemoryCluster) -> None:
    """With the command that lists those that are."""
    publish(cluster)

    with pytest.raises(ReleaseRefused, match="no release 7 in topic releases; `nextclick-trainer releases`"):
        releases.point(cluster.connect(), TOPIC, {CANDIDATE: Pointer(7)})
    assert pointers(cluster) == (Pointer(1), None)


def test_a_pointer_that_cannot_be_read_can_be_replaced(cluster: MemoryCluster) -> None:
    """It is refused by whoever follows it, and counts as none for whoever sets it."""
    publish(cluster)
    cluster.produce(TOPIC, b"7", key=CHAMPION.encode())

    with pytest.raises(ReleaseRefused, match="@champion") as refused:
        pointers(cluster)
    releases.point(cluster.connect(), TOPIC, {CHAMPION: Pointer(1)}, expected={CHAMPION: None})

    assert refused.value.reason == "pointer"
    assert pointers(cluster) == (Pointer(1), None)


def test_old_releases_go(cluster: MemoryCluster) -> None:
    """The latest stay, and those that are named: as champion, as the one before it, as candidate."""
    for pointer in (CHAMPION, CHAMPION, CANDIDATE, "@none", "@none", "@none"):
        publish(cluster, pointer=pointer, keep=2)
    cluster.compact(TOPIC, tombstones=True)

    assert held(cluster) == [1, 2, 3, 5, 6]
    with ReleaseReader(cluster.connect(), topic=TOPIC).opened() as reader:
        reader.read()
        assert reader.fetch(3)[1] == PARTS[1]


def test_a_release_that_is_compacted_away_while_it_is_fetched_is_missing(cluster: MemoryCluster) -> None:
    """Its chunks were there when the topic was read; the reader goes on with the rest of the topic."""
    publish(cluster, GOOD)
    with ReleaseReader(cluster.connect(), topic=TOPIC).opened() as reader:
        reader.read()
        for record in cluster.read(TOPIC):
            if record.key != CHAMPION.encode():
                cluster.produce(TOPIC, None, key=record.key)
        cluster.compact(TOPIC)

        with pytest.raises(ReleaseRefused) as refused:
            reader.fetch(1)
        publish(cluster)
        reader.read()

        assert refused.value.reason == "missing"
        assert reader.held() == ["release/0001", CHAMPION, "release/0001/0001"]


def test_no_broker_is_a_matter_of_waiting(cluster: MemoryCluster) -> None:
    """Whatever is being done."""
    with ReleaseReader(cluster.connect(), topic=TOPIC).opened() as reader:
        cluster.down()

        with pytest.raises(KafkaAway, match="read the releases topic releases"):
            reader.read()
        with pytest.raises(KafkaAway):
            publish(cluster)


def test_who_has_the_topic_open_reads_only_what_is_new(cluster: MemoryCluster) -> None:
    """The numbers and pointers are those of all that was published, also since the first look."""
    publish(cluster)
    connection = cluster.connect()

    with ReleaseReader(connection, topic=TOPIC).opened() as reader:
        reader.read(strict=True)
        publish(cluster)
        end = reader.end
        with pytest.raises(ReleaseRefused, match="now names release 2"):
            releases.publish(connection, TOPIC, *GOOD, expected={CHAMPION: 1}, reader=reader)
        number = releases.publish(connection, TOPIC, *GOOD, expected={CHAMPION: 2}, reader=reader)

        assert (number, pointers(cluster)) == (3, (Pointer(3, None, 2, (1,)), None))
        assert reader.end > end
        assert reader.read()
        assert verify(*reader.fetch(3), number=3).manifest == GOOD[0]


def test_a_release_with_ids_of_200_bytes_is_published_and_fetched(cluster: MemoryCluster) -> None:
    """They fill more than one chunk, and its lists have them."""
    ids = [f"{number:0200}" for number in range(3_000)]
    number = publish(cluster, tiny_release_parts(ids, popular=ids[:3]))

    with ReleaseReader(cluster.connect(), topic=TOPIC).opened() as reader:
        reader.read()
        release = verify(*reader.fetch(number), number=number)

    found = release.rank(np.zeros((1, release.state_size), np.float32), 20)
    assert release.manifest.size_bytes > 200 * len(ids) > CHUNK_BYTES
    assert release.catalogue.ids(found.indexes[0]).tolist() == [ids[item] for item in found.indexes[0]]
    assert release.catalogue.indexes(ids).tolist() == [*range(len(ids))]
