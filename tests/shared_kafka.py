"""One Kafka for all processes of a test run. The first that needs it starts it; it goes with the last."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deploy.java import locked
from deploy.kafka.local import LocalKafka
from deploy.kafka.ports import answers

SHORT_LIVED: Final = ("-XX:TieredStopAtLevel=1",)
"""Java options of a node that lives for minutes: its second compiler would take more time than it saves."""

PROPERTIES: Final = {"log.cleaner.backoff.ms": "500"}
"""Settings of the shared node: a test that waits for compaction need not wait for 15 s more."""


@contextlib.contextmanager
def shared_kafka(folder: Path) -> Iterator[str]:
    """Give the `host:port` of the run's Kafka. All processes of the run name the same `folder`.

    Whoever started the node leaves last. The kernel counts the users: each holds a shared lock on a file,
    which a process that is killed gives back too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / "address"
    with (folder / "users").open("w") as users, contextlib.ExitStack() as life:
        fcntl.flock(users, fcntl.LOCK_SH)
        with locked(folder / "starting"):
            if not _answers(address):
                node = life.enter_context(LocalKafka(java_options=SHORT_LIVED, properties=PROPERTIES))
                life.callback(address.unlink)
                life.callback(fcntl.flock, users, fcntl.LOCK_EX)  # waits until the others are gone
                address.write_text(node.bootstrap)
        yield address.read_text()


def _answers(address: Path) -> bool:
    """Return whether a node was started whose process did not die meanwhile."""
    return address.exists() and answers(int(address.read_text().rpartition(":")[2]))
