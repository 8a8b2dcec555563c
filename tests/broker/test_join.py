"""Joining the consumer group, with the client alone."""

from __future__ import annotations

import time

from tests.conftest import TopicFactory
from worker.topics.clicks import ClickConsumer
from worker.topics.client import Connection


def test_a_consumer_that_polls_briefly_is_assigned_its_partitions(
    kafka: str, topics: TopicFactory, unique: str
) -> None:
    """Even where it joins before it knows the topic, joins again for that, and no poll waits so long.

    Often, not always, a new topic is joined so: hence several.
    """
    for number in range(10):
        clicks = ClickConsumer(
            Connection(kafka),
            topic=topics(f"clicks-{number}", partitions=4),
            group=f"group-{number}-{unique}",
            session_timeout_ms=10_000,
            heartbeat_interval_ms=1_000,
            static_member=None,
        )
        clicks.join(lambda _: None)

        try:
            deadline = time.monotonic() + 10
            while clicks.assigned() != {0, 1, 2, 3}:
                clicks.poll(20)

                assert time.monotonic() < deadline
        finally:
            clicks.close(seconds=1)
