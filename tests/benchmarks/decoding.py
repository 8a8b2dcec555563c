"""The cost of decoding a click: plain JSON, and the frames of a schema registry. CPU time, without Kafka."""

from __future__ import annotations

import io
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

import fastavro
import orjson

from tests.benchmarks.clicks import clicks
from tests.benchmarks.frame import Figures
from worker.core.event import Decoder, Fields
from worker.core.framing import framed
from worker.schemas.interface import Schema
from worker.schemas.memory import MemoryRegistry
from worker.schemas.parser import FramedParser
from worker.schemas.reading import FrameReader

RECORDS: Final = 1_000
"""Different records; they are decoded over and over."""

AVRO: Final[dict[str, Any]] = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "user_id", "type": "string"},
        {"name": "item_id", "type": "string"},
        {"name": "timestamp", "type": "long"},
    ],
}


def costs(number: int, *, rounds: int) -> Figures:
    """Return the microseconds per click of each form, and its ratio to plain JSON in the same round."""
    decoder, forms = records()
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        base = 0.0
        for form, values in forms.items():
            cost = _microseconds(
                Decoder(Fields()).decode if form == "json" else decoder.decode, values, number
            )
            base = base or cost
            found[f"decode_{form}_microseconds"].append(cost)
            if form != "json":
                found[f"decode_{form}_over_json"].append(cost / base)
    return {name: statistics.median(values) for name, values in found.items()}


def records() -> tuple[Decoder, dict[str, list[bytes]]]:
    """Return the decoder of a worker with a registry, and the same clicks in each form, plain JSON first.

    `json_with_registry` are plain records in a worker that knows a registry, too.
    """
    registry = MemoryRegistry()
    json_id = registry.register("json-value", Schema("{}", "JSON"))
    avro_id = registry.register("avro-value", Schema(orjson.dumps(AVRO).decode()))
    times = [
        *AVRO["fields"][:2],
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ]
    times_id = registry.register("times-value", Schema(orjson.dumps(AVRO | {"fields": times}).decode()))
    plain = [value for _, value in clicks(4_000, RECORDS)]
    avro = [_avro(orjson.loads(value)) for value in plain]
    parser = FramedParser(FrameReader(registry, steady=time.monotonic))
    return Decoder(Fields(), parse=parser), {
        "json": plain,
        "json_with_registry": plain,
        "framed_json": [framed(json_id, value) for value in plain],
        "framed_avro": [framed(avro_id, data) for data in avro],
        "framed_avro_timestamp": [framed(times_id, data) for data in avro],
    }


def _avro(document: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(AVRO), document)
    return stream.getvalue()


def _microseconds(decode: Callable[..., Any], values: list[bytes], number: int) -> float:
    begin = time.process_time()
    for _ in range(max(1, number // len(values))):
        for value in values:
            decode(value, None, -1)
    return 1e6 * (time.process_time() - begin) / (max(1, number // len(values)) * len(values))
