"""What a check finds: of sizes and settings of topics, and of the rights of whoever runs it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pytest

from tests.worker.topics.test_needs import WANTED, cluster_with
from worker.kafka.client import Endpoint
from worker.kafka.interface import Admin, TopicInfo
from worker.kafka.memory import MemoryCluster, Right
from worker.kafka.memory.admin import MemoryAdmin
from worker.kafka.memory.rights import OPERATIONS
from worker.topics import checks
from worker.topics.findings import Finding
from worker.topics.needs import COMPACTED, DESCRIBED, Need

EVERYTHING = [
    *(Right("topic", need.topic, one) for need in WANTED for one in OPERATIONS["topic"]),
    *(Right("group", "group", one) for one in OPERATIONS["group"]),
]


class Silent(MemoryAdmin):
    """A broker of a version that says neither what is allowed nor how long values stay."""

    def describe(self, topics: Collection[str]) -> dict[str, TopicInfo]:
        """Return each topic, without the rights on it."""
        return {name: TopicInfo(one.partitions) for name, one in super().describe(topics).items()}

    def settings(self, topic: str) -> Mapping[str, str]:
        """Return the settings without the newest of them."""
        found = dict(super().settings(topic))
        del found["max.compaction.lag.ms"]
        return found


def without(*names: str) -> list[Right]:
    """Return every right but those named: "clicks READ", or "clicks" for all on it."""
    taken = {(*name.split(), "")[:2] for name in names}
    return [one for one in EVERYTHING if not {(one.name, one.operation), (one.name, "")} & taken]


def joined(cluster: MemoryCluster) -> MemoryCluster:
    """The same cluster, with a member in the group: a group that never had one has no rights to tell."""
    member = cluster.connect().member(
        topic="clicks", group="group", client_id="a", session_timeout_ms=6_000, heartbeat_interval_ms=500
    )
    member.join(lambda _: None)
    member.poll(0)
    member.poll(0)
    return cluster


def wrong(admin: Admin) -> list[Finding]:
    """What a check finds fault with."""
    return [one for one in checks.check(admin, WANTED, group="group") if one.remedy]


def test_what_is_as_it_must_be_needs_no_remedy() -> None:
    """Whether everything is allowed or the broker says less."""
    findings = checks.check(cluster_with().connect().admin(), WANTED, group="group")
    silent = Silent(cluster_with().connect().process, Endpoint("memory"))

    assert [one for one in findings if one.remedy] == []
    assert Finding("topic clicks: READ allowed") in findings
    assert Finding("topic state: cleanup.policy is compact") in findings
    assert wrong(cluster_with().connect(EVERYTHING).admin()) == []
    assert wrong(silent) == []
    assert Finding(
        "topic state: max.compaction.lag.ms is unknown, because the broker does not report it"
    ) in checks.check(silent, WANTED, group="group")


@pytest.mark.parametrize(
    ("partitions", "says"),
    [
        ({"clicks": 0}, "topic clicks does not exist"),
        ({"state": 1}, "topic state has 1 partition, but it needs 2"),
    ],
)
def test_a_wrong_shape_is_found(partitions: dict[str, int], says: str) -> None:
    """With what to do."""
    (found,) = wrong(cluster_with(**partitions).connect().admin())

    assert found.what == says
    assert found.remedy.startswith("Run `nextclick-worker topics")


@pytest.mark.parametrize(
    ("taken", "says"),
    [
        ("clicks READ", "topic clicks: READ is not allowed"),
        ("clicks", "topic clicks: no right to see it"),
        ("group READ", "group group: READ is not allowed"),
        ("group", "describe the consumer group group"),
    ],
)
def test_a_right_that_is_missing_is_named(taken: str, says: str) -> None:
    """With what to grant."""
    cluster = joined(cluster_with())

    (found,) = wrong(cluster.connect(without(taken)).admin())

    assert found.what.startswith(says)
    assert found.remedy.startswith("Grant")


def test_all_that_is_missing_is_found_at_once() -> None:
    """No finding hides another."""
    found = wrong(cluster_with().connect([]).admin())

    assert [one.what.partition(":")[0] for one in found] == [
        *(f"topic {need.topic}" for need in WANTED),
        "describe the consumer group group",
    ]


def test_settings_that_may_not_be_read_are_unknown() -> None:
    """Which is no fault of a worker: it needs no right to read them."""
    taken = without("releases DESCRIBE_CONFIGS", "state DESCRIBE_CONFIGS", "state ALTER_CONFIGS")

    (found,) = wrong(cluster_with().connect(taken).admin())

    assert found.what == (
        "the settings of releases, state are unknown: reading them requires DESCRIBE_CONFIGS"
    )
    assert not found.failed


def test_settings_under_which_values_stay_too_long_are_found() -> None:
    """Each with the value that it should have; smaller ones are fine."""
    settings: dict[str, Any] = COMPACTED | {"cleanup.policy": "delete", "segment.bytes": str(1 << 30)}
    admin = MemoryCluster().connect().admin()
    admin.create("state", partitions=1, replication=1, settings=settings | {"max.compaction.lag.ms": "5"})

    found = checks.settings(admin, [Need("state", (), partitions=1, settings=COMPACTED)])

    assert [one.what for one in found if one.remedy] == [
        "topic state: cleanup.policy is delete",
        "topic state: segment.bytes is 1073741824",
    ]


def tried(cluster: MemoryCluster, rights: Iterable[Right] | None = None) -> Finding:
    """What is found of transactions."""
    (found,) = checks.transactions(cluster.connect(rights), "g/a", timeout_ms=10_000)
    return found


def test_transactions_are_tried() -> None:
    """Whether the cluster is away or refuses, it is said."""
    cluster = MemoryCluster()
    works, refused = tried(cluster), tried(cluster, [Right("transactional-id", "g/a", "WRITE")])
    cluster.down()
    away = tried(cluster)

    assert works == Finding("transactional id g/a/check: transactions work")
    assert refused.what.startswith("transactional id g/a/check: start transactions as g/a/check")
    assert refused.remedy == "Grant it; see the ACLs below"
    assert away.what.startswith("transactional id g/a/check: start transactions as g/a/check")
    assert away.remedy == "See the error"


def test_of_a_topic_of_others_only_what_matters_is_checked() -> None:
    """How often it is compacted is their choice; whether, and how long it says what is gone, is ours, too."""
    cluster = cluster_with()
    cluster.create("items", settings={"segment.bytes": str(1 << 30)})
    need = Need("items", ("READ",), settings=DESCRIBED, owned=False)

    found = [*checks.settings(cluster.connect().admin(), [need])]

    assert [(one.what, one.failed) for one in found] == [
        ("topic items: cleanup.policy is delete", True),
        ("topic items: delete.retention.ms is 86400000", False),
    ]
    assert all(one.remedy for one in found)
    assert "does not know which items are gone" in found[1].remedy
