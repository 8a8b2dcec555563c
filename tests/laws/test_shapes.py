"""The law of shapes: the same clicks, in any shape of a topic, are the same clicks."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgpack
import orjson
import pytest

from tests.thousand_clicks import ROWS, Row
from worker.kafka.memory import MemoryCluster
from worker.settings.common import Click
from worker.topics.clicks import decode

LIST_LENGTH: Final = 50
BERLIN: Final = ZoneInfo("Europe/Berlin")


class Sent(NamedTuple):
    """A record as a producer writes it."""

    value: Any
    """Bytes as they are, a document as JSON."""
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Shape(NamedTuple):
    """What a producer writes for one row, or for all; and the settings under which it is read."""

    click: dict[str, Any]
    one: Callable[[Row], Any] | None = None
    all: Callable[[], Iterable[Any]] | None = None


def flat(row: Row, **other: Any) -> dict[str, Any]:
    """Return the plain document of a row, with other values."""
    return {"user_id": row.user_id, "item_id": row.item_id, "timestamp": row.timestamp_ms, **other}


def moment(row: Row) -> datetime:
    """Return the time of a row."""
    return datetime.fromtimestamp(row.timestamp_ms / 1000, UTC)


def cloud(row: Row, **other: Any) -> dict[str, Any]:
    """Return a structured CloudEvent."""
    return {"specversion": "1.0", "type": "click", "source": "/", "id": "1", "subject": row.user_id, **other}


def lists() -> Iterator[list[dict[str, Any]]]:
    """Yield the documents of all rows in lists."""
    for begin in range(0, len(ROWS), LIST_LENGTH):
        yield [flat(row) for row in ROWS[begin : begin + LIST_LENGTH]]


def carts() -> Iterator[dict[str, Any]]:
    """Yield for each user a few events with several items, each with a time of its own."""
    for user_id, rows in by_user((row.user_id, row) for row in ROWS).items():
        for begin in range(0, len(rows), 4):
            items = [{"sku": {"id": row.item_id}, "at": row.timestamp_ms} for row in rows[begin : begin + 4]]
            yield {"user_id": user_id, "cart": {"items": items}}


def changes() -> Iterator[Sent]:
    """Yield changes of a table as Debezium writes them: in every kind, deletions and tombstones."""
    for number, row in enumerate(ROWS):
        operation = "cru"[number % 3]
        yield Sent({"schema": {}, "payload": {"op": operation, "before": None, "after": flat(row)}})
        yield Sent({"schema": {}, "payload": {"op": "d", "before": flat(row), "after": None}}, b"k")
        yield Sent(None, b"k")


def mixed() -> Iterator[dict[str, Any]]:
    """Yield the clicks among events of other kinds, and of a country that does not count."""
    for row in ROWS:
        yield flat(row, type="scroll")
        yield flat(row, type="view", country="DE")
        yield flat(row, type="cart", country="XX")


SHAPES: Final = {
    "plain JSON": Shape({}, flat),
    "MessagePack": Shape(
        {},
        lambda row: Sent(msgpack.packb(flat(row, timestamp=msgpack.Timestamp(row.timestamp_ms // 1000)))),
    ),
    "integers, nanoseconds": Shape(
        {}, lambda row: flat(row, user_id=int(row.user_id), timestamp=row.timestamp_ms * 1_000_000)
    ),
    "floats, seconds": Shape(
        {}, lambda row: flat(row, user_id=float(row.user_id), timestamp=row.timestamp_ms / 1000)
    ),
    "decimals and microseconds in text": Shape(
        {}, lambda row: flat(row, user_id=f"{row.user_id}.0000000000", timestamp=f"{row.timestamp_ms}000")
    ),
    "blanks around ids": Shape(
        {},
        lambda row: flat(
            row, user_id=f"{row.user_id}  ", item_id=f"\N{NO-BREAK SPACE}{row.item_id}\N{ZERO WIDTH SPACE}"
        ),
    ),
    "times of a warehouse": Shape(
        {}, lambda row: flat(row, timestamp=f"{moment(row):%Y-%m-%d %H:%M:%S} UTC")
    ),
    "times with an offset": Shape(
        {}, lambda row: flat(row, timestamp=moment(row).astimezone(BERLIN).isoformat())
    ),
    "times of a zone": Shape(
        {"time_zone": "Europe/Berlin"},
        lambda row: flat(row, timestamp=f"{moment(row).astimezone(BERLIN):%Y/%m/%d %H:%M:%S}"),
    ),
    "date and time of day": Shape(
        {"timestamp": "day + clock"},
        lambda row: flat(row, timestamp=0, day=f"{moment(row):%Y-%m-%d}", clock=f"{moment(row):%H:%M:%S}"),
    ),
    "nested": Shape(
        {"user_id": "who.id", "item_id": "what.sku.id", "timestamp": "at"},
        lambda row: {
            "who": {"id": row.user_id},
            "what": {"sku": {"id": row.item_id}},
            "at": row.timestamp_ms,
        },
    ),
    "names with dots": Shape(
        {"user_id": "who.id", "item_id": r"what\.sku"},
        lambda row: {"who.id": row.user_id, "what.sku": row.item_id, "timestamp": row.timestamp_ms},
    ),
    "JSON in text": Shape({}, lambda row: orjson.dumps(flat(row)).decode()),
    "JSON in a field": Shape(
        {"user_id": "payload.user_id", "item_id": "payload.item_id", "timestamp": "payload.timestamp"},
        lambda row: {"payload": orjson.dumps(flat(row)).decode()},
    ),
    "byte order mark": Shape({}, lambda row: Sent(b"\xef\xbb\xbf" + orjson.dumps(flat(row)))),
    "key as text": Shape({"user_id": "@key"}, lambda row: Sent(flat(row, user_id="x"), row.user_id.encode())),
    "key as JSON": Shape(
        {"user_id": "@key.user.id"},
        lambda row: Sent(flat(row, user_id="x"), b'{"user": {"id": %s}}' % row.user_id.encode()),
    ),
    "key as an integer": Shape(
        {"user_id": "@key:int"}, lambda row: Sent(flat(row, user_id="x"), int(row.user_id).to_bytes(8))
    ),
    "headers": Shape(
        {"user_id": "@header.user.id", "timestamp": "@header.at"},
        lambda row: Sent(
            {"item_id": row.item_id},
            headers=(("user.id", row.user_id.encode()), ("at", b"%d" % row.timestamp_ms)),
        ),
    ),
    "CloudEvents, structured": Shape({"envelope": "cloudevents"}, lambda row: cloud(row, data=flat(row))),
    "CloudEvents, base64": Shape(
        {"envelope": "cloudevents", "user_id": "@envelope.subject"},
        lambda row: cloud(row, data_base64=base64.b64encode(orjson.dumps(flat(row, user_id=0))).decode()),
    ),
    "CloudEvents, binary": Shape(
        {"envelope": "cloudevents", "user_id": "@envelope.subject"},
        lambda row: Sent(
            flat(row, user_id=0),
            headers=(("ce_specversion", b"1.0"), ("ce_subject", row.user_id.encode())),
        ),
    ),
    "Debezium": Shape({"envelope": "debezium"}, all=changes),
    "lists of events": Shape({}, all=lists),
    "several items": Shape({"item_id": "cart.items[].sku.id", "timestamp": "cart.items[].at"}, all=carts),
    "among others": Shape({"where": "type = view, cart; country != XX"}, all=mixed),
}


def by_user(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    """Return what belongs to each user, in order."""
    found = defaultdict(list)
    for user_id, one in pairs:
        found[user_id].append(one)
    return dict(found)


def read(name: str) -> dict[str, list[Any]]:
    """Return each user's items and times, as the worker reads them from a topic of this shape."""
    shape = SHAPES[name]
    cluster = MemoryCluster(start_ms=ROWS[-1].timestamp_ms + 1_000)
    cluster.create("clicks")
    for found in shape.all() if shape.all else map(shape.one, ROWS) if shape.one else ():
        sent = found if isinstance(found, Sent) else Sent(found)
        value = (
            sent.value if sent.value is None or isinstance(sent.value, bytes) else orjson.dumps(sent.value)
        )
        cluster.produce("clicks", value, key=sent.key, headers=list(sent.headers))
    decoded = decode(cluster.read("clicks"), Click(**shape.click).decoder())
    assert decoded.bad == []
    clicks = decoded.clicks
    pairs = zip(clicks.item_ids, clicks.timestamps_ms.tolist(), strict=True)
    return by_user(zip(clicks.user_ids, pairs, strict=True))


@pytest.mark.parametrize("name", SHAPES)
def test_the_same_clicks_in_any_shape_are_the_same(name: str) -> None:
    """1,200 clicks: the same users, each with the same items at the same times in the same order.

    So the sessions and the catalogue are the same, too.
    """
    assert read(name) == by_user((row.user_id, (row.item_id, row.timestamp_ms)) for row in ROWS)
