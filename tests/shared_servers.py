"""One server for all processes of a test run. The first that needs it starts it; it goes with the last."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from deploy.java import locked
from deploy.kafka.local import LocalKafka
from deploy.kafka.ports import answers
from deploy.kafka.security import Access, LockedKafka
from deploy.registry.local import LocalRegistry, registry_answers

SHORT_LIVED: Final = ("-XX:TieredStopAtLevel=1",)
"""Java options of a node that lives for minutes: its second compiler would take more time than it saves."""

PROPERTIES: Final = {"log.cleaner.backoff.ms": "500"}
"""Settings of the shared node: a test that waits for compaction need not wait for 15 s more."""


def shared_kafka(folder: Path) -> AbstractContextManager[str]:
    """Give the `host:port` of the run's Kafka. All processes of the run name the same `folder`."""

    @contextlib.contextmanager
    def started() -> Iterator[str]:
        with LocalKafka(java_options=SHORT_LIVED, properties=PROPERTIES) as node:
            yield node.bootstrap

    return _shared(folder, started, lambda address: answers(int(address.rpartition(":")[2])))


@contextlib.contextmanager
def shared_locked_kafka(folder: Path) -> Iterator[Access]:
    """Give the access to the run's locked-down Kafka."""

    @contextlib.contextmanager
    def started() -> Iterator[str]:
        with LockedKafka(java_options=SHORT_LIVED, properties=PROPERTIES) as node:
            yield json.dumps(asdict(node.access))

    def is_up(found: str) -> bool:
        return answers(int(json.loads(found)["bootstrap"].rpartition(":")[2]))

    with _shared(folder, started, is_up) as found:
        yield Access(**json.loads(found))


def shared_registry(folder: Path) -> AbstractContextManager[str]:
    """Give the URL of the run's schema registry. All processes of the run name the same `folder`."""

    @contextlib.contextmanager
    def started() -> Iterator[str]:
        with LocalRegistry() as registry:
            yield registry.url

    return _shared(folder, started, registry_answers)


@contextlib.contextmanager
def _shared(
    folder: Path, started: Callable[[], AbstractContextManager[str]], is_up: Callable[[str], bool]
) -> Iterator[str]:
    """Give the address of the server that the first process with this `folder` starts.

    Whoever started the server leaves last. The kernel counts the users: each holds a shared lock on a file,
    which a process that is killed gives back too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / "address"
    with (folder / "users").open("w") as users, contextlib.ExitStack() as life:
        fcntl.flock(users, fcntl.LOCK_SH)
        with locked(folder / "starting"):
            # One that was started may have died with its process.
            if not (address.exists() and is_up(address.read_text())):
                found = life.enter_context(started())
                life.callback(address.unlink)
                life.callback(fcntl.flock, users, fcntl.LOCK_EX)  # waits until the others are gone
                address.write_text(found)
        yield address.read_text()
