"""A real Apache Kafka on this machine without Docker.

    python -m deploy.kafka --port 9092      run one until Ctrl-C
    python -m deploy.kafka --fetch          only bring the jars

Needs Java 17 or newer, and Maven once to bring the jars. Standard library only: any Python 3.11 runs it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from deploy.java import Unavailable
from deploy.kafka.install import fetch
from deploy.kafka.local import LocalKafka


def main() -> int:
    """Run one node in the foreground until Ctrl-C or SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.kafka", description="A real single-node Apache Kafka without Docker."
    )
    parser.add_argument("--port", type=int, default=9092, help="where clients connect (default: 9092)")
    parser.add_argument(
        "--data", type=Path, help="keep the data in this folder (default: delete it at the end)"
    )
    parser.add_argument("--fetch", action="store_true", help="only fetch the jars, then exit")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs are born with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        if arguments.fetch:
            fetch()
            return 0
        with LocalKafka(port=arguments.port, folder=arguments.data and arguments.data.resolve()) as kafka:
            print(
                f"Kafka answers on {kafka.bootstrap} (Ctrl-C stops it; log: {kafka.folder / 'kafka.log'})",
                flush=True,
            )
            return kafka.wait()
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
