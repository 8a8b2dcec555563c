from __future__ import annotations

import traceback
from pathlib import Path

import orjson
import pytest

from tests.worker.schemas.protos import TEXT, descriptors, message
from tests.worker.schemas.test_avro import written
from worker.core.framing import Frame
from worker.errors import RegistryAway, RegistryRefused
from worker.schemas.interface import Reference, Schema, Unusable
from worker.schemas.memory import MemoryRegistry
from worker.schemas.protobuf import DescribedMessages
from worker.schemas.reading import AGAIN_SECONDS, LOOKUP_SECONDS, FrameReader

STRING = Schema('"string"')
ADA = written("string", "ada")


class Time:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        """The seconds that passed."""
        return self.now


def test_a_schema_is_asked_for_once() -> None:
    """A registry that goes away afterwards is not missed."""
    registry = MemoryRegistry()
    number = registry.register("clicks-key", STRING)
    frames = FrameReader(registry, steady=Time())
    asked = registry.asked
    first = frames.read(Frame(number, ADA))
    registry.down()

    assert [first, frames.read(Frame(number, ADA))] == ["ada", "ada"]
    assert registry.asked == asked + 1


def test_each_kind_is_read(tmp_path: Path) -> None:
    """By id, and by GUID."""
    registry = MemoryRegistry()
    numbers = [
        registry.register("a", STRING),
        registry.register("b", Schema("{}", "JSON")),
        registry.register("c", Schema(TEXT, "PROTOBUF")),
    ]
    frames = FrameReader(registry, messages=DescribedMessages(descriptors(tmp_path)), steady=Time())
    data = [ADA, b'{"id": 7}', b"\x02\x02" + message("Click")(user_id=7).SerializeToString()]

    for name in (int, registry.guid):
        found = [frames.read(Frame(name(number), one)) for number, one in zip(numbers, data, strict=True)]
        assert found == ["ada", {"id": 7}, {"user_id": 7}]


def test_integers_of_any_length_come_out_of_json() -> None:
    """Where they are asked for."""
    registry = MemoryRegistry()
    frame = Frame(registry.register("b", Schema("{}", "JSON")), b"123456789012345678901")
    frames = FrameReader(registry, steady=Time())

    assert type(frames.read(frame)) is float
    assert frames.read(frame, exact=True) == 123456789012345678901


def test_references_are_asked_for() -> None:
    """Those of references, too; each once."""
    registry = MemoryRegistry()
    registry.register("sku", Schema('{"type": "fixed", "name": "Sku", "size": 4}'))
    sku = Reference("Sku", "sku", 1)
    fields = [{"name": "id", "type": "Sku"}]
    item = {"type": "record", "name": "Item", "fields": fields}
    registry.register("item", Schema(orjson.dumps(item).decode(), "AVRO", (sku,)))
    click = {"type": "record", "name": "Click", "fields": [*fields, {"name": "item", "type": "Item"}]}
    references = (sku, Reference("Item", "item", 1))
    number = registry.register("click", Schema(orjson.dumps(click).decode(), "AVRO", references))

    found = FrameReader(registry, steady=Time()).read(Frame(number, b"lampsofa"))

    assert found == {"id": b"lamp", "item": {"id": b"sofa"}}


def test_circles_of_references_end() -> None:
    """No registry should have one."""
    registry = MemoryRegistry()
    registry.register("a", Schema('"A"', "AVRO", (Reference("A", "a", 1),)))

    with pytest.raises(Unusable, match="it is not an Avro schema"):
        FrameReader(registry, steady=Time()).read(Frame(1, b""))


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (None, "the schema registry at memory: has no schema 1"),
        (Schema("{", "AVRO"), "schema 1 cannot be used: it is not an Avro schema"),
        (Schema("x", "XML"), "schema 1 cannot be used: its type is XML; it must be AVRO, JSON or PROTOBUF"),
        (
            Schema(TEXT, "PROTOBUF"),
            "schema 1 cannot be used: it is a Protobuf schema: set registry.descriptors",
        ),
        (
            Schema('"A"', "AVRO", (Reference("A", "a", 9),)),
            "schema 1 cannot be used: version 9 of a, which it uses, does not exist",
        ),
    ],
)
def test_a_schema_of_no_use_is_asked_for_again_later(schema: Schema | None, why: str) -> None:
    """Not at once: a topic may be full of records with it."""
    registry, time = MemoryRegistry(), Time()
    if schema:
        registry.register("subject", schema)
    frames = FrameReader(registry, steady=time)
    for _ in range(3):
        with pytest.raises(Unusable, match=why.replace("(", r"\(")):
            frames.read(Frame(1, ADA))
    asked = registry.asked
    with pytest.raises(Unusable):
        frames.read(Frame(1, ADA))
    assert registry.asked == asked
    assert [problem.startswith(why) for problem in frames.problems()] == [True]

    registry.schemas[:] = [STRING]
    time.now += AGAIN_SECONDS

    assert frames.read(Frame(1, ADA)) == "ada"


def test_each_record_has_its_own_error() -> None:
    """An error that is raised again grows by a traceback each time."""
    frames = FrameReader(MemoryRegistry(), steady=Time())
    depths = []
    for _ in range(4):
        with pytest.raises(Unusable) as raised:
            frames.read(Frame(1, ADA))
        depths.append(len(list(traceback.walk_tb(raised.value.__traceback__))))

    assert depths[1] == depths[3]


def test_trouble_with_the_registry_is_not_kept() -> None:
    """The next record asks again."""
    registry = MemoryRegistry()
    number = registry.register("a", STRING)
    frames = FrameReader(registry, steady=Time())
    registry.down()
    with pytest.raises(RegistryAway):
        frames.read(Frame(number, ADA))
    registry.up()
    registry.refuses = True
    with pytest.raises(RegistryRefused):
        frames.read(Frame(number, ADA))
    registry.refuses = False

    assert frames.read(Frame(number, ADA)) == "ada"


def test_slow_lookups_leave_the_loop_its_time() -> None:
    """Random bytes name a hundred schemas: a batch waits for some seconds, then the next ones are found."""
    time = Time()

    class Slow(MemoryRegistry):
        def answers(self) -> None:
            super().answers()
            time.now += 1.0

    registry, batch = Slow(), range(1, 101)
    frames = FrameReader(registry, steady=time)
    said = []
    while registry.asked < len(batch):
        began = time.now
        try:
            for number in batch:
                with pytest.raises(Unusable):
                    frames.read(Frame(number, ADA))
        except RegistryAway as error:
            said.append(str(error))
        assert time.now - began <= LOOKUP_SECONDS + 1
        time.now += 2.0

    assert len(said) < len(batch)
    assert all("is slow: lookups took over 5 s" in text for text in said)
