"""The questions to a schema registry: the real one and the one in memory answer them alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

Read = Callable[[bytes], Any]
"""Returns the document in the data of a frame. Raises ValueError if the data do not fit the schema."""


class Reference(NamedTuple):
    """Another schema that a schema uses, by the name that it has there."""

    name: str
    subject: str
    version: int


class Schema(NamedTuple):
    """A schema as a registry keeps it."""

    text: str
    kind: str = "AVRO"
    """AVRO, JSON, PROTOBUF, or one that we do not know."""
    references: tuple[Reference, ...] = ()


class Unusable(Exception):
    """Raised when a schema cannot be used; the text says why."""


class Messages(Protocol):
    """Descriptions of Protobuf messages."""

    def reader(self, schema: Schema) -> Read:
        """Return the function that reads data of the messages of `schema`. Raises Unusable."""


class Registry(Protocol):
    """A schema registry.

    All methods raise RegistryAway if it does not answer in time, RegistryRefused if it refuses.
    """

    url: str

    def answers(self) -> None:
        """Return if the registry answers."""

    def by_id(self, schema: int | UUID) -> Schema | None:
        """Return the schema with an id or a GUID; None if there is none."""

    def by_version(self, subject: str, version: int | Literal["latest"]) -> Schema | None:
        """Return a version of a subject; None if there is none."""

    def id_of(self, subject: str, schema: Schema) -> int | None:
        """Return the id of `schema` if it is a version of the subject."""

    def compatible(self, subject: str, schema: Schema) -> bool:
        """Return whether `schema` may become the next version of the subject."""

    def register(self, subject: str, schema: Schema) -> int:
        """Make `schema` a version of the subject, if it is not one yet; return its id.

        Raises RegistryRefused if it is not compatible with the versions before.
        """
