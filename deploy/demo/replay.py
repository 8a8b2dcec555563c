"""Replay of recorded clicks by many users at a steady speed, and reading of the lists."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, Final, Self

import orjson
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from deploy.demo.data import Click
from deploy.demo.errors import DemoError
from deploy.demo.scoreboard import Answer

_ACKNOWLEDGED_SECONDS: Final = 10.0


def side_by_side(clicks: Iterable[Click], people: int) -> Iterator[Click]:
    """Yield `clicks` (ordered by time) as if `people` users were active at any time and clicked in turn.

    In the recording, each user's clicks form a burst. Here the clicks of a user keep their order, users start
    in the order of their first clicks, and a user without further clicks is replaced by the next. The replay
    ends when fewer than half of `people` are left, because each of them would click ever more often.

        >>> burst = [Click("a", "1", 0), Click("a", "2", 1), Click("b", "3", 2), Click("c", "4", 3)]
        >>> [click.item_id for click in side_by_side(burst, 2)]
        ['1', '3', '2', '4']
    """
    by_user: dict[str, deque[Click]] = {}
    for click in clicks:
        by_user.setdefault(click.user_id, deque()).append(click)
    absent = deque(by_user.values())
    present = deque(absent.popleft() for _ in range(min(people, len(absent))))
    while len(present) * 2 >= people:
        theirs = present.popleft()
        yield theirs.popleft()
        if theirs:
            present.append(theirs)
        elif absent:
            present.append(absent.popleft())


class Pace:
    """A steady pace of `per_second` clicks per second, which can be paused."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._at = clock()
        self._due = 0.0

    def due(self, *, held: bool = False) -> int:
        """Return the number of clicks that are due by now; while `held`, no further clicks become due."""
        now = self._clock()
        if not held:
            self._due += (now - self._at) * self._per_second
        self._at = now
        return int(self._due)


class ClickSender:
    """Sends clicks as JSON, keyed by their user. Use as a context manager."""

    def __init__(self, settings: dict[str, Any], topic: str) -> None:
        self._topic = topic
        self._error: BaseException | None = None
        self._producer = KafkaProducer(
            **settings, max_block_ms=5_000, request_timeout_ms=5_000, delivery_timeout_ms=10_000, linger_ms=0
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # If the broker is unreachable, an earlier error has already reported it.
        with contextlib.suppress(KafkaError):
            self._producer.close(timeout=1)

    def send(self, click: Click, record_timestamp_ms: int | None = None) -> None:
        """Send a click; `record_timestamp_ms` defaults to now. Raises DemoError if Kafka refuses clicks."""
        value = {"user_id": click.user_id, "item_id": click.item_id, "timestamp": click.timestamp_ms}
        try:
            sending = self._producer.send(
                self._topic,
                key=click.user_id.encode(),
                value=orjson.dumps(value),
                timestamp_ms=record_timestamp_ms,
            )
        except KafkaError as error:
            self._error = error
        else:
            sending.add_errback(self._failed)
        self._check()

    def flush(self) -> None:
        """Wait until all sent clicks are in the topic. Raises DemoError if that fails."""
        try:
            self._producer.flush(timeout=_ACKNOWLEDGED_SECONDS)
        except KafkaError as error:
            self._error = error
        self._check()

    def _failed(self, error: BaseException) -> None:
        # Called on the client's thread; the next call of `send` or `flush` raises the error.
        self._error = error

    def _check(self) -> None:
        if self._error is not None:
            raise DemoError(f"Kafka does not accept the clicks: {self._error}")


class AnswerReader:
    """Reads lists, committed or not, in a separate thread. Use as a context manager."""

    def __init__(self, settings: dict[str, Any], topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, partitions: Iterable[int], take: Callable[[Answer], None]) -> None:
        """Pass every list in the topic to `take`, on the reader's thread."""
        consumer = KafkaConsumer(
            **self._settings,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_uncommitted",
        )
        consumer.assign([TopicPartition(self._topic, partition) for partition in partitions])
        self._thread = threading.Thread(target=self._run, args=(consumer, take), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self, consumer: Any, take: Callable[[Answer], None]) -> None:
        # If this thread ends early, no more lists arrive, and `LiveClicks` raises an error.
        with closing(consumer), contextlib.suppress(KafkaError):
            while not self._stop.is_set():
                for records in consumer.poll(timeout_ms=100).values():
                    for record in records:
                        take(answer(record.value))


def answer(value: bytes) -> Answer:
    """Parse a record of the recommendations topic."""
    document = orjson.loads(value)
    return Answer(
        user_id=document["user_id"],
        item_id=document["event"]["item_id"],
        items=tuple(document["items"]),
        release=document["release"],
    )
