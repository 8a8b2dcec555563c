"""The rights of a client process of the in-memory cluster, like the ACLs of Kafka's StandardAuthorizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from kafka import errors as kafka_errors

_IMPLY_DESCRIBE: Final = frozenset(("READ", "WRITE", "DELETE", "ALTER"))

_REFUSALS: Final = {
    "topic": kafka_errors.TopicAuthorizationFailedError,
    "group": kafka_errors.GroupAuthorizationFailedError,
    "transactional-id": kafka_errors.TransactionalIdAuthorizationFailedError,
}

OPERATIONS: Final = {
    "topic": ("ALTER", "ALTER_CONFIGS", "CREATE", "DELETE", "DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE"),
    "group": ("DELETE", "DESCRIBE", "READ"),
    "transactional-id": ("DESCRIBE", "WRITE"),
}
"""The operations on each kind of resource."""


class Right(NamedTuple):
    """An operation on a resource, or on all resources of a kind whose name starts with `name`."""

    kind: str
    name: str
    operation: str
    prefixed: bool = False

    def covers(self, kind: str, name: str, operation: str) -> bool:
        """Return whether this right allows an operation."""
        named = name.startswith(self.name) if self.prefixed else name == self.name
        implied = operation == "DESCRIBE" and self.operation in _IMPLY_DESCRIBE
        return kind == self.kind and named and (operation == self.operation or implied)


class Rights:
    """The rights of one process; without a set of rights, everything is allowed."""

    def __init__(self) -> None:
        self._granted: set[Right] | None = None

    def restrict(self, granted: Iterable[Right]) -> None:
        """Allow only these operations."""
        self._granted = set(granted)

    def allows(self, kind: str, name: str, operation: str) -> bool:
        """Return whether an operation is allowed."""
        return self._granted is None or any(one.covers(kind, name, operation) for one in self._granted)

    def of(self, kind: str, name: str) -> frozenset[str]:
        """Return all operations that are allowed on a resource."""
        return frozenset(one for one in OPERATIONS[kind] if self.allows(kind, name, one))

    def require(self, kind: str, name: str, operation: str) -> None:
        """Raise the error of the broker unless an operation is allowed."""
        if not self.allows(kind, name, operation):
            raise _REFUSALS[kind](name)
