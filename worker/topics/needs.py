"""The topics that a worker needs: whether they exist, have the right shape and are allowed; and `create`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from worker.errors import KafkaAway, NextclickError, NotAllowed, TopicError
from worker.kafka.interface import Admin, Connection, TopicInfo

COMPACTED: Final = {
    "cleanup.policy": "compact",
    # With Kafka's defaults the last gigabyte of a partition is never compacted.
    "segment.bytes": str(64 << 20),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": str(3_600_000),
}
"""The settings of a topic of which only the latest value of every key matters."""

REPORTED: Final = {"cleanup.policy": "delete", "retention.ms": str(30 * 24 * 3_600_000)}
"""The settings of the topic of live quality: an experiment counts all reports that are left."""

TRIES: Final = 100
TRY_SECONDS: Final = 0.2
"""The number of looks at new topics, and the pause between two: together 20 s."""

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
    """Return the topics that a worker needs, the clicks first."""
    return [
        Need(clicks, ("READ", "DESCRIBE"), partitions=1),
        Need(recommendations, ("WRITE", "DESCRIBE")),
        Need(dead_letters, ("WRITE", "DESCRIBE"), partitions=1),
        Need(releases, ("READ", "DESCRIBE"), partitions=1, settings=COMPACTED),
        Need(state, ("READ", "WRITE", "DESCRIBE"), settings=COMPACTED),
        Need(quality, ("WRITE", "DESCRIBE"), partitions=1, settings=REPORTED),
    ]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy` is empty where it is as it must be."""

    what: str
    remedy: str = ""
    fails: bool = True
    """Whether what has a remedy keeps a worker from doing its work; otherwise it is worth a look."""

    @property
    def failed(self) -> bool:
        """Whether a worker would not do its work."""
        return self.fails and bool(self.remedy)


def require(admin: Admin, wanted: list[Need]) -> dict[str, TopicInfo]:
    """Return each topic as it is. Raises TopicError for all that are missing or too small."""
    described = admin.describe([need.topic for need in wanted])
    if problems := wrong(described, wanted):
        raise TopicError("\n".join(problems), topic=wanted[0].topic)
    return described


def wrong(described: Mapping[str, TopicInfo], wanted: list[Need]) -> list[str]:
    """Return a sentence, with the remedy, on each topic that is missing, hidden or too small."""
    findings = [_shape(need, described[need.topic], described[wanted[0].topic]) for need in wanted]
    return [f"{finding.what}. {finding.remedy}" for finding in findings if finding.remedy]


def counts(connection: Connection, topics: list[str]) -> dict[str, int]:
    """Return how many partitions each topic has. Raises TopicError if one is missing."""
    with closing(connection.admin()) as admin:
        described = require(admin, [Need(topic, (), partitions=1) for topic in topics])
    return {topic: one.partitions for topic, one in described.items()}


def at_least_as_many(connection: Connection, topic: str, clicks: str) -> None:
    """Raise TopicError if one of both is missing, or `topic` has fewer partitions than the clicks."""
    with closing(connection.admin()) as admin:
        require(admin, [Need(clicks, (), partitions=1), Need(topic, ())])


def create(admin: Admin, wanted: list[Need], *, partitions: int, replication: int) -> list[Finding]:
    """Create the topics that are missing, and add partitions where there are too few."""
    described = admin.describe([need.topic for need in wanted])
    clicks = described[wanted[0].topic].partitions or partitions
    needed = [clicks, *(need.partitions or clicks for need in wanted[1:])]
    return [
        _created(admin, need, described[need.topic].partitions, count, replication)
        for need, count in zip(wanted, needed, strict=True)
    ]


def usable(admin: Admin, wanted: list[Need], stop: Callable[[float], object], *, tries: int = TRIES) -> str:
    """Return "" once every broker knows the topics and each partition has a leader; else what is missing.

    Kafka answers the creation of a topic before that. `stop` waits for some seconds between two looks, of
    which there are at most `tries`.
    """
    topics, missing = [need.topic for need in wanted], ""
    for _ in range(tries):
        try:
            missing = _unusable(admin.everywhere(topics), wanted)
        except KafkaAway as error:
            missing = str(error)
        if not missing:
            break
        stop(TRY_SECONDS)
    return missing


def _unusable(everywhere: list[dict[str, TopicInfo]], wanted: list[Need]) -> str:
    for described in everywhere:
        if problems := wrong(described, wanted):
            return problems[0].partition(". ")[0]
        for topic, one in described.items():
            if not one.led:
                return f"topic {topic} has a partition without a leader"
    return ""


