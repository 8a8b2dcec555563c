"""Waiting until Kafka has compacted what was written to a topic."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Final

from kafka import KafkaAdminClient

_LOOK_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 600.0


def wait_until_compacted(bootstrap: str, topic: str, *, quiet_seconds: float) -> None:
    """Return once the topic, to which nobody writes, has not changed in size for `quiet_seconds`."""
    size, since = -1, time.monotonic()
    deadline = since + _PATIENCE_SECONDS
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as kafka:
        while time.monotonic() - since < quiet_seconds:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{topic} is not compacted after {_PATIENCE_SECONDS:g} s")
            time.sleep(_LOOK_SECONDS)
            found = topic_bytes(kafka, topic)
            if found != size:
                size, since = found, time.monotonic()


def topic_bytes(kafka: KafkaAdminClient, topic: str) -> int:
    """Return the size of a topic on the disks of all brokers."""
    return sum(
        partition["partition_size"]
        for broker in kafka.describe_log_dirs([topic])
        for folder in broker["log_dirs"]
        for found in folder["topics"]
        for partition in found["partitions"]
    )
