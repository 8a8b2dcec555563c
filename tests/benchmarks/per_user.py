"""One record per user, as most stream processors keep state: our blocks are compared with it.

The same fields in a MessagePack array, item ids in full; the key is the user's id. Reading them back is a
process of its own (`python -m tests.benchmarks.per_user BOOTSTRAP TOPIC`), with the worker's client at its
best settings, into the same `States`, a poll's records at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import msgpack
import numpy as np
from confluent_kafka import Producer
from kafka import KafkaConsumer, TopicPartition
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tests.benchmarks.population import Numbers, fill
from tests.benchmarks.stand import HIDDEN_SIZE
from tests.broker.process import ROOT
from worker.core.recent import RECENT_ITEMS, Ring
from worker.core.states import States
from worker.core.user_states import UserStates
from worker.process.memory import collect_seldom
from worker.topics.states import FETCH

OVERHEAD_BYTES: Final = 10
"""Kafka adds these to a record within a batch (format 2): lengths, deltas, attributes, number of headers."""

_SAMPLES: Final = 50
_AT_ONCE: Final = 10_000


def bytes_per_click(numbers: Numbers, before: Numbers, *, items: int, clicks_each_flush: int) -> float:
    """Return the bytes of one record per changed user and flush, for these clicks of user after user.

    `before`: how many clicks each user had made. Who clicks several times between two flushes counts once.
    """
    sizes, total = record_sizes(items), 0.0
    for changed, made in flushes(numbers, before, clicks_each_flush):
        keys = len("user-") + 1 + np.floor(np.log10(np.maximum(1, changed))).astype(np.int64)
        values = sizes[np.minimum(made[changed], RECENT_ITEMS)]
        total += float(np.sum(values + keys + OVERHEAD_BYTES))
    return total / len(numbers)


def flushes(numbers: Numbers, before: Numbers, clicks_each_flush: int) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield, flush by flush, the users who changed, and how many clicks each user has made by then."""
    made = before.copy()
    for begin in range(0, len(numbers), clicks_each_flush):
        changed, clicks = np.unique(numbers[begin : begin + clicks_each_flush], return_counts=True)
        made[changed] += clicks
        yield changed, made


def record_sizes(items: int) -> NDArray[np.float64]:
    """Return `[R + 1]`: the mean bytes of the value of a user, by number of recent items."""
    sizes = np.zeros(RECENT_ITEMS + 1)
    for count in range(1, RECENT_ITEMS + 1):
        states = States(state_size=HIDDEN_SIZE, slab_rows=_SAMPLES)
        fill(states, 0, [str(n) for n in range(_SAMPLES)], np.full(_SAMPLES, count), items=items)
        sizes[count] = np.mean([len(value) for _, value in records(states, np.arange(_SAMPLES))])
    return sizes


def records(states: States, rows: Numbers) -> Iterator[tuple[str, bytes]]:
    """Yield key and value of the record of each row."""
    users = states.read(rows)
    count = users.ring.kept.tolist()
    ids = states.item_codes.ids(np.arange(len(states.item_codes), dtype=np.int32))
    hidden, size = users.hidden.tobytes(), users.hidden[0].nbytes
    rest = zip(
        users.recent.tolist(),
        users.clicks.tolist(),
        users.session.tolist(),
        users.warm.tolist(),
        users.timestamp_ms.tolist(),
        users.offset.tolist(),
        users.release.tolist(),
        strict=True,
    )
    for place, (user_id, (recent, *others)) in enumerate(zip(states.user_ids(rows), rest, strict=True)):
        named = [ids[code] for code in recent[: count[place]]]
        yield user_id, msgpack.packb([hidden[place * size : (place + 1) * size], named, *others])


def write(
    bootstrap: str, topic: str, population: Mapping[int, Numbers], made: Numbers, *, items: int
) -> None:
    """Write one record for each user of a population; `made` says how many clicks lie behind whom."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "batch.size": 1 << 19})
    for partition, numbers in population.items():
        states = States(state_size=HIDDEN_SIZE, slab_rows=len(numbers) + 1)
        fill(states, partition, [f"user-{n}" for n in numbers.tolist()], made[numbers], items=items)
        for begin in range(0, len(numbers), _AT_ONCE):
            rows = np.arange(begin, min(begin + _AT_ONCE, len(numbers)))
            for key, value in records(states, rows):
                producer.produce(topic, value, key, partition)
            producer.flush()


def read_seconds(bootstrap: str, topic: str) -> tuple[float, int]:
    """Return how long a fresh process takes to read all of it back, and how many users that are."""
    command = [sys.executable, "-m", "tests.benchmarks.per_user", bootstrap, topic]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return found["seconds"], found["users"]


def _read(bootstrap: str, topic: str) -> States:
    states = States(state_size=HIDDEN_SIZE)
    settings: dict[str, Any] = {**FETCH, "max_poll_records": _AT_ONCE}
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        metrics_enabled=False,
        **settings,
    )
    with closing(consumer):
        ats = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
        consumer.assign(ats)
        consumer.seek_to_beginning(*ats)
        ends = consumer.end_offsets(ats)
        while any(consumer.position(at) < end for at, end in ends.items()):
            for at, found in consumer.poll(timeout_ms=100).items():
                _load(states, at.partition, found)
    return states


def _load(states: States, partition: int, found: Sequence[Any]) -> None:
    rows = states.rows(partition, [record.key.decode() for record in found])
    hidden, recent, *others = zip(*[msgpack.unpackb(record.value) for record in found], strict=True)
    lengths = np.array([len(ids) for ids in recent])
    ring = np.zeros((len(rows), states.recent_items), np.int32)
    codes = states.item_codes.codes([one for ids in recent for one in ids])
    ring[Ring(ring, lengths).filled] = codes
    clicks, session, warm, timestamp_ms, offset, release = others
    users = UserStates(
        hidden=np.frombuffer(b"".join(hidden), "<f2").reshape(len(rows), -1),
        recent=ring,
        clicks=np.array(clicks, np.int32),
        session=np.array(session, np.int8),
        warm=np.array(warm, np.bool_),
        timestamp_ms=np.array(timestamp_ms),
        offset=np.array(offset),
        release=np.array(release, np.int32),
    )
    states.write(rows, users)


def main() -> None:
    """Read all back; print how long it took."""
    collect_seldom()
    with threadpool_limits(1, user_api="blas"):
        began = time.perf_counter()
        states = _read(*sys.argv[1:])
        print(json.dumps({"seconds": time.perf_counter() - began, "users": len(states)}))


if __name__ == "__main__":
    main()
