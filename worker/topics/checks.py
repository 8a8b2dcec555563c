"""The checks of topics, of their settings, and of a user's rights, for the commands `check` and `topics`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from worker.errors import NextclickError, NotAllowed
from worker.kafka.interface import Admin, Connection
from worker.topics import needs
from worker.topics.findings import Finding, tried
from worker.topics.needs import Need
from worker.topics.rights import DESCRIBE_CONFIGS, READ

_GRANT = "Grant it; see the ACLs below"

_OF_OTHERS: Final = ("cleanup.policy", "delete.retention.ms")
"""The settings that are checked of topics that other programs write."""


def check(admin: Admin, wanted: Sequence[Need], *, group: str) -> list[Finding]:
    """Check the topics, their settings, and the rights of this user; return the results."""
    described = admin.describe([need.topic for need in wanted])
    clicks = described[wanted[0].topic]
    there = [need for need in wanted if described[need.topic].partitions]
    findings = needs.missing(described, wanted, needs.suggestion(admin, described, wanted))
    for need in needs.existing(described, wanted):
        topic = described[need.topic]
        findings.append(needs.shape(need, topic, clicks))
        if topic.partitions:
            findings.append(_allowed(f"topic {need.topic}", need.rights, topic.rights))
    return [*findings, *tried(settings, admin, there), *tried(_group, admin, group)]


def settings(admin: Admin, wanted: Iterable[Need]) -> Iterator[Finding]:
    """Yield a finding for each required setting of the existing topics, with the remedy."""
    unknown = []
    for need in wanted:
        if not need.settings:
            continue
        try:
            found = admin.settings(need.topic)
        except NotAllowed:
            unknown.append(need.topic)
            continue
        for name, value in need.settings.items():
            if need.owned or name in _OF_OTHERS:
                yield _setting(need.topic, name, found.get(name), value)
    if unknown:
        yield Finding(
            f"the settings of {', '.join(unknown)} are unknown: reading them requires {DESCRIBE_CONFIGS}",
            "`nextclick-worker topics` compares them too, with the rights of an admin",
            fails=False,
        )


def transactions(connection: Connection, transactional_id: str, *, timeout_ms: int) -> Iterator[Finding]:
    """Check whether transactions work, under a separate transactional id that fences no running program."""
    probe = f"{transactional_id}/check"
    transactions = connection.transactions(probe, timeout_ms=timeout_ms)
    try:
        transactions.renew()
    except NextclickError as error:
        remedy = _GRANT if isinstance(error, NotAllowed) else "See the error"
        yield Finding(f"transactional id {probe}: {error}", remedy)
    else:
        yield Finding(f"transactional id {probe}: transactions work")
    finally:
        transactions.drop()


def _group(admin: Admin, group: str) -> Iterator[Finding]:
    try:
        yield _allowed(f"group {group}", (READ,), admin.group_rights(group))
    except NotAllowed as error:
        yield Finding(str(error), _GRANT)


def _allowed(resource: str, rights: Sequence[str], granted: Collection[str] | None) -> Finding:
    if not granted:
        return Finding(f"{resource}: the broker does not report rights")
    missing = [right for right in rights if right not in granted and "ALL" not in granted]
    if missing:
        return Finding(f"{resource}: {', '.join(missing)} is not allowed", _GRANT)
    return Finding(f"{resource}: {', '.join(rights)} allowed")


def _setting(topic: str, name: str, found: str | None, wanted: str) -> Finding:
    if found is None:
        return Finding(f"topic {topic}: {name} is unknown, because the broker does not report it")
    text = f"topic {topic}: {name} is {found}"
    if name == "cleanup.policy" and found != wanted:
        return Finding(text, f"Set it to {wanted}: otherwise retention deletes the contents of the topic")
    if name == "max.compaction.lag.ms" and float(found) > float(wanted):
        return Finding(
            text, f"Set it to {wanted}: otherwise old values stay, including those of deleted users"
        )
    if name == "delete.retention.ms" and float(found) < float(wanted):
        return Finding(
            text,
            f"Set it to {wanted}: otherwise a worker that starts later does not know which items are gone",
            fails=False,
        )
    if name not in ("cleanup.policy", "retention.ms", "delete.retention.ms") and float(found) > float(wanted):
        return Finding(text, f"Set it to {wanted}: otherwise old values stay and are read at every start")
    return Finding(text)
