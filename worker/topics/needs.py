"""The topics that a worker needs: their creation, and checks of existence, size, settings and rights."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
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
"""The settings of a topic in which only the latest value of each key matters."""

REPORTED: Final = {"cleanup.policy": "delete", "retention.ms": str(30 * 24 * 3_600_000)}
"""The settings of the topic of live quality: an experiment sums all reports that are still retained."""

TRIES: Final = 100
TRY_SECONDS: Final = 0.2
"""Maximum number of checks of new topics, and the pause between two checks: 20 s in total."""

_PREFIXED: Final = "--resource-pattern-type prefixed"


@dataclass(frozen=True, slots=True)
class Need:
    """A topic that the worker needs: its required rights, minimum number of partitions, and settings.

    `partitions` 0 means as many as the clicks topic has.
    """

    topic: str
    rights: tuple[str, ...]
    partitions: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


def needs(
    *, clicks: str, recommendations: str, dead_letters: str, releases: str, state: str, quality: str
) -> list[Need]:
    """Return the topics that a worker needs, the clicks topic first."""
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
    """The result of one check. `remedy` is empty if the check passed."""

    what: str
    remedy: str = ""
    fails: bool = True
    """Whether a finding with a remedy prevents the worker from working; otherwise it is only a hint."""

    @property
    def failed(self) -> bool:
        """Whether the finding prevents the worker from working."""
        return self.fails and bool(self.remedy)


def require(admin: Admin, wanted: list[Need]) -> dict[str, TopicInfo]:
    """Return the description of each topic. Raises TopicError if any are missing or too small."""
    described = admin.describe([need.topic for need in wanted])
    if problems := wrong(described, wanted, _meant(admin, described, wanted)):
        raise TopicError("\n".join(problems), topic=wanted[0].topic)
    return described


def wrong(described: Mapping[str, TopicInfo], wanted: list[Need], meant: str = "") -> list[str]:
    """Return a sentence, with the remedy, for each problem: topics that are missing, hidden or too small.

    `meant`: a suggestion for the name of the clicks topic (`did_you_mean`).
    """
    clicks = described[wanted[0].topic]
    shapes = [_shape(need, described[need.topic], clicks) for need in _existing(described, wanted)]
    findings = [*_missing(described, wanted, meant), *(one for one in shapes if one.remedy)]
    return [f"{finding.what}. {finding.remedy}" for finding in findings]


def did_you_mean(admin: Admin, topic: str, *, other_than: Collection[str] = ()) -> str:
    """Return a phrase with the existing topic whose name is nearest to a missing topic's; empty without one.

    Topics in `other_than`, and Kafka's own topics, are not suggested.
    """
    names = {name.lower(): name for name in admin.topics() if not name.startswith("__")}
    names = {plain: name for plain, name in names.items() if name not in other_than and name != topic}
    near = difflib.get_close_matches(topic.lower(), names, n=1)
    return f" (did you mean {names[near[0]]}?)" if near else ""


def counts(connection: Connection, topics: list[str]) -> dict[str, int]:
    """Return the number of partitions of each topic. Raises TopicError if a topic is missing."""
    with closing(connection.admin()) as admin:
        described = require(admin, [Need(topic, (), partitions=1) for topic in topics])
    return {topic: one.partitions for topic, one in described.items()}


def at_least_as_many(connection: Connection, topic: str, clicks: str) -> None:
    """Raise TopicError if a topic is missing, or `topic` has fewer partitions than the topic `clicks`."""
    with closing(connection.admin()) as admin:
        require(admin, [Need(clicks, (), partitions=1), Need(topic, ())])


def create(admin: Admin, wanted: list[Need], *, partitions: int, replication: int) -> list[Finding]:
    """Create the topics that are missing, and add partitions to topics that have too few."""
    described = admin.describe([need.topic for need in wanted])
    clicks = described[wanted[0].topic].partitions or partitions
    needed = [clicks, *(need.partitions or clicks for need in wanted[1:])]
    return [
        _created(admin, need, described[need.topic].partitions, count, replication)
        for need, count in zip(wanted, needed, strict=True)
    ]


def usable(admin: Admin, wanted: list[Need], stop: Callable[[float], object], *, tries: int = TRIES) -> str:
    """Wait until every broker knows the topics and every partition has a leader.

    Return the problem that remains, or "". Needed because Kafka confirms the creation of a topic before that.
    There are up to `tries` checks; `stop` waits between two checks, for a given number of seconds.
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
    """Check the topics, their settings, and the rights of this user; return the results."""
    described = admin.describe([need.topic for need in wanted])
    clicks = described[wanted[0].topic]
    findings = _missing(described, wanted, _meant(admin, described, wanted))
    for need in _existing(described, wanted):
        topic = described[need.topic]
        findings.append(_shape(need, topic, clicks))
        if topic.partitions:
            findings += [_allowed(f"topic {need.topic}", need.rights, topic.rights), *_settings(admin, need)]
    return [*findings, _group_rights(admin, group)]


def _created(admin: Admin, need: Need, there: int, needed: int, replication: int) -> Finding:
    if there >= needed:
        return Finding(f"topic {need.topic} exists with {there} partitions")
    if there:
        admin.add_partitions(need.topic, total=needed)
        return Finding(f"topic {need.topic} has {needed} partitions now; it had {there}")
    if not admin.create(need.topic, partitions=needed, replication=replication, settings=need.settings):
        return Finding(f"topic {need.topic} was created by another process in the meantime")
    return Finding(f"topic {need.topic} created with {needed} partitions")


