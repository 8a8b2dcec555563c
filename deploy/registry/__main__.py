"""A real schema registry on this machine without Docker.

    python -m deploy.registry --port 8081     run one until Ctrl-C, its schemas in memory
    python -m deploy.registry --fetch         only bring the jars

Needs Java 17 or newer, and Maven once to bring the jars. Standard library only: any Python 3.11 runs it.
"""

from __future__ import annotations

import argparse
import signal
import sys

from deploy.java import Unavailable
from deploy.registry.install import fetch
from deploy.registry.local import LocalRegistry


def main() -> int:
    """Run one registry in the foreground until Ctrl-C or SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.registry", description="A real schema registry without Docker."
    )
    parser.add_argument("--port", type=int, default=8081, help="where clients connect (default: 8081)")
    parser.add_argument("--fetch", action="store_true", help="only fetch the jars, then exit")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs are born with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        if arguments.fetch:
            fetch()
            return 0
        with LocalRegistry(port=arguments.port) as registry:
            print(f"The registry answers on {registry.url} (Ctrl-C stops it)", flush=True)
            return registry.wait()
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
