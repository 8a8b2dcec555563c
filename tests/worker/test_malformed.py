"""Malformed records in bulk: none is lost, each has its reason, and the good ones among them are answered."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgpack
import orjson

from tests.worker.desk import Desk, records
from worker.core.click import Click, Several
from worker.core.event import Decoder, Fields
from worker.core.ids import MAX_ID_BYTES
from worker.core.reasons import Reason

BAD: Final = int(os.environ.get("NEXTCLICK_TEST_MALFORMED", "5000"))
"""How many; a million takes some minutes."""

ONE_GOOD_IN: Final = 50

SEED: Final = 3

GOOD: Final = {"user_id": "ada", "item_id": "item-1", "timestamp": 1_700_000_000_000}

KINDS: Final[list[bytes | None]] = [
    None,
    b"",
    b"\x00\x01\x02",
    b"plain text",
    b"[1, 2]",
    b"{",
    b'{"user_id": "ada", "item_id": "item-1"',
    b'{"user_id": "\xff", "item_id": "item-1"}',
    b'{"user_id": NaN, "item_id": "item-1"}',
    b"{" * 5_000,
    orjson.dumps(GOOD)[:-5],
    msgpack.packb(GOOD)[:-3],
    msgpack.packb(GOOD | {"timestamp": float("nan")}),
    msgpack.packb(GOOD | {"user_id": float("inf")}),
    msgpack.packb(GOOD | {"user_id": b"\xff\xfe"}),
    orjson.dumps({"user_id": "ada"}),
    orjson.dumps(GOOD | {"item_id": None}),
    orjson.dumps(GOOD | {"item_id": ""}),
    orjson.dumps(GOOD | {"item_id": ["item-1"]}),
    orjson.dumps(GOOD | {"user_id": True}),
    orjson.dumps(GOOD | {"user_id": "x" * (MAX_ID_BYTES + 1)}),
    orjson.dumps(GOOD | {"timestamp": "yesterday"}),
    orjson.dumps(GOOD | {"timestamp": "2024-01-31T10:00:00"}),
    orjson.dumps(GOOD | {"timestamp": -1}),
    orjson.dumps(GOOD | {"timestamp": 253_402_300_000_000}),
    orjson.dumps(GOOD | {"extra": "x" * 2_000}),
]
"""One value of each kind of bad record, for a worker that takes 1,000 bytes."""


def mutations(source: random.Random) -> Iterator[bytes]:
    """Good values of either format with some bytes changed: good or bad, as it happens."""
    while True:
        value = bytearray(source.choice([orjson.dumps(GOOD), msgpack.packb(GOOD)]))
        for _ in range(source.randint(1, 4)):
            value[source.randrange(len(value))] = source.randrange(256)
        yield bytes(value)


def values(source: random.Random) -> Iterator[bytes | None]:
    """Records without end: kinds and mutations in turn, a good one here and there."""
    mutated = mutations(source)
    while True:
        yield source.choice([source.choice(KINDS), next(mutated)])
        if source.randrange(ONE_GOOD_IN) == 0:
            yield orjson.dumps(GOOD | {"user_id": source.randrange(1000)})


def test_no_malformed_record_is_lost() -> None:
    """Dead letters are the bad records, reason by reason; the good ones are answered, each once."""
    desk = Desk(partitions=4, click={"max_bytes": 1000})
    worker = desk.serving()
    stream = values(random.Random(SEED))
    for number in range(BAD):
        desk.send(next(stream), partition=number % 4)
    desk.settle()
    decoder, clicks, reasons = Decoder(Fields(), max_bytes=1000), list[str](), Counter[str]()
    for record in desk.cluster.read(desk.topics.clicks):
        found = decoder.decode(record.value, record.key, record.timestamp)
        if isinstance(found, Click):
            clicks.append(f"{record.topic}/{record.partition}/{record.offset}")
        elif isinstance(found, Several):
            clicks += [f"{record.topic}/{record.partition}/{record.offset}" for _ in found.parts]
            reasons.update([found.bad[0][1].value])
        elif isinstance(found, Reason):
            reasons[found.value] += 1
    letters = records(desk.letters())

    places = {(letter.header("nextclick.partition"), letter.header("nextclick.offset")) for letter in letters}
    print(f"{BAD} records, {len(clicks)} clicks, {len(letters)} dead letters: {reasons}")
    assert len(reasons) >= 10
    assert len(places) == len(letters) == sum(reasons.values())
    assert Counter(letter.header("nextclick.reason") for letter in letters) == reasons
    assert all(worker.metric("nextclick_dead_letters_total", reason=name) == n for name, n in reasons.items())
    assert Counter(one.header("id") for one in records(desk.answers())) == Counter(clicks)
