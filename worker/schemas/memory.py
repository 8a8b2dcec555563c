"""A schema registry in memory, for tests: it behaves like a real registry, without Java or a network."""

from __future__ import annotations

from typing import Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from worker.errors import RegistryAway, RegistryRefused
from worker.schemas.interface import Schema


class MemoryRegistry:
    """Stores schemas by id, by GUID and by subject."""

    def __init__(self) -> None:
        self.url = "memory:"
        self.schemas: list[Schema] = []
        """The schema with `id` is at `id - 1`: ids start from 1."""
        self.subjects: dict[str, list[Schema]] = {}
        self.closed: set[str] = set()
        """Subjects for which the registry refuses any further schema as incompatible."""
        self.refuses = False
        """Whether the registry refuses the credentials."""
        self.asked = 0
        """The number of requests received."""
        self._away = False

    def down(self) -> None:
        """Stop answering."""
        self._away = True

    def up(self) -> None:
        """Answer again."""
        self._away = False

    def guid(self, schema_id: int) -> UUID:
        """Return the GUID of a schema."""
        return uuid5(NAMESPACE_URL, repr(self.schemas[schema_id - 1]))

    def answers(self) -> None:
        """Raise RegistryAway or RegistryRefused unless the registry answers."""
        self.asked += 1
        if self._away:
            raise RegistryAway(f"the schema registry at {self.url} does not answer")
        if self.refuses:
            raise RegistryRefused(f"the schema registry at {self.url} refuses the credentials")

    def by_id(self, schema: int | UUID) -> Schema | None:
        """Return the schema with this id or GUID; None if it does not exist."""
        self.answers()
        known = enumerate(self.schemas, 1)
        return next((one for number, one in known if schema in (number, self.guid(number))), None)

    def by_version(self, subject: str, version: int | Literal["latest"]) -> Schema | None:
        """Return a version of a subject; None if it does not exist."""
        self.answers()
        versions = self.subjects.get(subject, [])
        number = len(versions) if version == "latest" else version
        return versions[number - 1] if 0 < number <= len(versions) else None

    def id_of(self, subject: str, schema: Schema) -> int | None:
        """Return the id of `schema`; None if it is not a version of the subject."""
        self.answers()
        return self.schemas.index(schema) + 1 if schema in self.subjects.get(subject, []) else None

    def compatible(self, subject: str, schema: Schema) -> bool:
        """Return whether `schema` may become the next version of the subject."""
        self.answers()
        return subject not in self.closed

    def register(self, subject: str, schema: Schema) -> int:
        """Register `schema` under the subject, unless it is registered there already; return its id."""
        if (known := self.id_of(subject, schema)) is not None:
            return known
        if not self.compatible(subject, schema):
            raise RegistryRefused(f"the schema registry at {self.url} refuses the schema: not compatible")
        if schema not in self.schemas:
            self.schemas.append(schema)
        self.subjects.setdefault(subject, []).append(schema)
        return self.schemas.index(schema) + 1
