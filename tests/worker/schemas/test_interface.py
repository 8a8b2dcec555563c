"""The laws of a schema registry: the one in memory, the same over HTTP, and Apicurio's."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from tests.worker.schemas.served import serving
from worker.errors import RegistryRefused
from worker.schemas.client import MAX_ID, HttpRegistry
from worker.schemas.interface import Registry, Schema
from worker.schemas.memory import MemoryRegistry


def record(*names: str) -> Schema:
    """An Avro record of text fields."""
    fields = [{"name": name, "type": "string"} for name in names]
    return Schema(orjson.dumps({"type": "record", "name": "Click", "fields": fields}).decode())


OTHER_KINDS = [
    Schema('{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}', "JSON"),
    Schema('syntax = "proto3";\nmessage Click { string user_id = 1; }\n', "PROTOBUF"),
]


@pytest.fixture(params=["memory", "served", pytest.param("real", marks=pytest.mark.broker)])
def any_registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    """Every law is tried on each."""
    if request.param == "memory":
        yield MemoryRegistry()
    elif request.param == "served":
        with serving() as served:
            yield HttpRegistry(served.url)
    else:
        yield HttpRegistry(request.getfixturevalue("registry"))


def test_what_is_registered_is_found(any_registry: Registry, unique: str) -> None:
    """By id, by version, and by itself; a second registration changes nothing."""
    schema, subject = record("user_id", f"_{unique}"), f"clicks-{unique}-value"
    schema_id = any_registry.register(subject, schema)

    assert any_registry.register(subject, schema) == schema_id
    assert any_registry.id_of(subject, schema) == schema_id
    assert any_registry.by_version(subject, 1) == any_registry.by_version(subject, "latest") == schema
    assert any_registry.by_id(schema_id) == schema


@pytest.mark.parametrize("schema", OTHER_KINDS, ids=lambda schema: str(schema.kind))
def test_schemas_of_other_kinds_say_so(any_registry: Registry, unique: str, schema: Schema) -> None:
    """The kind is part of what is kept."""
    schema_id = any_registry.register(f"other-{unique}-{schema.kind}", schema)
    found = any_registry.by_id(schema_id)

    assert found is not None
    assert found.kind == schema.kind
    assert found.text.split() == schema.text.split()


def test_what_is_not_registered_is_none(any_registry: Registry, unique: str) -> None:
    """Unknown is an answer, unlike silence; also of ids that no registry gives."""
    any_registry.answers()

    assert [any_registry.by_id(one) for one in (0, 999_999, MAX_ID, MAX_ID + 1, 2**32 - 1)] == [None] * 5
    assert any_registry.by_version(f"none-{unique}", "latest") is None
    assert any_registry.by_version(f"none-{unique}", 3) is None
    assert any_registry.id_of(f"none-{unique}", record("a")) is None
    any_registry.register(f"some-{unique}", record("a"))
    assert any_registry.id_of(f"some-{unique}", record("b")) is None
    assert any_registry.by_version(f"some-{unique}", 2) is None


def test_a_schema_fits_a_new_subject(any_registry: Registry, unique: str) -> None:
    """There is nothing that it could contradict."""
    assert any_registry.compatible(f"new-{unique}", record("a"))


def test_a_name_with_odd_signs_is_a_name(any_registry: Registry, unique: str) -> None:
    """As of subjects that record names make up."""
    subject = f"a b:{unique}%20/value"

    assert any_registry.register(subject, record("a")) == any_registry.id_of(subject, record("a"))


def test_an_incompatible_version_is_refused() -> None:
    """The registry's own text says why."""
    for registry in (MemoryRegistry(), None):
        with serving(registry) as served:
            served.registry.closed.add("clicks-value")
            for one in (served.registry, HttpRegistry(served.url)):
                assert not one.compatible("clicks-value", record("b"))
                with pytest.raises(RegistryRefused, match=r"refuses the schema: .*not compatible"):
                    one.register("clicks-value", record("b"))
