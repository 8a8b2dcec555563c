"""The load: clicks of Zipf users on Zipf items, all at once or evenly paced."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final, Protocol, Self

import numpy as np
from confluent_kafka import KafkaError, Message, Producer
from numpy.typing import NDArray

USERS: Final = 100_000

_DRAWS: Final = 1 << 21
"""After this many clicks a flow begins again with the same users and items."""

_TICK_SECONDS: Final = 0.001


class Draw(Protocol):
    """Draws clicks, as `clicks` does."""

    def __call__(
        self, items: int, number: int, *, users: int = ..., seed: int = ...
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return key and value of `number` clicks of `users` on a catalogue of `items`."""


def zipf(random: np.random.Generator, size: int, draws: int) -> NDArray[np.int64]:
    """Return `draws` numbers below `size`: number n comes 1 / (n + 1) times as often as number 0."""
    cumulative = np.cumsum(1 / np.arange(1, size + 1))
    numbers: NDArray[np.int64] = np.searchsorted(
        cumulative, random.random(draws) * cumulative[-1], side="right"
    )
    return numbers


def clicks(items: int, number: int, *, users: int = USERS, seed: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Return key and value of `number` clicks of Zipf users on the Zipf items of a catalogue of `items`."""
    random = np.random.default_rng(seed)
    clicking, clicked = zipf(random, users, number), zipf(random, items, number)
    return (click(user, item) for user, item in zip(clicking.tolist(), clicked.tolist(), strict=True))


def click(user: int, item: int, at_ms: int | None = None) -> tuple[bytes, bytes]:
    """Return key and value of one click, now unless `at_ms` says when."""
    at_ms = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    value = b'{"user_id":"user-%d","item_id":"item-%d","timestamp":%d}' % (user, item, at_ms)
    return b"user-%d" % user, value


class Sender:
    """Sends clicks as someone else's pipeline would: librdkafka, partitions by its own hash of the key."""

    def __init__(self, bootstrap: str) -> None:
        self._settings = {"bootstrap.servers": bootstrap, "linger.ms": 0, "socket.nagle.disable": True}

    def all_at_once(self, topic: str, records: Iterator[tuple[bytes, bytes]]) -> None:
        """Send all `records` as fast as they go, and wait until they are acknowledged."""
        producer = Producer(self._settings)
        for key, value in records:
            _produce(producer, topic, key, value, None)
        _finish(producer)

    def paced(
        self, topic: str, items: int, *, rate: int, seconds: float, sent: Callable[[str, float], None]
    ) -> None:
        """Send `rate` clicks in each of `seconds`, at even distances.

        `sent` hears of each, once it is acknowledged: its `topic/partition/offset`, and when
        (`perf_counter`) it was handed over.
        """
        producer, number = Producer(self._settings), round(rate * seconds)
        random = np.random.default_rng(1)
        users, clicked = zipf(random, USERS, number).tolist(), zipf(random, items, number).tolist()
        start = time.perf_counter()
        for nth, user, item in zip(count(), users, clicked, strict=False):
            time.sleep(max(0.0, start + nth / rate - time.perf_counter()))
            key, value = click(user, item)
            at = time.perf_counter()

            def acknowledged(error: KafkaError | None, message: Message, at: float = at) -> None:
                if error is None:
                    sent(f"{topic}/{message.partition()}/{message.offset()}", at)

            _produce(producer, topic, key, value, acknowledged)
            producer.poll(0)
        _finish(producer)


class Flow:
    """`rate` clicks a second, at even distances, until the context is left; then all are acknowledged.

    Of `users` Zipf users, all in one `partition` where one is named. With `watch` it notes of each its
    `topic/partition/offset` and when (`perf_counter`) it was handed over.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        *,
        users: int,
        items: int,
        rate: int,
        partition: int | None = None,
        watch: bool = False,
    ) -> None:
        random = np.random.default_rng(2)
        self.users, self._items = zipf(random, users, _DRAWS), zipf(random, items, _DRAWS).tolist()
        self.rate = rate
        self.sent = 0
        self.watched: dict[str, float] = {}
        self._topic, self._partition, self._watch = topic, partition, watch
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0 if watch else 5})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bench-flow", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        _finish(self._producer)

    def _run(self) -> None:
        users, items = self.users.tolist(), self._items
        start = time.perf_counter()
        while not self._stop.is_set():
            due = int((time.perf_counter() - start) * self.rate)
            for number in range(self.sent, due):
                self._send(*click(users[number % _DRAWS], items[number % _DRAWS]))
            self.sent = due
            self._producer.poll(0)
            time.sleep(max(_TICK_SECONDS, start + (due + 1) / self.rate - time.perf_counter()))

    def _send(self, key: bytes, value: bytes) -> None:
        at = time.perf_counter()

        def acknowledged(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self.watched[f"{self._topic}/{message.partition()}/{message.offset()}"] = at

        _produce(
            self._producer,
            self._topic,
            key,
            value,
            acknowledged if self._watch else None,
            partition=self._partition,
        )


def _produce(
    producer: Producer,
    topic: str,
    key: bytes,
    value: bytes,
    acknowledged: Callable[[KafkaError | None, Message], None] | None,
    *,
    partition: int | None = None,
) -> None:
    chosen: dict[str, Any] = {} if partition is None else {"partition": partition}
    while True:
        try:
            producer.produce(topic, value=value, key=key, on_delivery=acknowledged, **chosen)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def _finish(producer: Producer) -> None:
    left = producer.flush(60)
    if left:
        raise RuntimeError(f"{left} clicks were not acknowledged within 60 s")
