"""A reader of framed data. Each schema is requested once and cached by its id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog

from worker.core.framing import Frame
from worker.errors import RegistryAway
from worker.schemas import json_schema
from worker.schemas.interface import Messages, Read, Reference, Registry, Schema, Unusable

log = structlog.get_logger("worker")

AGAIN_SECONDS: Final = 60.0
"""The delay, in seconds, before a schema that could not be used is requested again."""

LOOKUP_SECONDS: Final = 5.0
"""Maximum time for consecutive lookups, in seconds. Then lookups pause, so that the loop can do other work.
"""

_MOST_UNUSABLE: Final = 10_000
_DEEPEST: Final = 50


class FrameReader:
    """Reads framed data with the schemas of `registry`; `messages` describe Protobuf messages."""

    def __init__(
        self, registry: Registry, *, messages: Messages | None = None, steady: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._messages = messages
        self._steady = steady
        self._reads: dict[int | UUID, Read] = {}
        self._unusable: dict[int | UUID, tuple[float, str]] = {}
        """By schema id: when the schema may be requested again, and why it cannot be used."""
        self._spent = _Spent(steady)

    def read(self, frame: Frame, *, exact: bool = False) -> Any:
        """Return the document in a frame. With `exact`, integers are never turned into floats.

        Raises Unusable if the schema is unknown or cannot be used, ValueError if the data do not match the
        schema; RegistryAway, RegistryRefused.
        """
        read = self._reads.get(frame.schema)
        if read is None:
            read = self._looked_up(frame.schema)
        if exact and read is json_schema.read:
            read = json_schema.read_exactly
        return read(frame.data)

    def problems(self) -> list[str]:
        """Return the reasons why schemas could not be used, one for each schema."""
        return [why for _, why in self._unusable.values()]

    def _looked_up(self, schema_id: int | UUID) -> Read:
        due, why = self._unusable.get(schema_id, (0.0, ""))
        if why and self._steady() < due:
            raise Unusable(why)
        try:
            read = self._made(schema_id)
        except Unusable as error:
            if len(self._unusable) >= _MOST_UNUSABLE:
                self._unusable.clear()
            self._unusable[schema_id] = self._steady() + AGAIN_SECONDS, str(error)
            raise
        self._reads[schema_id] = read
        return read

    def _made(self, schema_id: int | UUID) -> Read:
        schema = self._asked(partial(self._registry.by_id, schema_id))
        if schema is None:
            raise Unusable(f"the schema registry at {self._registry.url} has no schema {schema_id}")
        try:
            if schema.kind == "AVRO":
                from worker.schemas import avro  # noqa: PLC0415  # see the package

                return avro.reader(schema, list(self._references(schema)))
            if schema.kind == "JSON":
                return json_schema.read
            if schema.kind == "PROTOBUF" and self._messages is not None:
                return self._messages.reader(schema)
            if schema.kind == "PROTOBUF":
                raise Unusable("it is a Protobuf schema: set registry.descriptors")
            raise Unusable(f"its type is {schema.kind}; it must be AVRO, JSON or PROTOBUF")
        except Unusable as error:
            log.warning("a schema cannot be used", schema=str(schema_id), why=str(error))
            raise Unusable(f"schema {schema_id} cannot be used: {error}") from error

    def _references(self, schema: Schema) -> Iterator[Schema]:
        """Yield the schemas that `schema` uses, without duplicates, inner schemas first."""
        yield from self._inner(schema, set(), 0)

    def _inner(self, schema: Schema, seen: set[Reference], depth: int) -> Iterator[Schema]:
        for reference in schema.references:
            if reference in seen:
                continue
            seen.add(reference)
            found = self._asked(partial(self._registry.by_version, reference.subject, reference.version))
            if found is None or depth == _DEEPEST:
                raise Unusable(
                    f"version {reference.version} of {reference.subject}, which it uses, does not exist"
                )
            yield from self._inner(found, seen, depth + 1)
            yield found

    def _asked(self, question: Callable[[], Schema | None]) -> Schema | None:
        """Return the registry's answer. Raises RegistryAway if recent lookups have taken too long."""
        if self._spent.seconds() > LOOKUP_SECONDS:
            raise RegistryAway(
                f"the schema registry at {self._registry.url} is slow: "
                f"lookups took over {LOOKUP_SECONDS:g} s; they will resume after a pause"
            )
        with self._spent:
            return question()


class _Spent:
    """The time spent inside this context, reduced by the time that passes outside, but not below 0."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._seconds = 0.0
        self._at = steady()

    def seconds(self) -> float:
        """Return the time spent, reduced by the time outside, in seconds."""
        now = self._steady()
        self._seconds = max(0.0, self._seconds - (now - self._at))
        self._at = now
        return self._seconds

    def __enter__(self) -> None:
        self.seconds()

    def __exit__(self, *_: object) -> None:
        now = self._steady()
        self._seconds += now - self._at
        self._at = now
