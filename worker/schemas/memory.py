"""A schema registry in memory, for tests: what the real one does, without Java and without a network."""

from __future__ import annotations

from typing import Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from worker.errors import RegistryAway, RegistryRefused
from worker.schemas.interface import Schema


class MemoryRegistry:
    """Keeps schemas by id, by GUID and by subject."""

    def __init__(self) -> None:
        self.url = "memory:"
        self.schemas: list[Schema] = []
        """Schema `id` is at `id - 1`: ids count from 1."""
        self.subjects: dict[str, list[Schema]] = {}
        self.closed: set[str] = set()
        """Subjects with which no further schema is compatible."""
        self.refuses = False
        """Whether it refuses the credentials."""
        self.asked = 0
        """The number of questions that it was asked."""
        self._away = False

    def down(self) -> None:
        """Answer nobody from now on."""
        self._away = True

    def up(self) -> None:
        """Answer again."""
        self._away = False

    def guid(self, schema_id: int) -> UUID:
        """Return the GUID of a schema."""
        return uuid5(NAMESPACE_URL, repr(self.schemas[schema_id - 1]))

    def answers(self) -> None:
        """Return if the registry answers."""
        self.asked += 1
        if self._away:
            raise RegistryAway(f"the schema registry at {self.url} does not answer")
        if self.refuses:
            raise RegistryRefused(f"the schema registry at {self.url} refuses the credentials")

    def by_id(self, schema: int | UUID) -> Schema | None:
        """Return the schema with an id or a GUID; None if there is none."""
        self.answers()
        known = enumerate(self.schemas, 1)
        return next((one for number, one in known if schema in (number, self.guid(number))), None)

    def by_version(self, subject: str, version: int | Literal["latest"]) -> Schema | None:
        """Return a version of a subject; None if there is none."""
        self.answers()
        versions = self.subjects.get(subject, [])
        number = len(versions) if version == "latest" else version
        return versions[number - 1] if 0 < number <= len(versions) else None

    def id_of(self, subject: str, schema: Schema) -> int | None:
        """Return the id of `schema` if it is a version of the subject."""
        self.answers()
        return self.schemas.index(schema) + 1 if schema in self.subjects.get(subject, []) else None

    def compatible(self, subject: str, schema: Schema) -> bool:
        """Return whether `schema` may become the next version of the subject."""
        self.answers()
        return subject not in self.closed

    def register(self, subject: str, schema: Schema) -> int:
        """Make `schema` a version of the subject, if it is not one yet; return its id."""
        if (known := self.id_of(subject, schema)) is not None:
            return known
        if not self.compatible(subject, schema):
            raise RegistryRefused(f"the schema registry at {self.url} refuses the schema: not compatible")
        if schema not in self.schemas:
            self.schemas.append(schema)
        self.subjects.setdefault(subject, []).append(schema)
        return self.schemas.index(schema) + 1
