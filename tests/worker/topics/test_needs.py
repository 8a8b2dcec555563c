"""What a worker needs of its topics, and how each thing that is wrong is said."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from worker.errors import NotAllowed, TopicError
from worker.kafka.client import Endpoint
from worker.kafka.interface import Admin, TopicInfo
from worker.kafka.memory import MemoryCluster, Right
from worker.kafka.memory.admin import MemoryAdmin
from worker.topics import needs
from worker.topics.findings import Finding
from worker.topics.needs import Need

WANTED = needs.needs(
    clicks="clicks",
    recommendations="lists",
    dead_letters="letters",
    releases="releases",
    state="state",
    quality="quality",
)


def cluster_with(**partitions: int) -> MemoryCluster:
    """The topics of a worker, each with as many partitions as named, else with two."""
    cluster = MemoryCluster()
    for need in WANTED:
        if count := partitions.get(need.topic, 2):
            cluster.create(need.topic, partitions=count, settings=need.settings)
    return cluster


@pytest.mark.parametrize(
    ("partitions", "says", "remedy"),
    [
        ({"clicks": 0}, "topic clicks does not exist", "Run `nextclick-worker topics --create-clicks`, or"),
        (
            {"letters": 0},
            "topic letters does not exist",
            "Run `nextclick-worker topics`, or fix its name in [topics]",
        ),
        (
            {"state": 1},
            "topic state has 1 partition, but it needs 2",
            "Run `nextclick-worker topics`: it adds",
        ),
        (
            {"lists": 1},
            "topic lists has 1 partition, but it needs 2",
            "Run `nextclick-worker topics`: it adds",
        ),
    ],
)
def test_a_wrong_shape_is_found_and_refused(partitions: dict[str, int], says: str, remedy: str) -> None:
    """A worker that starts raises it, with what to do."""
    admin = cluster_with(**partitions).connect().admin()

    with pytest.raises(TopicError) as refused:
        needs.require(admin, WANTED)

    assert str(refused.value).startswith(f"{says}. {remedy}")


def test_all_that_is_missing_is_said_at_once() -> None:
    """Not one after the other, with a start in between."""
    with pytest.raises(TopicError) as refused:
        needs.require(MemoryCluster().connect().admin(), WANTED)

    assert str(refused.value).startswith(
        "topic clicks does not exist, nor do lists, letters, releases, state, "
    )
    assert str(refused.value).count("Run `nextclick-worker topics") == 1


def missing(admin: Admin) -> list[Finding]:
    """What is said of the topics that do not exist."""
    described = admin.describe([need.topic for need in WANTED])
    return needs.missing(described, WANTED, needs.suggestion(admin, described, WANTED))


def test_missing_topics_are_one_finding() -> None:
    """Nothing follows from them: with the clicks topic, the others have no size that they must have."""
    two = missing(cluster_with(letters=0, state=0).connect().admin())
    clicks = missing(cluster_with(clicks=0, state=0).connect().admin())

    assert [one.what for one in two] == ["topics letters, state do not exist"]
    assert [one.what for one in clicks] == ["topic clicks does not exist, nor does state"]


@pytest.mark.parametrize("name", ["click", "Clicks", "shop-clicks", "cliks"])
def test_the_nearest_topic_is_suggested_for_missing_clicks(name: str) -> None:
    """But none of the worker's other topics, none of Kafka's own, and none that is far."""
    cluster = cluster_with(clicks=0, lists=0)
    for other in ("__clicks", "orders"):
        cluster.create(other)

    (without,) = missing(cluster.connect().admin())
    cluster.create(name)
    (near,) = missing(cluster.connect().admin())

    assert without.what == "topic clicks does not exist, nor does lists"
    assert near.what == f"topic clicks does not exist (did you mean {name}?), nor does lists"


def test_what_a_worker_requires_it_counts() -> None:
    """The partitions of every topic."""
    found = needs.require(cluster_with(letters=1).connect().admin(), WANTED)

    assert {topic: one.partitions for topic, one in found.items()} == {
        "clicks": 2,
        "lists": 2,
        "letters": 1,
        "releases": 2,
        "state": 2,
        "quality": 2,
    }


def test_a_topic_that_is_hidden_is_no_missing_topic() -> None:
    """The right to see it is missing: nobody must create it."""
    admin = cluster_with().connect([Right("topic", one.topic, "READ") for one in WANTED[1:]]).admin()

    with pytest.raises(NotAllowed, match="topic clicks: no right to see it"):
        needs.require(admin, WANTED)


def test_a_topic_that_somebody_else_creates_meanwhile_is_no_error() -> None:
    """Two people run the same command."""
    cluster = MemoryCluster()

    class Slow(MemoryAdmin):
        def describe(self, topics: Collection[str]) -> dict[str, TopicInfo]:
            found = super().describe(topics)
            cluster.create("clicks")
            return found

    admin = Slow(cluster.connect().process, Endpoint("memory"))

    (found,) = needs.create(admin, [Need("clicks", ())], partitions=1, replication=1)

    assert found == Finding("topic clicks was created by another process in the meantime")


def test_a_topic_must_have_as_many_partitions_as_the_clicks() -> None:
    """For commands that write to it."""
    connection = cluster_with(state=1).connect()

    needs.at_least_as_many(connection, "lists", "clicks")
    with pytest.raises(TopicError, match="topic state has 1 partition, but it needs 2"):
        needs.at_least_as_many(connection, "state", "clicks")
    assert needs.counts(connection, ["state", "lists"]) == {"state": 1, "lists": 2}
