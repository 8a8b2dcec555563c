"""All that a worker needs on a Kafka: topics, a release, settings; and what goes in and comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from tests.broker.client import Client, Isolation, Record
from tests.builders import ITEMS, successor_release_parts
from worker.core.manifest import Manifest
from worker.kafka.connection import KafkaConnection
from worker.topics import releases

HURRIED: Final[Mapping[str, Any]] = {
    "session_timeout_ms": 3_000,
    "heartbeat_interval_ms": 500,
    "transaction_timeout_ms": 4_000,
}
"""Kafka settings under which a dead worker is replaced within seconds."""

SLOW_COMMIT: Final = 1.9
"""A commit interval, in seconds, that leaves time to do something between sends and commit."""


class Deployment:
    """The topics of one group of workers. `create_topic(name, partitions)` makes one, under a full name.

    `optional`: the names of further topics, such as `items`.
    """

    def __init__(
        self,
        bootstrap: str,
        group: str,
        create_topic: Callable[[str, int], str],
        *,
        partitions: int,
        optional: Iterable[str] = (),
    ) -> None:
        self.bootstrap = bootstrap
        self.group = group
        self.client = Client(bootstrap)
        self.partitions = partitions
        self.clicks = create_topic("clicks", partitions)
        self.recommendations = create_topic("recommendations", partitions)
        self.dead_letters = create_topic("dead-letters", 1)
        self.releases = create_topic("releases", 1)
        self.state = create_topic("state", partitions)
        self.quality = create_topic("quality", 1)
        self.optional = {name: create_topic(name, partitions) for name in optional}

    def publish(self, manifest: Manifest, blob: bytes) -> int:
        """Publish a release as the champion; its number."""
        return releases.publish(KafkaConnection(self.bootstrap), self.releases, manifest, blob)

    def publish_successor(self, items: Sequence[str] = ITEMS) -> int:
        """Publish the release that recommends, first of all, the item that follows the one clicked."""
        return self.publish(*successor_release_parts(items))

    def settings(self, worker_id: str = "a", **sections: Mapping[str, Any] | float) -> dict[str, Any]:
        """The settings of one worker: every click is answered, however old; `sections` come on top."""
        settings: dict[str, Any] = {
            "group": self.group,
            "worker_id": worker_id,
            "kafka": {"bootstrap_servers": self.bootstrap},
            "topics": {
                "clicks": self.clicks,
                "recommendations": self.recommendations,
                "dead_letters": self.dead_letters,
                "releases": self.releases,
                "state": self.state,
                "quality": self.quality,
                **self.optional,
            },
            "recommend": {"publish": "every", "publish_max_age": 0},
        }
        for name, value in sections.items():
            settings[name] = settings.get(name, {}) | value if isinstance(value, Mapping) else value
        return settings

    def send(self, records: Iterable[Record]) -> list[Record]:
        """Send records to the clicks topic."""
        return self.client.send(self.clicks, records)

    def send_clicks(self, count: int, *, first: int = 0, users: int = 10) -> list[Record]:
        """Send clicks number `first`, `first + 1`, ...: users and items in turn, over all partitions."""
        return self.send(self.click(number, users=users) for number in range(first, first + count))

    def click(self, number: int, *, users: int = 10) -> Record:
        """Click `number` of `send_clicks`."""
        user = number % users
        document = {"user_id": f"user-{user}", "item_id": ITEMS[number % len(ITEMS)]}
        return Record(orjson.dumps(document), partition=user % self.partitions)

    def answers(self, *, isolation: Isolation = "read_committed", at_least: int = 0) -> list[Record]:
        """What is in the recommendations topic."""
        return self.client.read(
            self.recommendations, isolation=isolation, at_least=at_least, timeout_seconds=60
        )

    def letters(self, *, at_least: int = 0) -> list[Record]:
        """The committed dead letters."""
        return self.client.read(self.dead_letters, at_least=at_least)

    def click_id(self, click: Record) -> str:
        """What the header `id` of the answer to a click must be."""
        return f"{self.clicks}/{click.partition}/{click.offset}"

    def assert_answered_once(self, clicks: Sequence[Record]) -> None:
        """A committed reader sees exactly one answer to each of `clicks`, in order in each partition."""
        answers = self.answers(at_least=len(clicks))
        times = Counter(answer.header("id") for answer in answers)
        expected = {self.click_id(click) for click in clicks}

        assert set(times) == expected
        assert set(times.values()) == {1}
        for partition in range(self.partitions):
            offsets = [answer.json["event"]["offset"] for answer in answers if answer.partition == partition]
            assert offsets == sorted(offsets)
