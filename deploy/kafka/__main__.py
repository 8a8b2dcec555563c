"""A real Apache Kafka on this machine without Docker.

    python -m deploy.kafka --port 9092      run a node until Ctrl-C
    python -m deploy.kafka --fetch          only download the jars

Needs Java 17 or newer, and Maven to download the jars once. Uses only the standard library of Python 3.11.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.kafka.install import fetch
from deploy.kafka.local import LocalKafka
from deploy.server import in_foreground


def main() -> int:
    """Run a node in the foreground until Ctrl-C or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.kafka", description="A real single-node Apache Kafka without Docker."
    )
    parser.add_argument("--port", type=int, default=9092, help="port for clients (default: 9092)")
    parser.add_argument(
        "--data", type=Path, help="folder to keep the data in (default: the data is deleted at the end)"
    )
    parser.add_argument("--fetch", action="store_true", help="only download the jars, then exit")
    arguments = parser.parse_args()

    def act() -> int:
        if arguments.fetch:
            fetch()
            return 0
        with LocalKafka(port=arguments.port, folder=arguments.data and arguments.data.resolve()) as kafka:
            print(f"Kafka is ready at {kafka.bootstrap} (Ctrl-C stops it; log: {kafka.log_path})", flush=True)
            return kafka.wait()

    return in_foreground(act)


if __name__ == "__main__":
    sys.exit(main())
