"""The topics that worker and trainer need: rights, sizes and settings, and the creation of topics."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from worker.errors import KafkaAway, NotAllowed, TopicError
from worker.kafka.interface import Admin, Connection, TopicInfo
from worker.topics.findings import Finding, amount

COMPACTED: Final = {
    "cleanup.policy": "compact",
    # With Kafka's defaults the last gigabyte of a partition is never compacted.
    "segment.bytes": str(64 << 20),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": str(3_600_000),
}
"""The settings of a topic in which only the latest value of each key matters."""

DESCRIBED: Final = {**COMPACTED, "delete.retention.ms": str(365 * 24 * 3_600_000)}
"""The settings of the topic of items. A worker reads it at its start, so the record of an item that is gone
must stay for longer than any release still knows the item.
"""

REPORTED: Final = {"cleanup.policy": "delete", "retention.ms": str(30 * 24 * 3_600_000)}
"""The settings of the topic of live quality: an experiment sums all reports that are still retained."""

TRIES: Final = 100
TRY_SECONDS: Final = 0.2
"""Maximum number of checks of new topics, and the pause between two checks: 20 s in total."""


@dataclass(frozen=True, slots=True)
class Need:
    """A topic that a program needs: its required rights, minimum number of partitions, and settings.

    `partitions` 0 means as many as the clicks topic has.
    """

    topic: str
    rights: tuple[str, ...]
    partitions: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    why: str = ""
    """The purpose of the rights."""
    owned: bool = True
    """Whether only Nextclick's programs write the topic, so that its settings are theirs, too."""


def needs(
    *,
    clicks: str,
    recommendations: str,
    dead_letters: str,
    releases: str,
    state: str,
    quality: str,
    items: str = "",
    rules: str = "",
) -> list[Need]:
    """Return the topics that a worker needs, the clicks topic first; `items` and `rules` may be empty."""
    described = Need(items, ("READ",), partitions=1, settings=DESCRIBED, why="read items", owned=False)
    ruled = Need(rules, ("READ",), partitions=1, settings=COMPACTED, why="read rules", owned=False)
    return [
        Need(clicks, ("READ",), partitions=1, why="read clicks"),
        Need(recommendations, ("WRITE",), why="publish lists"),
        Need(dead_letters, ("WRITE",), partitions=1, why="write records that are not valid clicks"),
        Need(releases, ("READ",), partitions=1, settings=COMPACTED, why="read releases"),
        Need(state, ("READ", "WRITE"), settings=COMPACTED, why="recover states, save them"),
        Need(quality, ("WRITE",), partitions=1, settings=REPORTED, why="report live quality"),
        *([described] if items else []),
        *([ruled] if rules else []),
    ]


def trainer_needs(*, clicks: str, releases: str, quality: str) -> list[Need]:
    """Return the topics that the trainer needs, the clicks topic first."""
    return [
        Need(clicks, ("READ",), partitions=1, why="collect, run, fit: read clicks"),
        Need(releases, ("READ", "WRITE"), partitions=1, why="read releases, publish them, set pointers"),
        Need(quality, ("READ",), partitions=1, why="watch, releases: read live quality"),
    ]


def require(admin: Admin, wanted: Sequence[Need]) -> dict[str, TopicInfo]:
    """Return the description of each topic.

    Raises NotAllowed if this user may not see a topic, and TopicError if any are missing or too small.
    """
    described = admin.describe([need.topic for need in wanted])
    refuse(described, wanted, suggestion(admin, described, wanted))
    return described


def refuse(
    described: Mapping[str, TopicInfo], wanted: Sequence[Need], meant: str = "", *, serving: bool = False
) -> None:
    """Raise NotAllowed for topics that are hidden, or TopicError for topics that are missing or too small.

    `meant`: a suggestion for the name of the clicks topic (`suggestion`). `serving`: whether the topics
    existed when the worker started.
    """
    if problems := wrong(described, wanted, meant, serving=serving):
        if any(not described[need.topic].visible for need in wanted):
            raise NotAllowed("\n".join(problems))
        raise TopicError("\n".join(problems), topic=wanted[0].topic)


def wrong(
    described: Mapping[str, TopicInfo], wanted: Sequence[Need], meant: str = "", *, serving: bool = False
) -> list[str]:
    """Return a sentence, with the remedy, for each problem: topics that are missing, hidden or too small.

    `meant` and `serving`: as for `refuse`.
    """
    clicks = described[wanted[0].topic]
    shapes = [shape(need, described[need.topic], clicks) for need in existing(described, wanted)]
    gone = all_gone(described, wanted) if serving else []
    findings = [*(gone or missing(described, wanted, meant)), *(one for one in shapes if one.remedy)]
    return [f"{finding.what}. {finding.remedy}" for finding in findings]


