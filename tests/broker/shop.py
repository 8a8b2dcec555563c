"""The shop of a chaos round: makes items unavailable and available again, and puts and removes rules."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson
from confluent_kafka import KafkaError, Message, Producer

from tests.broker.deployment import Deployment
from tests.broker.load import PATIENT
from tests.shown import Removal

RULES: Final = 20
"""The number of different rules. Each excludes the items of one shelf."""

_SHELF: Final = 10
"""The number of items with the same tag; each item has one."""

_ONE_RULE_IN: Final = 20
"""How many changes there are to one of a rule."""
_LATER_MS: Final = 1_500
"""How far ahead a `valid_until` may be."""


@dataclass
class _Change:
    """A record that was sent: of which items, and whether it makes them unavailable, from which time on."""

    item_ids: Sequence[str]
    removes: bool
    sent_ms: float
    since_ms: float
    acknowledged_ms: float = 0.0

    def acknowledged(self, error: KafkaError | None, _: Message) -> None:
        """Note the time."""
        if error is None:
            self.acknowledged_ms = now_ms()


class Shop:
    """Changes items and rules in a thread of its own, so many in a second, whatever happens to the broker.

    A context manager: leaving it closes the shop.
    """

    def __init__(
        self, deployment: Deployment, item_ids: Sequence[str], *, seed: int, per_second: float
    ) -> None:
        self._topics = deployment.optional
        self._item_ids = item_ids
        self._shelves = {item_id: f"shelf:{number // _SHELF}" for number, item_id in enumerate(item_ids)}
        self._random = random.Random(seed)
        self._per_second = per_second
        self._changes: dict[str, list[_Change]] = {}
        """By key: the changes of an item, or of a rule."""
        self._producer = Producer({"bootstrap.servers": deployment.bootstrap, "log_level": 0, **PATIENT})
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shop")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the changes, and wait until Kafka has all of them. AssertionError if it does not get them."""
        self._closed.set()
        self._thread.join()
        left = self._producer.flush(60)
        assert not left, f"{left} records of items and rules are not acknowledged"

    def describe(self) -> None:
        """Say of all items that they are available, and on which shelf they are."""
        for item_id in self._item_ids:
            self._send_item(item_id, {"available": True})
        assert not self._producer.flush(60), "Kafka does not take the descriptions of items"

    def removals(self) -> list[Removal]:
        """When items were unavailable."""
        found = []
        for changes in self._changes.values():
            ends = [change.sent_ms for change in changes[1:]] + [float("inf")]
            for change, until_ms in zip(changes, ends, strict=True):
                assert change.acknowledged_ms, f"the change of {change.item_ids} is not acknowledged"
                since_ms = max(change.since_ms, change.acknowledged_ms)
                if change.removes and since_ms < until_ms:
                    found += [Removal(item_id, since_ms, until_ms) for item_id in change.item_ids]
        return found

    def _run(self) -> None:
        due = time.monotonic()
        while not self._closed.is_set():
            if (ahead := due - time.monotonic()) > 0:
                self._producer.poll(min(ahead, 0.1))
                continue
            due += 1 / self._per_second
            if self._random.randrange(_ONE_RULE_IN):
                self._change_item()
            else:
                self._change_rule()

    def _change_item(self) -> None:
        item_id = self._random.choice(self._item_ids)
        if self._changes[item_id][-1].removes:
            self._send_item(item_id, {"available": True})
            return
        until_ms = round(now_ms() + self._random.uniform(0, _LATER_MS))
        removed: dict[str, Any] | None = self._random.choice(
            [None, {"available": False}, {"available": 0}, {"valid_until": until_ms}]
        )
        since_ms = until_ms if removed and "valid_until" in removed else 0.0
        self._send_item(item_id, removed, removes=True, since_ms=since_ms)

    def _send_item(
        self, item_id: str, document: dict[str, Any] | None, *, removes: bool = False, since_ms: float = 0.0
    ) -> None:
        if document is not None:
            document["tags"] = [self._shelves[item_id]]
        self._send("items", item_id, document, [item_id], removes=removes, since_ms=since_ms)

    def _change_rule(self) -> None:
        begin = self._random.randrange(RULES) * _SHELF
        item_ids = self._item_ids[begin : begin + _SHELF]
        shelf = self._shelves[item_ids[0]]
        changes = self._changes.get(shelf)
        removes = not (changes and changes[-1].removes)
        document = {"exclude": {"tags": [shelf]}} if removes else None
        self._send("rules", shelf, document, item_ids, removes=removes)

    def _send(
        self,
        topic: str,
        key: str,
        document: dict[str, Any] | None,
        item_ids: Sequence[str],
        *,
        removes: bool,
        since_ms: float = 0.0,
    ) -> None:
        change = _Change(item_ids, removes, now_ms(), since_ms)
        self._changes.setdefault(key, []).append(change)
        value = None if document is None else orjson.dumps(document)
        self._producer.produce(self._topics[topic], value, key, on_delivery=change.acknowledged)


def now_ms() -> float:
    """The time, by the clock of this machine, which the workers have, too."""
    return time.time() * 1000
