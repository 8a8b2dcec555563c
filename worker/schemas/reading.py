"""Documents out of frames: each schema is asked for once, and kept by its id."""

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
"""The time after which a schema that could not be used is asked for again."""

LOOKUP_SECONDS: Final = 5.0
"""The time that lookups may take in a row. Then they wait, so that the loop goes round meanwhile."""

_MOST_UNUSABLE: Final = 10_000
_DEEPEST: Final = 50


class FrameReader:
    """Reads what frames hold, with the schemas of `registry`; `messages` are those of Protobuf."""

    def __init__(
        self, registry: Registry, *, messages: Messages | None = None, steady: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._messages = messages
        self._steady = steady
        self._reads: dict[int | UUID, Read] = {}
        self._unusable: dict[int | UUID, tuple[float, Unusable]] = {}
        """Why a schema cannot be used, and when it is asked for again."""
        self._spent = _Spent(steady)

    def read(self, frame: Frame, *, exact: bool = False) -> Any:
        """Return the document in a frame; `exact`: without turning integers into floats, at any cost.

        Raises Unusable if its schema is unknown or of no use, ValueError if the data do not fit the schema;
        RegistryAway, RegistryRefused.
        """
        read = self._reads.get(frame.schema)
        if read is None:
            read = self._looked_up(frame.schema)
        if exact and read is json_schema.read:
            read = json_schema.read_exactly
        return read(frame.data)

    def problems(self) -> list[str]:
        """Return why schemas could not be used, each once."""
        return [str(error) for _, error in self._unusable.values()]

    def _looked_up(self, schema_id: int | UUID) -> Read:
        due, error = self._unusable.get(schema_id, (0.0, None))
        if error is not None and self._steady() < due:
            raise error
        try:
            read = self._made(schema_id)
        except Unusable as error:
            if len(self._unusable) >= _MOST_UNUSABLE:
                self._unusable.clear()
            self._unusable[schema_id] = self._steady() + AGAIN_SECONDS, error
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
            raise Unusable(f"it is of the type {schema.kind}, not AVRO, JSON or PROTOBUF")
        except Unusable as error:
            log.warning("a schema is of no use", schema=str(schema_id), why=str(error))
            raise Unusable(f"schema {schema_id} is of no use: {error}") from error

    def _references(self, schema: Schema) -> Iterator[Schema]:
        """Yield the schemas that `schema` uses, each once, after those that it uses itself."""
        yield from self._inner(schema, set(), 0)

    def _inner(self, schema: Schema, seen: set[Reference], depth: int) -> Iterator[Schema]:
        for reference in schema.references:
            if reference in seen:
                continue
            seen.add(reference)
            found = self._asked(partial(self._registry.by_version, reference.subject, reference.version))
            if found is None or depth == _DEEPEST:
                raise Unusable(
                    f"version {reference.version} of {reference.subject}, which it uses, is not there"
                )
            yield from self._inner(found, seen, depth + 1)
            yield found

    def _asked(self, question: Callable[[], Schema | None]) -> Schema | None:
        """Ask the registry. Raises RegistryAway where lookups took too long already."""
        if self._spent.seconds() > LOOKUP_SECONDS:
            raise RegistryAway(
                f"the schema registry at {self._registry.url} is slow: "
                f"lookups took over {LOOKUP_SECONDS:g} s; they go on in a while"
            )
        with self._spent:
            return question()


class _Spent:
    """The time spent in a context; it is forgotten as fast as time passes outside."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._seconds = 0.0
        self._at = steady()

    def seconds(self) -> float:
        """Return the time spent that is not forgotten yet."""
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
