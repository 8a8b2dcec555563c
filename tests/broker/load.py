"""The load of a chaos round: clicks as other people's pipelines send them, drawn by a seed, evenly paced."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgpack
import numpy as np
import orjson
from confluent_kafka import KafkaError, Message, Producer

from tests.benchmarks.clicks import zipf
from tests.broker.client import Record

GAP_MS: Final = 1_800_000
"""The session gap of the releases that tests make."""

START_MS: Final = 1_700_000_000_000
"""When every user's own clock begins: a seed's clicks are always the same."""

MALFORMED: Final[list[bytes | None]] = [
    None,
    b"plain text",
    b'{"user_id": "ada"',
    b'{"user_id": "ada", "type": "view"}',
    b'{"user_id": "ada", "type": "purchase", "item_id": ["item-1"]}',
    b'{"user_id": "ada", "type": "order", "item_id": "item-1", "timestamp": 253402300000000}',
]
"""One value of each kind of bad record."""

EVENTS: Final[dict[str, Any]] = {
    "type": "type",
    "step": ["view", "order"],
    "exclude": ["purchase", "order"],
    "exclude_days": 1,
}
"""The section `[events]` of the workers, if the events of a load have types."""

TYPES: Final = {"view": 0.87, "purchase": 0.07, "order": 0.02, "search": 0.02, "": 0.02}
"""The types of the events, and how often each comes. A new type, such as `request`, also needs a judge
(`tests.verdict`) of what must follow from it."""

PATIENT: Final = {
    "linger.ms": 5,
    "enable.idempotence": True,
    "message.timeout.ms": 300_000,
    "reconnect.backoff.max.ms": 500,
    # A broker that comes back is in no metadata for a moment. A client that asks just then would ask again
    # after five minutes only.
    "topic.metadata.refresh.interval.ms": 2_000,
}
"""Settings of a producer that goes on whatever happens to the broker."""

_ONE_BAD_IN: Final = 60
_ONE_ASTRAY_IN: Final = 40
"""How often a click stands in a partition that is not its user's: then the user has two states."""
_ONE_UNKNOWN_IN: Final = 25
_STEPS_MS: Final = {1: 0.25, 900: 0.25, 4_000: 0.2, 60_000: 0.2, -5_000: 0.05, GAP_MS: 0.01, GAP_MS + 1: 0.04}
"""How far a user's clock moves, and how often: also backwards, and up to a session gap or beyond it."""


def records(
    random: np.random.Generator, number: int, *, users: int, items: int, partitions: int, typed: bool = False
) -> list[Record]:
    """`number` records: Zipf users, each with a clock of its own, on Zipf items `item-0`, `item-1`, ...

    Some items are unknown to every release, some records are no clicks. JSON and MessagePack by turns. With
    `typed`, the events have `TYPES`; all items are bought equally often.
    """

    def one_in(times: int) -> list[int]:
        return (random.integers(times, size=number) == 0).astype(int).tolist()

    clocks = [START_MS] * users
    drawn = zip(
        zipf(random, users, number).tolist(),
        zipf(random, items, number).tolist(),
        random.choice([*_STEPS_MS], number, p=[*_STEPS_MS.values()]).tolist(),
        *(one_in(times) for times in (_ONE_ASTRAY_IN, _ONE_UNKNOWN_IN, _ONE_BAD_IN)),
        strict=True,
    )
    types: list[str] = random.choice([*TYPES], number, p=[*TYPES.values()]).tolist() if typed else []
    bought = random.integers(items, size=number).tolist()
    made = []
    for place, (user, item, step_ms, astray, unknown, bad) in enumerate(drawn):
        clocks[user] += step_ms
        kind = types[place] if typed else ""
        chosen = bought[place] if kind in EVENTS["exclude"] else item
        document = {
            "user_id": f"user-{user}",
            "item_id": f"{'strange' if unknown else 'item'}-{chosen}",
            "timestamp": clocks[user],
            **({"type": kind} if kind else {}),
        }
        value = msgpack.packb(document) if place % 2 else orjson.dumps(document)
        made.append(
            Record(
                MALFORMED[place % len(MALFORMED)] if bad else value,
                key=b"user-%d" % user,
                partition=(user + astray) % partitions,
            )
        )
    return made


class Load:
    """Sends records in a thread of its own, so many in a second, whatever happens to the broker.

    A context manager: leaving it ends the sending. The producer's own log goes to `log_path`.
    """

    def __init__(
        self, bootstrap: str, topic: str, records: Sequence[Record], *, per_second: float, log_path: Path
    ) -> None:
        self._topic = topic
        self._records = records
        self._per_second = per_second
        self._log = logging.getLogger(f"tests.load.{topic}")
        self._log.setLevel(logging.DEBUG)
        self._log.propagate = False
        self._log.addHandler(logging.FileHandler(log_path))
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "logger": self._log,
                "debug": "eos",
                **PATIENT,
                "on_delivery": self._acknowledged,
            }
        )
        self._refused: list[KafkaError] = []
        self._left = False
        self._thread = threading.Thread(target=self._send, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        self._thread.join()
        for handler in self._log.handlers:
            handler.close()

    @property
    def done(self) -> bool:
        """Whether all records are acknowledged. AssertionError when Kafka refused one."""
        assert not self._refused, f"Kafka refused records of the load: {self._refused[:3]}"
        return not self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """How many records have been handed to the producer and are not acknowledged."""
        return len(self._producer)

    def _send(self) -> None:
        start = time.monotonic()
        for nth, record in enumerate(self._records):
            while (ahead := start + nth / self._per_second - time.monotonic()) > 0 and not self._left:
                self._producer.poll(min(ahead, 0.1))
            if self._left:
                break
            # Room for all: the queue holds 100,000 records.
            self._producer.produce(self._topic, record.value, record.key, record.partition or 0)
        while len(self._producer) and not self._left:
            self._producer.flush(0.1)
        self._producer.purge()

    def _acknowledged(self, error: KafkaError | None, _: Message) -> None:
        if error is not None and not self._left:
            self._refused.append(error)
