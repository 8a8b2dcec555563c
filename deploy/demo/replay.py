"""Replay of recorded clicks as live ones: many users at the same time, at a steady speed; and the lists."""

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
    """Yield `clicks` (ordered by time) as if `people` users were always there, each clicking in turn.

    The recording has one user's clicks in one burst and then another's. Here every user's clicks keep
    their order, users come in the order of their first click, and a user without further clicks makes
    room for the next. It ends when fewer than half of `people` are left: the last would click ever faster.

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
    """The number of clicks that are due: `per_second` since the start, without the time that it was held."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._at = clock()
        self._due = 0.0

    def due(self, *, held: bool = False) -> int:
        """Return the number of clicks that should have been sent by now."""
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
        # A broker that went away takes nothing more; an earlier error has said so.
        with contextlib.suppress(KafkaError):
            self._producer.close(timeout=1)

    def send(self, click: Click, record_timestamp_ms: int | None = None) -> None:
        """Send one; `record_timestamp_ms` is by default now. Raises DemoError when Kafka takes no more."""
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
        """Return when all that was sent is in the topic. Raises DemoError when it is not."""
        try:
            self._producer.flush(timeout=_ACKNOWLEDGED_SECONDS)
        except KafkaError as error:
            self._error = error
        self._check()

    def _failed(self, error: BaseException) -> None:
        # On the client's thread: the next call of ours raises it.
        self._error = error

    def _check(self) -> None:
        if self._error is not None:
            raise DemoError(f"Kafka does not take the clicks: {self._error}")


class AnswerReader:
    """Reads lists in a thread of its own, committed or not, as they come. Use as a context manager."""

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
        # Should it end early, no list comes any more: that is noticed.
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
