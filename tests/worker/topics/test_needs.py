"""What a worker needs of its topics, and how each thing that is wrong is said."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from worker.errors import NotAllowed, TopicError
from worker.kafka.client import Endpoint
from worker.kafka.interface import Admin, TopicInfo
from worker.kafka.memory import MemoryCluster
from worker.kafka.memory.admin import MemoryAdmin
from worker.topics import needs
from worker.topics.needs import COMPACTED, Finding, Need

WANTED = needs.needs(
    clicks="clicks",
    recommendations="lists",
    dead_letters="letters",
    releases="releases",
    state="state",
    quality="quality",
)


class Guarded(MemoryAdmin):
    """A cluster with ACLs: says what is allowed on each topic, and hides those of which nothing is."""

    def __init__(self, cluster: MemoryCluster, rights: Mapping[str, Collection[str]]) -> None:
        super().__init__(cluster.connect().process, Endpoint("memory"))
        self._rights = rights

    def describe(self, topics: Collection[str]) -> dict[str, TopicInfo]:
        """Return each topic, with the rights on it."""
        found = super().describe(topics)
        return {
            name: TopicInfo(one.partitions, bool(self._of(name)), frozenset(self._of(name)))
            for name, one in found.items()
        }

    def settings(self, topic: str) -> Mapping[str, str]:
        """Raise NotAllowed without DESCRIBE_CONFIGS."""
        if "DESCRIBE_CONFIGS" not in self._of(topic):
            raise NotAllowed(f"read the settings of topic {topic}: TopicAuthorizationFailedError")
        return super().settings(topic)

    def group_rights(self, group: str) -> frozenset[str] | None:
        """Raise NotAllowed where nothing is allowed."""
        if not self._of(group):
            raise NotAllowed(f"describe the consumer group {group}: GroupAuthorizationFailedError")
        return frozenset(self._of(group))

    def _of(self, name: str) -> Collection[str]:
        return self._rights.get(name, self._rights["*"])


class Silent(MemoryAdmin):
    """A broker of a version that does not say what is allowed."""

    def describe(self, topics: Collection[str]) -> dict[str, TopicInfo]:
        """Return each topic, without the rights on it."""
        return {name: TopicInfo(one.partitions) for name, one in super().describe(topics).items()}

    def group_rights(self, group: str) -> frozenset[str] | None:
        """Return that it does not say."""
        return None


def cluster_with(**partitions: int) -> MemoryCluster:
    """The topics of a worker, each with as many partitions as named, else with two."""
    cluster = MemoryCluster()
    for need in WANTED:
        if count := partitions.get(need.topic, 2):
            cluster.create(need.topic, partitions=count, settings=need.settings)
    return cluster


def wrong(admin: Admin) -> list[Finding]:
    """What a check finds fault with."""
    return [one for one in needs.check(admin, WANTED, group="group") if one.remedy]


def test_what_is_as_it_must_be_needs_no_remedy() -> None:
    """Whether everything is allowed, what is needed, or the broker does not say what is."""
    findings = needs.check(cluster_with().connect().admin(), WANTED, group="group")

    assert [one for one in findings if one.remedy] == []
    assert Finding("topic clicks: READ, DESCRIBE allowed") in findings
    assert Finding("topic state: cleanup.policy is compact") in findings
    assert wrong(Guarded(cluster_with(), {"*": ["READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS"]})) == []
    assert wrong(Silent(cluster_with().connect().process, Endpoint("memory"))) == []


@pytest.mark.parametrize(
    ("partitions", "says", "remedy"),
    [
        ({"clicks": 0}, "topic clicks does not exist", "Run `nextclick-worker topics --create-clicks`, or"),
        (
            {"letters": 0},
            "topic letters does not exist",
            "Run `nextclick-worker topics`, or correct its name in [topics]",
        ),
        (
            {"state": 1},
            "topic state has 1 partitions, but it needs 2",
            "Run `nextclick-worker topics`: it adds",
        ),
        (
            {"lists": 1},
            "topic lists has 1 partitions, but it needs 2",
            "Run `nextclick-worker topics`: it adds",
        ),
    ],
)
def test_a_wrong_shape_is_found_and_refused(partitions: dict[str, int], says: str, remedy: str) -> None:
    """`check` lists it; a worker that starts raises it."""
    admin = cluster_with(**partitions).connect().admin()

    (found,) = wrong(admin)
    with pytest.raises(TopicError) as refused:
        needs.require(admin, WANTED)

    assert found.what == says
    assert found.remedy.startswith(remedy)
    assert str(refused.value) == f"{says}. {found.remedy}"


def test_all_that_is_missing_is_said_at_once() -> None:
    """Not one after the other, with a start in between."""
    with pytest.raises(TopicError) as refused:
        needs.require(MemoryCluster().connect().admin(), WANTED)

    assert str(refused.value).startswith(
        "topic clicks does not exist, nor do lists, letters, releases, state, "
    )
    assert str(refused.value).count("Run `nextclick-worker topics") == 1


def test_missing_topics_are_one_finding() -> None:
    """Nothing follows from them: with the clicks topic, the others have no size that they must have."""
    two = wrong(cluster_with(letters=0, state=0).connect().admin())
    clicks = wrong(cluster_with(clicks=0, state=0).connect().admin())

    assert [one.what for one in two] == ["topics letters, state do not exist"]
    assert [one.what for one in clicks] == ["topic clicks does not exist, nor does state"]


@pytest.mark.parametrize("name", ["click", "Clicks", "shop-clicks", "cliks"])
def test_the_nearest_topic_is_suggested_for_missing_clicks(name: str) -> None:
    """But none of the worker's other topics, none of Kafka's own, and none that is far."""
    cluster = cluster_with(clicks=0, lists=0)
    for other in ("__clicks", "orders"):
        cluster.create(other)

    (without,) = wrong(cluster.connect().admin())
    cluster.create(name)
    (near,) = wrong(cluster.connect().admin())

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


@pytest.mark.parametrize(
    ("rights", "says"),
    [
        ({"clicks": ["DESCRIBE"]}, "topic clicks: READ is not allowed"),
        ({"state": ["DESCRIBE", "DESCRIBE_CONFIGS"]}, "topic state: READ, WRITE is not allowed"),
        ({"lists": []}, "topic lists: no right to see it"),
        ({"state": ["READ", "WRITE", "DESCRIBE"]}, "read the settings of topic state"),
        ({"group": ["DESCRIBE"]}, "group group: READ is not allowed"),
        ({"group": []}, "describe the consumer group group"),
    ],
)
def test_a_right_that_is_missing_is_named(rights: dict[str, list[str]], says: str) -> None:
    """With what to grant."""
    (found,) = wrong(Guarded(cluster_with(), {"*": ["ALL", "DESCRIBE_CONFIGS"], **rights}))

    assert found.what.startswith(says)
    assert found.remedy.startswith("Grant")


def test_settings_under_which_values_stay_too_long_are_found() -> None:
    """Each with the value that it should have; smaller ones are fine."""
    settings: dict[str, Any] = COMPACTED | {"cleanup.policy": "delete", "segment.bytes": str(1 << 30)}
    admin = MemoryCluster().connect().admin()
    admin.create("state", partitions=1, replication=1, settings=settings | {"max.compaction.lag.ms": "5"})

    found = needs.check(admin, [Need("state", (), partitions=1, settings=COMPACTED)], group="group")

    assert [one.what for one in found if one.remedy] == [
        "topic state: cleanup.policy is delete",
        "topic state: segment.bytes is 1073741824",
    ]


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


def test_transactions_are_tried() -> None:
    """A cluster that is away does not take them, which is said."""
    cluster = MemoryCluster()
    connection = cluster.connect()
    works = needs.check_transactions(connection, transactional_id="g.a", timeout_ms=10_000)
    cluster.down()
    away = needs.check_transactions(connection, transactional_id="g.a", timeout_ms=10_000)

    assert works == Finding("transactional id g.a.check: transactions work")
    assert away.what.startswith("transactional id g.a.check: start transactions as g.a.check")
    assert away.remedy == "See the error"


def test_the_rights_are_those_of_kafkas_own_tool() -> None:
    """One line for each topic, one for the group, one for all transactional ids of the group."""
    lines = needs.acls(WANTED, group="group")

    assert lines[0] == "--topic clicks --operation Read --operation Describe"
    assert lines[-2:] == [
        "--group group --operation Read",
        "--transactional-id group. --resource-pattern-type prefixed --operation Write --operation Describe",
    ]
    assert len(lines) == len(WANTED) + 2


def test_a_topic_must_have_as_many_partitions_as_the_clicks() -> None:
    """For commands that write to it."""
    connection = cluster_with(state=1).connect()

    needs.at_least_as_many(connection, "lists", "clicks")
    with pytest.raises(TopicError, match="topic state has 1 partitions, but it needs 2"):
        needs.at_least_as_many(connection, "state", "clicks")
    assert needs.counts(connection, ["state", "lists"]) == {"state": 1, "lists": 2}
