"""A process that makes a release, and publishes it when it is asked to: the load is not held up.

It writes a line when the release is made, waits for a line, and writes another when it is published.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.stand import HIDDEN_SIZE
from tests.broker.process import ROOT
from tests.builders import item_names, tiny_release_parts
from worker.kafka.connection import KafkaConnection
from worker.topics import releases


class Publisher:
    """The process, for the one who started it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def publish(self) -> None:
        """Publish, and return when that is done."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.wait()

    def wait(self) -> None:
        """Return when the process has come as far as it can."""
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("the publisher has ended")


@contextmanager
def publisher(bootstrap: str, topic: str, items: int, seed: int) -> Iterator[Publisher]:
    """Start the process; it has a release of other weights at hand."""
    command = [sys.executable, "-m", "tests.benchmarks.publisher", bootstrap, topic, str(items), str(seed)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        made = Publisher(process)
        made.wait()
        yield made


def main(bootstrap: str, topic: str, items: str, seed: str) -> None:
    """Make a release, wait for a line, publish."""
    parts = tiny_release_parts(item_names(int(items)), hidden_size=HIDDEN_SIZE, seed=int(seed))
    sys.stdout.write("made\n")
    sys.stdout.flush()
    sys.stdin.readline()
    releases.publish(KafkaConnection(bootstrap), topic, *parts)
    sys.stdout.write("published\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
