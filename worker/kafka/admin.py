"""What must exist on Kafka and be allowed before the worker can run; and how to make it so."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kafka.admin import KafkaAdminClient
from kafka.admin._configs import ConfigResource, ConfigResourceType
from kafka.errors import CoordinatorNotAvailableError, TopicAlreadyExistsError

from worker.errors import NextclickError, NotAllowed, TopicError
from worker.kafka.connection import Connection
from worker.kafka.transactions import Transactions

COMPACTED: Final = {
    "cleanup.policy": "compact",
    # With Kafka's defaults the last gigabyte of a partition is never compacted.
    "segment.bytes": str(64 << 20),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": str(3_600_000),
}
"""The settings of a topic of which only the latest value of every key matters."""

REPORTED: Final = {"cleanup.policy": "delete", "retention.ms": str(30 * 24 * 3_600_000)}
"""The settings of the topic of live quality: a trial counts what is left of it, from its begin."""

_COORDINATOR_TRIES: Final = 25

_PREFIXED: Final = "--resource-pattern-type prefixed"


@dataclass(frozen=True, slots=True)
class Need:
    """A topic that the worker needs: which rights on it, how many partitions at least, which settings.

    `partitions` 0 means as many as the clicks have.
    """

    topic: str
    rights: tuple[str, ...]
    partitions: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


def needs(
    *, clicks: str, recommendations: str, dead_letters: str, releases: str, state: str, quality: str
) -> list[Need]:
    """The topics of a worker, the clicks first."""
    return [
        Need(clicks, ("READ", "DESCRIBE"), partitions=1),
        Need(recommendations, ("WRITE", "DESCRIBE")),
        Need(dead_letters, ("WRITE", "DESCRIBE"), partitions=1),
        Need(releases, ("READ", "DESCRIBE"), partitions=1, settings=COMPACTED),
        Need(state, ("READ", "WRITE", "DESCRIBE"), settings=COMPACTED),
        Need(quality, ("WRITE", "DESCRIBE"), partitions=1, settings=REPORTED),
    ]


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the consumer group, and the partitions of the clicks that are assigned to it."""

    client_id: str
    host: str
    member_id: str
    partitions: frozenset[int]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy` is empty where it is as it must be."""

    what: str
    remedy: str = ""


class Admin:
    """A connection for looking at topics and making them. Raises KafkaAway, NotAllowed, TopicError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        with connection.errors("connect"):
            self._client = KafkaAdminClient(**connection.settings(), client_id="nextclick-admin")

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def partitions(self, wanted: list[Need]) -> dict[str, int]:
        """How many partitions each topic has. Raises TopicError naming all that are missing or too small."""
        described = self._described([need.topic for need in wanted])
        findings = [_shape(need, described[need.topic], described[wanted[0].topic]) for need in wanted]
        wrong = [f"{finding.what}. {finding.remedy}" for finding in findings if finding.remedy]
        if wrong:
            raise TopicError("\n".join(wrong), topic=wanted[0].topic)
        return {topic: len(one["partitions"]) for topic, one in described.items()}

    def counts(self, topics: list[str]) -> dict[str, int]:
        """How many partitions each topic has. Raises TopicError where one is missing."""
        return self.partitions([Need(topic, (), partitions=1) for topic in topics])

    def at_least_as_many(self, topic: str, clicks: str) -> None:
        """Raises TopicError where one of both is missing, or `topic` has fewer partitions than the clicks."""
        self.partitions([Need(clicks, (), partitions=1), Need(topic, ())])

    def members(self, group: str, *, topic: str) -> list[Member]:
        """Who is in the consumer group, and what of `topic` each has."""
        with self._connection.errors(f"describe the consumer group {group}"):
            described = self._described_group(group)[group]
        if "members" not in described:
            raise NextclickError(f"the members of group {group}: this broker's answer cannot be read")
        return [_member(member, topic) for member in described["members"]]

    def create(self, wanted: list[Need], *, partitions: int, replication: int) -> list[Finding]:
        """Make the topics that are missing, and add partitions where there are too few."""
        described = self._described([need.topic for need in wanted])
        clicks = len(described[wanted[0].topic]["partitions"]) or partitions
        counts = [clicks, *(need.partitions or clicks for need in wanted[1:])]
        return [
            self._created(need, len(described[need.topic]["partitions"]), count, replication)
            for need, count in zip(wanted, counts, strict=True)
        ]

    def check(self, wanted: list[Need], *, group: str) -> list[Finding]:
        """What of topics, their settings and our rights would keep a worker from running."""
        described = self._described([need.topic for need in wanted])
        clicks = described[wanted[0].topic]
        findings = []
        for need in wanted:
            topic = described[need.topic]
            findings.append(_shape(need, topic, clicks))
            if topic["partitions"]:
                findings += [*_rights(need, topic), *self._settings(need)]
        return [*findings, self._group_rights(group)]

    def _described(self, topics: list[str]) -> dict[str, dict[str, Any]]:
        with self._connection.errors("describe topics"):
            return {one["name"]: one for one in self._client.describe_topics(topics)}

    def _created(self, need: Need, there: int, needed: int, replication: int) -> Finding:
        if there >= needed:
            return Finding(f"topic {need.topic} is there, {there} partitions")
        with self._connection.errors(f"create topic {need.topic}"):
            if there:
                self._client.create_partitions({need.topic: needed})
                return Finding(f"topic {need.topic} has {needed} partitions, had {there}")
            plan = {
                "num_partitions": needed,
                "replication_factor": replication,
                "configs": dict(need.settings),
            }
            try:
                self._client.create_topics({need.topic: plan})
            except TopicAlreadyExistsError:
                return Finding(f"topic {need.topic} was created by someone else just now")
        return Finding(f"topic {need.topic} created, {needed} partitions")

    def _settings(self, need: Need) -> list[Finding]:
        if not need.settings:
            return []
        resource = ConfigResource(ConfigResourceType.TOPIC, need.topic)
        try:
            with self._connection.errors(f"read the settings of topic {need.topic}"):
                found = self._client.describe_configs([resource], config_filter="all")["topic"][need.topic]
        except NotAllowed as error:
            return [Finding(str(error), "Grant DESCRIBE_CONFIGS on it to the one who checks")]
        return [
            _setting(need.topic, name, found[name]["value"], value) for name, value in need.settings.items()
        ]

    def _group_rights(self, group: str) -> Finding:
        with self._connection.errors(f"describe the consumer group {group}"):
            described = self._described_group(group)
        # A group that does not exist yet is an "error" too, and none.
        if "Authorization" in str(described[group].get("error")):
            return Finding(f"group {group}: {described[group]['error']}", "Grant READ; the ACLs are below")
        return _allowed(f"group {group}", ("READ",), described[group].get("authorized_operations"))

    def _described_group(self, group: str) -> dict[str, Any]:
        for _ in range(_COORDINATOR_TRIES):
            try:
                return self._client.describe_groups([group], include_authorized_operations=True)
            except CoordinatorNotAvailableError:
                # A new cluster makes the topic of the groups' offsets when it is first asked for.
                time.sleep(0.2)
            except ValueError:
                # The client has no name for one of the rights: newer brokers and compatible ones send such.
                return {group: {}}
        return self._client.describe_groups([group], include_authorized_operations=True)


def _member(member: dict[str, Any], topic: str) -> Member:
    # Bytes where the client cannot tell what they say.
    assignment = member.get("member_assignment")
    assigned = assignment.get("assigned_partitions", ()) if isinstance(assignment, dict) else ()
    return Member(
        client_id=member["client_id"],
        host=member["client_host"],
        member_id=member["member_id"],
        partitions=frozenset(
            number for at in assigned if at["topic"] == topic for number in at["partitions"]
        ),
    )


def _shape(need: Need, topic: dict[str, Any], clicks: dict[str, Any]) -> Finding:
    there, needed = len(topic["partitions"]), need.partitions or len(clicks["partitions"])
    create = "Run `nextclick-worker topics`"
    if topic["error_code"] == 29:
        return Finding(f"topic {need.topic}: not allowed to see it", "Grant DESCRIBE on it")
    if there == 0:
        return Finding(f"topic {need.topic} does not exist", f"{create}, or name another in the settings")
    if there < needed:
        return Finding(
            f"topic {need.topic} has {there} partitions, it needs {needed}", f"{create}: it adds them"
        )
    return Finding(f"topic {need.topic}: {there} partitions")


def _rights(need: Need, topic: dict[str, Any]) -> list[Finding]:
    return [_allowed(f"topic {need.topic}", need.rights, topic.get("authorized_operations"))]


def _allowed(resource: str, rights: tuple[str, ...], granted: Any) -> Finding:
    names = {getattr(right, "name", str(right)) for right in granted or ()}
    if not names:
        return Finding(f"{resource}: the broker does not say what is allowed")
    missing = [right for right in rights if right not in names and "ALL" not in names]
    if missing:
        return Finding(f"{resource}: {', '.join(missing)} is not allowed", "Grant it; the ACLs are below")
    return Finding(f"{resource}: {', '.join(rights)} allowed")


def _setting(topic: str, name: str, found: str, wanted: str) -> Finding:
    text = f"topic {topic}: {name} is {found}"
    if name == "cleanup.policy" and found != wanted:
        return Finding(text, f"Set it to {wanted}: otherwise what the topic holds is lost with time")
    if name == "max.compaction.lag.ms" and float(found) > float(wanted):
        return Finding(text, f"Set it to {wanted}: otherwise old values stay, those of people to forget too")
    if name not in ("cleanup.policy", "retention.ms") and float(found) > float(wanted):
        return Finding(text, f"Set it to {wanted}: otherwise old values stay and must be read at every start")
    return Finding(text)


def check_transactions(connection: Connection, *, transactional_id: str, timeout_ms: int) -> Finding:
    """Whether transactions can be used; under an id of its own, as a running worker must not be fenced."""
    probe = f"{transactional_id}.check"
    transactions = Transactions(connection, transactional_id=probe, timeout_ms=timeout_ms)
    try:
        transactions.renew()
    except NextclickError as error:
        grant = "Grant WRITE and DESCRIBE; the ACLs are below"
        return Finding(
            f"transactional id {probe}: {error}", grant if isinstance(error, NotAllowed) else "See there"
        )
    finally:
        transactions.drop()
    return Finding(f"transactional id {probe}: transactions work")


def acls(wanted: list[Need], *, group: str) -> list[str]:
    """The ACLs that a group's workers and commands need, as arguments of Kafka's own `kafka-acls` tool."""
    topics = [f"--topic {need.topic} {_operations(need.rights)}" for need in wanted]
    return [
        *topics,
        f"--group {group} {_operations(('READ',))}",
        f"--transactional-id {group}. {_PREFIXED} {_operations(('WRITE', 'DESCRIBE'))}",
    ]


def _operations(rights: tuple[str, ...]) -> str:
    return " ".join(f"--operation {right.capitalize()}" for right in rights)
