"""The interface of a schema registry, implemented over HTTP and in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

Read = Callable[[bytes], Any]
"""A function that returns the document in the data of a frame. Raises ValueError if the data do not match the
schema.
"""


class Reference(NamedTuple):
    """A reference from a schema to another schema, and the name by which the schema refers to it."""

    name: str
    subject: str
    version: int


class Schema(NamedTuple):
    """A schema in a registry."""

    text: str
    kind: str = "AVRO"
    """AVRO, JSON, PROTOBUF, or an unknown type."""
    references: tuple[Reference, ...] = ()


class Unusable(Exception):
    """Raised when a schema cannot be used; the message gives the reason."""


class Messages(Protocol):
    """The descriptions of Protobuf messages, from which readers are built."""

    def reader(self, schema: Schema) -> Read:
        """Return a function that decodes messages written with `schema`. Raises Unusable."""


class Registry(Protocol):
    """A schema registry.

    All methods raise RegistryAway if the registry does not answer in time, and RegistryRefused if it refuses
    the request.
    """

    url: str

    def answers(self) -> None:
        """Raise RegistryAway or RegistryRefused unless the registry answers."""

    def by_id(self, schema: int | UUID) -> Schema | None:
        """Return the schema with this id or GUID; None if it does not exist."""

    def by_version(self, subject: str, version: int | Literal["latest"]) -> Schema | None:
        """Return a version of a subject; None if it does not exist."""

    def id_of(self, subject: str, schema: Schema) -> int | None:
        """Return the id of `schema`; None if it is not a version of the subject."""

    def compatible(self, subject: str, schema: Schema) -> bool:
        """Return whether `schema` may become the next version of the subject."""

    def register(self, subject: str, schema: Schema) -> int:
        """Register `schema` under the subject, unless it is registered there already; return its id.

        Raises RegistryRefused if `schema` is not compatible with earlier versions.
        """
