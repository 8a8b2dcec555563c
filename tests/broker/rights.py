"""ACLs of a locked-down Kafka: read as they are printed for `kafka-acls`, granted and taken back."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from tests.waiting import eventually

_RESOURCES: Final = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
    "cluster": ResourceType.BROKER,
}


@dataclass(frozen=True)
class Acl:
    """The operations that are allowed on a resource, or on all whose name begins so."""

    kind: str
    name: str
    operations: tuple[str, ...]
    prefixed: bool = False

    def bindings(self, user: str) -> Iterator[AclBinding]:
        """Yield one binding for each operation."""
        pattern = ResourcePatternType.PREFIXED if self.prefixed else ResourcePatternType.LITERAL
        for operation in self.operations:
            yield AclBinding(
                _RESOURCES[self.kind],
                self.name,
                pattern,
                f"User:{user}",
                "*",
                AclOperation[operation],
                AclPermissionType.ALLOW,
            )


def printed(line: str) -> Acl:
    """Return the ACL of a line of arguments for `kafka-acls`."""
    words = shlex.split(line)
    values: dict[str, list[str]] = {}
    for option, value in zip(words[::2], words[1::2], strict=True):
        values.setdefault(option.removeprefix("--"), []).append(value)
    pattern, operations = values.pop("resource-pattern-type", ["literal"]), values.pop("operation")
    ((kind, (name,)),) = values.items()
    return Acl(kind, name, tuple(map(_unspelled, operations)), prefixed=pattern == ["prefixed"])


class Rights:
    """The ACLs of one Kafka, as its super user sees them."""

    def __init__(self, bootstrap: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def grant(self, user: str, acls: Iterable[Acl]) -> None:
        """Grant rights to a user, and wait until the broker knows them."""
        wanted = {binding for acl in acls for binding in acl.bindings(user)}
        for created in self._admin.create_acls(list(wanted)).values():
            created.result(timeout=30)
        eventually(lambda: wanted <= self.of(user), what=f"the rights of {user}")

    def revoke(self, user: str, acls: Iterable[Acl]) -> None:
        """Take rights back from a user, and wait until the broker has forgotten them."""
        unwanted = {binding for acl in acls for binding in acl.bindings(user)}
        filters = [
            AclBindingFilter(
                one.restype,
                one.name,
                one.resource_pattern_type,
                one.principal,
                one.host,
                one.operation,
                one.permission_type,
            )
            for one in unwanted
        ]
        for deleted in self._admin.delete_acls(filters).values():
            deleted.result(timeout=30)
        eventually(lambda: not unwanted & self.of(user), what=f"the rights of {user} to go")

    def of(self, user: str) -> set[AclBinding]:
        """Return the rights of a user."""
        everything: tuple[Any, ...] = (
            ResourceType.ANY,
            None,
            ResourcePatternType.ANY,
            f"User:{user}",
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        found = self._admin.describe_acls(AclBindingFilter(*everything))
        return set(found.result(timeout=30))


def _unspelled(operation: str) -> str:
    """Return DESCRIBE_CONFIGS for DescribeConfigs."""
    return re.sub("(?<!^)(?=[A-Z])", "_", operation).upper()