def _settings(admin: Admin, need: Need) -> list[Finding]:
    if not need.settings:
        return []
    try:
        found = admin.settings(need.topic)
    except NotAllowed as error:
        return [Finding(str(error), "Grant DESCRIBE_CONFIGS on the topic to the user that runs this check")]
    return [_setting(need.topic, name, found[name], value) for name, value in need.settings.items()]


def _group_rights(admin: Admin, group: str) -> Finding:
    try:
        return _allowed(f"group {group}", ("READ",), admin.group_rights(group))
    except NotAllowed as error:
        return Finding(str(error), "Grant READ; see the ACLs below")


def _is_missing(topic: TopicInfo) -> bool:
    return topic.visible and topic.partitions == 0


def _existing(described: Mapping[str, TopicInfo], wanted: list[Need]) -> list[Need]:
    return [need for need in wanted if not _is_missing(described[need.topic])]


def _missing(described: Mapping[str, TopicInfo], wanted: list[Need], meant: str) -> list[Finding]:
    """Return one finding on all topics that do not exist; the first of `wanted` is the clicks topic."""
    clicks = wanted[0].topic
    missing = [need.topic for need in wanted if _is_missing(described[need.topic])]
    if not missing:
        return []
    if missing[0] != clicks:
        several = len(missing) > 1
        what = f"topics {', '.join(missing)} do" if several else f"topic {missing[0]} does"
        name = "their names" if several else "its name"
        return [Finding(f"{what} not exist", f"Run `nextclick-worker topics`, or correct {name} in [topics]")]
    nor = f", nor {'do' if missing[2:] else 'does'} {', '.join(missing[1:])}" if missing[1:] else ""
    return [
        Finding(
            f"topic {clicks} does not exist{meant}{nor}",
            "Run `nextclick-worker topics --create-clicks`, or correct its name in [topics]",
        )
    ]


def _meant(admin: Admin, described: Mapping[str, TopicInfo], wanted: list[Need]) -> str:
    """Return a suggestion for the name of the clicks topic if it is missing; otherwise empty text."""
    first, *others = (need.topic for need in wanted)
    return did_you_mean(admin, first, other_than=others) if _is_missing(described[first]) else ""


def _shape(need: Need, topic: TopicInfo, clicks: TopicInfo) -> Finding:
    there, needed = topic.partitions, need.partitions or clicks.partitions
    if not topic.visible:
        return Finding(f"topic {need.topic}: no right to see it", "Grant DESCRIBE on the topic")
    if there < needed:
        return Finding(
            f"topic {need.topic} has {there} partitions, but it needs {needed}",
            "Run `nextclick-worker topics`: it adds partitions",
        )
    return Finding(f"topic {need.topic}: {there} partitions")


def _allowed(resource: str, rights: tuple[str, ...], granted: frozenset[str] | None) -> Finding:
    if not granted:
        return Finding(f"{resource}: the broker does not report rights")
    missing = [right for right in rights if right not in granted and "ALL" not in granted]
    if missing:
        return Finding(f"{resource}: {', '.join(missing)} is not allowed", "Grant it; see the ACLs below")
    return Finding(f"{resource}: {', '.join(rights)} allowed")


def _setting(topic: str, name: str, found: str, wanted: str) -> Finding:
    text = f"topic {topic}: {name} is {found}"
    if name == "cleanup.policy" and found != wanted:
        return Finding(text, f"Set it to {wanted}: otherwise retention deletes the contents of the topic")
    if name == "max.compaction.lag.ms" and float(found) > float(wanted):
        return Finding(
            text, f"Set it to {wanted}: otherwise old values stay, including those of deleted users"
        )
    if name not in ("cleanup.policy", "retention.ms") and float(found) > float(wanted):
        return Finding(text, f"Set it to {wanted}: otherwise old values stay and are read at every start")
    return Finding(text)


def check_transactions(connection: Connection, *, transactional_id: str, timeout_ms: int) -> Finding:
    """Check whether transactions work, under a separate transactional id that fences no running worker."""
    probe = f"{transactional_id}.check"
    transactions = connection.transactions(probe, timeout_ms=timeout_ms)
    try:
        transactions.renew()
    except NextclickError as error:
        grant = "Grant WRITE and DESCRIBE; see the ACLs below"
        return Finding(
            f"transactional id {probe}: {error}", grant if isinstance(error, NotAllowed) else "See the error"
        )
    finally:
        transactions.drop()
    return Finding(f"transactional id {probe}: transactions work")


def acls(wanted: list[Need], *, group: str) -> list[str]:
    """Return the ACLs for a group's workers and commands, as arguments of Kafka's `kafka-acls` tool."""
    topics = [f"--topic {need.topic} {_operations(need.rights)}" for need in wanted]
    return [
        *topics,
        f"--group {group} {_operations(('READ',))}",
        f"--transactional-id {group}. {_PREFIXED} {_operations(('WRITE', 'DESCRIBE'))}",
    ]


def _operations(rights: tuple[str, ...]) -> str:
    return " ".join(f"--operation {right.capitalize()}" for right in rights)
