"""A real schema registry on this machine without Docker.

    python -m deploy.registry --port 8081     run a registry until Ctrl-C, with its schemas in memory
    python -m deploy.registry --fetch         only download the jars

Needs Java 17 or newer, and Maven to download the jars once. Uses only the standard library of Python 3.11.
"""

from __future__ import annotations

import argparse
import sys

from deploy.registry.install import fetch
from deploy.registry.local import LocalRegistry
from deploy.server import in_foreground


def main() -> int:
    """Run a registry in the foreground until Ctrl-C or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.registry", description="A real schema registry without Docker."
    )
    parser.add_argument("--port", type=int, default=8081, help="port for clients (default: 8081)")
    parser.add_argument("--fetch", action="store_true", help="only download the jars, then exit")
    arguments = parser.parse_args()

    def act() -> int:
        if arguments.fetch:
            fetch()
            return 0
        with LocalRegistry(port=arguments.port) as registry:
            print(f"The registry is ready at {registry.url} (Ctrl-C stops it)", flush=True)
            return registry.wait()

    return in_foreground(act)


if __name__ == "__main__":
    sys.exit(main())