def suggestion(admin: Admin, described: Mapping[str, TopicInfo], wanted: Sequence[Need]) -> str:
    """Return a suggestion for the name of the clicks topic if it is missing; otherwise empty text."""
    first, *others = (need.topic for need in wanted)
    return did_you_mean(admin, first, other_than=others) if _is_missing(described[first]) else ""


def did_you_mean(admin: Admin, topic: str, *, other_than: Collection[str] = ()) -> str:
    """Return a phrase with the existing topic whose name is nearest to a missing topic's; empty without one.

    Topics in `other_than`, and Kafka's own topics, are not suggested.
    """
    names = {name.lower(): name for name in admin.topics() if not name.startswith("__")}
    names = {plain: name for plain, name in names.items() if name not in other_than and name != topic}
    near = difflib.get_close_matches(topic.lower(), names, n=1)
    return f" (did you mean {names[near[0]]}?)" if near else ""


def existing(described: Mapping[str, TopicInfo], wanted: Sequence[Need]) -> list[Need]:
    """Return the needs whose topics exist, or are hidden."""
    return [need for need in wanted if not _is_missing(described[need.topic])]


def all_gone(described: Mapping[str, TopicInfo], wanted: Sequence[Need]) -> list[Finding]:
    """Return a finding if not one of the topics exists any more: it may not be the cluster that it was."""
    if existing(described, wanted):
        return []
    return [
        Finding(
            f"none of the topics exists any more ({', '.join(need.topic for need in wanted)})",
            "Check kafka.bootstrap_servers: it may name another cluster, or the cluster lost its data. To "
            "start afresh here, stop the workers and run `nextclick-worker topics --create-clicks`",
        )
    ]


def missing(described: Mapping[str, TopicInfo], wanted: Sequence[Need], meant: str) -> list[Finding]:
    """Return one finding on all topics that do not exist; the first of `wanted` is the clicks topic."""
    clicks = wanted[0].topic
    gone = [need.topic for need in wanted if _is_missing(described[need.topic])]
    if not gone:
        return []
    if gone[0] != clicks:
        several = len(gone) > 1
        what = f"topics {', '.join(gone)} do" if several else f"topic {gone[0]} does"
        name = "their names" if several else "its name"
        return [Finding(f"{what} not exist", f"Run `nextclick-worker topics`, or fix {name} in [topics]")]
    nor = f", nor {'do' if gone[2:] else 'does'} {', '.join(gone[1:])}" if gone[1:] else ""
    return [
        Finding(
            f"topic {clicks} does not exist{meant}{nor}",
            "Run `nextclick-worker topics --create-clicks`, or fix its name in [topics]",
        )
    ]


def _is_missing(topic: TopicInfo) -> bool:
    return topic.visible and topic.partitions == 0


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

    Return the problem that remains, or "". The wait is needed because Kafka confirms the creation of a topic
    earlier. There are up to `tries` checks; `stop` waits between two checks, for a given number of seconds.
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


def _created(admin: Admin, need: Need, there: int, needed: int, replication: int) -> Finding:
    if there >= needed:
        return Finding(f"topic {need.topic} exists with {amount(there, 'partition')}")
    if there:
        admin.add_partitions(need.topic, total=needed)
        return Finding(f"topic {need.topic} has {amount(needed, 'partition')} now; it had {there}")
    if not admin.create(need.topic, partitions=needed, replication=replication, settings=need.settings):
        return Finding(f"topic {need.topic} was created by another process in the meantime")
    return Finding(f"topic {need.topic} created with {amount(needed, 'partition')}")


def shape(need: Need, topic: TopicInfo, clicks: TopicInfo) -> Finding:
    """Return whether an existing topic has enough partitions; `clicks` describes the clicks topic."""
    there, needed = topic.partitions, need.partitions or clicks.partitions
    if not topic.visible:
        rights = ", ".join(need.rights) or "DESCRIBE"
        return Finding(
            f"topic {need.topic}: no right to see it",
            f"Grant {rights} on the topic: `nextclick-worker check` prints the ACLs that the worker needs",
        )
    if there < needed:
        return Finding(
            f"topic {need.topic} has {amount(there, 'partition')}, but it needs {needed}",
            "Run `nextclick-worker topics`: it adds partitions",
        )
    return Finding(f"topic {need.topic}: {amount(there, 'partition')}")