def check(admin: Admin, wanted: list[Need], *, group: str) -> list[Finding]:
    """Return what topics, their settings and our rights are like; a finding with a remedy stops a worker."""
    described = admin.describe([need.topic for need in wanted])
    clicks = described[wanted[0].topic]
    findings = []
    for need in wanted:
        topic = described[need.topic]
        findings.append(_shape(need, topic, clicks))
        if topic.partitions:
            findings += [_allowed(f"topic {need.topic}", need.rights, topic.rights), *_settings(admin, need)]
    return [*findings, _group_rights(admin, group)]


def _created(admin: Admin, need: Need, there: int, needed: int, replication: int) -> Finding:
    if there >= needed:
        return Finding(f"topic {need.topic} is there, {there} partitions")
    if there:
        admin.add_partitions(need.topic, total=needed)
        return Finding(f"topic {need.topic} has {needed} partitions, had {there}")
    if not admin.create(need.topic, partitions=needed, replication=replication, settings=need.settings):
        return Finding(f"topic {need.topic} was created by someone else just now")
    return Finding(f"topic {need.topic} created, {needed} partitions")


def _settings(admin: Admin, need: Need) -> list[Finding]:
    if not need.settings:
        return []
    try:
        found = admin.settings(need.topic)
    except NotAllowed as error:
        return [Finding(str(error), "Grant DESCRIBE_CONFIGS on it to the user who runs this check")]
    return [_setting(need.topic, name, found[name], value) for name, value in need.settings.items()]


def _group_rights(admin: Admin, group: str) -> Finding:
    try:
        return _allowed(f"group {group}", ("READ",), admin.group_rights(group))
    except NotAllowed as error:
        return Finding(str(error), "Grant READ; the ACLs are below")


def _shape(need: Need, topic: TopicInfo, clicks: TopicInfo) -> Finding:
    there, needed = topic.partitions, need.partitions or clicks.partitions
    command = "Run `nextclick-worker topics`"
    if not topic.visible:
        return Finding(f"topic {need.topic}: not allowed to see it", "Grant DESCRIBE on it")
    if there == 0:
        # The clicks alone are known by their description: what they need is what they are.
        asked = " --create-clicks" if topic is clicks else ""
        command = f"Run `nextclick-worker topics{asked}`"
        return Finding(f"topic {need.topic} does not exist", f"{command}, or name another in the settings")
    if there < needed:
        return Finding(
            f"topic {need.topic} has {there} partitions, it needs {needed}", f"{command}: it adds them"
        )
    return Finding(f"topic {need.topic}: {there} partitions")


def _allowed(resource: str, rights: tuple[str, ...], granted: frozenset[str] | None) -> Finding:
    if not granted:
        return Finding(f"{resource}: the broker does not say what is allowed")
    missing = [right for right in rights if right not in granted and "ALL" not in granted]
    if missing:
        return Finding(f"{resource}: {', '.join(missing)} is not allowed", "Grant it; the ACLs are below")
    return Finding(f"{resource}: {', '.join(rights)} allowed")


def _setting(topic: str, name: str, found: str, wanted: str) -> Finding:
    text = f"topic {topic}: {name} is {found}"
    if name == "cleanup.policy" and found != wanted:
        return Finding(text, f"Set it to {wanted}: otherwise retention deletes what the topic holds")
    if name == "max.compaction.lag.ms" and float(found) > float(wanted):
        return Finding(text, f"Set it to {wanted}: otherwise old values stay, those of deleted users too")
    if name not in ("cleanup.policy", "retention.ms") and float(found) > float(wanted):
        return Finding(text, f"Set it to {wanted}: otherwise old values stay and must be read at every start")
    return Finding(text)


def check_transactions(connection: Connection, *, transactional_id: str, timeout_ms: int) -> Finding:
    """Check whether transactions work; under an id of its own, as a running worker must not be fenced."""
    probe = f"{transactional_id}.check"
    transactions = connection.transactions(probe, timeout_ms=timeout_ms)
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
    """Return the ACLs that a group's workers and commands need, as arguments of Kafka's `kafka-acls` tool."""
    topics = [f"--topic {need.topic} {_operations(need.rights)}" for need in wanted]
    return [
        *topics,
        f"--group {group} {_operations(('READ',))}",
        f"--transactional-id {group}. {_PREFIXED} {_operations(('WRITE', 'DESCRIBE'))}",
    ]


def _operations(rights: tuple[str, ...]) -> str:
    return " ".join(f"--operation {right.capitalize()}" for right in rights)
