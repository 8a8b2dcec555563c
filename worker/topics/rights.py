"""The rights in Kafka (ACLs) of each role: every right that one of its commands needs, and no other.

Kafka includes DESCRIBE in READ, WRITE and ALTER of a topic, in READ of a group, and in WRITE of a
transactional id. So DESCRIBE is listed only where no such right is needed. CREATE does not include DESCRIBE.

Where several transactional ids are needed, the ACL is for their common prefix. The id of a worker has a slash
after the group. No group and no topic has a slash in its name, so the workers of one group can fence neither
those of another group nor the trainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from worker.topics import releases
from worker.topics.needs import Need

READ: Final = "READ"
WRITE: Final = "WRITE"
CREATE: Final = "CREATE"
ALTER: Final = "ALTER"
DESCRIBE: Final = "DESCRIBE"
DESCRIBE_CONFIGS: Final = "DESCRIBE_CONFIGS"

Kind = Literal["topic", "group", "transactional-id"]


@dataclass(frozen=True, slots=True)
class Acl:
    """Operations that a role needs on a resource, and why."""

    kind: Kind
    name: str
    operations: tuple[str, ...]
    why: str
    prefixed: bool = False
    """Whether the ACL is for all resources whose name starts with `name`."""

    @property
    def arguments(self) -> str:
        """The ACL as arguments of Kafka's own `kafka-acls`."""
        prefixed = " --resource-pattern-type prefixed" if self.prefixed else ""
        operations = " ".join(f"--operation {_spelled(operation)}" for operation in self.operations)
        return f"--{self.kind} {self.name}{prefixed} {operations}"


@dataclass(frozen=True, slots=True)
class Role:
    """A user of Kafka, with the commands that run as this user and their ACLs."""

    name: str
    commands: str
    acls: tuple[Acl, ...]

    def lines(self) -> list[str]:
        """Return the ACLs as lines of text."""
        width = max(len(acl.arguments) for acl in self.acls)
        return [
            f"ACLs of the {self.name}, for {self.commands} (kafka-acls --add --allow-principal User:...):",
            *(f"      {acl.arguments:<{width}}  # {acl.why}" for acl in self.acls),
        ]

    def document(self) -> list[dict[str, Any]]:
        """Return the ACLs as JSON objects."""
        return [{"acl": acl.arguments, "why": acl.why} for acl in self.acls]


def worker(wanted: Sequence[Need], *, group: str) -> Role:
    """Return the role of a group's workers, whose topics are `wanted`."""
    return Role(
        "worker",
        "all commands of nextclick-worker but topics",
        (
            *_of_topics(wanted),
            Acl("group", group, (READ,), "join the group, commit offsets"),
            Acl("transactional-id", f"{group}/", (WRITE,), "write in transactions", prefixed=True),
        ),
    )


def trainer(wanted: Sequence[Need], *, releases_topic: str) -> Role:
    """Return the role of the trainers, whose topics are `wanted`."""
    group, publisher = releases.trainers(releases_topic), releases.publisher(releases_topic)
    return Role(
        "trainer",
        "nextclick-trainer",
        (
            *_of_topics(wanted),
            Acl("group", group, (READ,), "run: elect a leader"),
            Acl(
                "transactional-id",
                publisher,
                (WRITE,),
                "publish in transactions; check tries one",
                prefixed=True,
            ),
        ),
    )


def admin(wanted: Sequence[Need]) -> Role:
    """Return the role that creates the topics `wanted` of a worker, the clicks topic first."""
    clicks, *others = wanted
    first = Acl("topic", clicks.topic, (CREATE, DESCRIBE), "count its partitions; --create-clicks")
    return Role("admin", "nextclick-worker topics", (first, *(_created(need) for need in others)))


def _created(need: Need) -> Acl:
    """Return what the admin needs on a topic; a topic with a fixed number of partitions never grows."""
    grows = not need.partitions
    compared = (DESCRIBE_CONFIGS,) if need.settings else ()
    why = [
        "create it",
        *(["add partitions"] if grows else []),
        *(["compare its settings"] if compared else []),
    ]
    return Acl("topic", need.topic, (CREATE, ALTER if grows else DESCRIBE, *compared), ", ".join(why))


def _of_topics(wanted: Sequence[Need]) -> list[Acl]:
    return [Acl("topic", need.topic, need.rights, need.why) for need in wanted]


def _spelled(operation: str) -> str:
    return "".join(word.capitalize() for word in operation.split("_"))
