"""From the moment a click is handed to Kafka's client to the moment a foreign reader holds its list."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import numpy as np
from confluent_kafka import Consumer, TopicPartition
from numpy.typing import NDArray

from tests.benchmarks.stand import PARTITIONS, Stand
from tests.broker.client import Isolation, as_record

WARM_SECONDS: Final = 2.0
"""Clicks of the first seconds are sent and answered, and not counted."""

QUIET_SECONDS: Final = 1.0
"""After this time without a list none is to come: several commit intervals."""


class Reader:
    """Reads a topic in a thread of its own and notes when it first saw each list, by its header `id`."""

    def __init__(
        self, bootstrap: str, topic: str, isolation: Isolation, *, partitions: int = PARTITIONS
    ) -> None:
        self.seen: dict[str, float] = {}
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "bench-reader",  # asked for by the client, never joined
                "isolation.level": isolation,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "socket.nagle.disable": True,
            }
        )
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="bench-reader")
        self._thread.start()

    def stop(self) -> None:
        """End reading."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def wait_for(self, clicks: Mapping[str, float], *, quiet_seconds: float = QUIET_SECONDS) -> None:
        """Return once all of `clicks` have a list, or none has come for `quiet_seconds`."""
        number, since = -1, time.monotonic()
        while not self.seen.keys() >= clicks.keys() and time.monotonic() - since < quiet_seconds:
            if len(self.seen) != number:
                number, since = len(self.seen), time.monotonic()
            time.sleep(0.1)

    def _read(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error():
                continue
            now = time.perf_counter()
            self.seen.setdefault(as_record(message).header("id"), now)


def latencies(
    stand: Stand,
    *,
    rate: int,
    isolation: Isolation,
    items: int,
    seconds: float,
    meanwhile: Callable[[int], AbstractContextManager[object]] = nullcontext,
) -> NDArray[np.float64]:
    """Return the seconds that each answered click took at `rate` clicks a second; default settings.

    `meanwhile` is what goes on beside it, given the worker's HTTP port.
    """
    settings = stand.settings(items)
    topics = settings["topics"]
    sent: dict[str, float] = {}
    with stand.worker(settings) as worker:
        worker.wait_until_ready()
        reader = Reader(stand.bootstrap, topics["recommendations"], isolation)
        try:
            with meanwhile(settings["http"]["port"]):
                stand.sender.paced(
                    topics["clicks"], items, rate=rate, seconds=WARM_SECONDS + seconds, sent=sent.__setitem__
                )
            reader.wait_for(sent)
        finally:
            reader.stop()
    counted_from = min(sent.values()) + WARM_SECONDS
    taken = [
        reader.seen[at] - begin for at, begin in sent.items() if begin >= counted_from and at in reader.seen
    ]
    # `latest` leaves out a click whose user clicked again in the same batch: a few, not most.
    if len(taken) < rate * seconds / 2:
        raise RuntimeError(f"only {len(taken)} of {rate * seconds:.0f} clicks were answered")
    return np.array(taken)
