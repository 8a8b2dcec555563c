"""The feeder of deploy/compose.yaml: replays the demo's clicks to a topic in an endless loop.

    python -m deploy.demo.feed --kafka kafka:9092 --topic clicks --per-second 50

Each repetition has new user ids. Exit code 1: failure, with the reason on standard error.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from deploy.demo import data
from deploy.demo.data import Click
from deploy.demo.errors import DemoError, Interrupted
from deploy.demo.life import Life
from deploy.demo.replay import ClickSender, Pace, side_by_side

PEOPLE = 60
"""Number of users who click at the same time."""


def main() -> int:
    """Send clicks until stopped; return the exit code."""
    given = arguments().parse_args()
    try:
        with Life() as life:
            recorded = data.load(life, given.cache or life.folder / "cache").clicks
            with ClickSender({"bootstrap_servers": given.kafka}, given.topic) as sender:
                feed(life, sender, endless(recorded), per_second=given.per_second)
    except DemoError as error:
        print(f"The feeder failed: {error}", file=sys.stderr)
        return 1
    except Interrupted:
        pass
    return 0


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.demo.feed", description="Replays the demo's clicks to a topic until stopped."
    )
    parser.add_argument("--kafka", default="localhost:9092", help="brokers (default: %(default)s)")
    parser.add_argument("--topic", default="clicks", help="topic of clicks (default: %(default)s)")
    parser.add_argument("--per-second", type=float, default=50.0, help="clicks per second (default: 50)")
    parser.add_argument("--cache", type=Path, help="folder that caches the data (default: no cache)")
    return parser


def endless(recorded: Sequence[Click]) -> Iterator[Click]:
    """Yield the clicks of many users side by side, repeated endlessly with new user ids each time.

    >>> twice = endless([Click("a", "1", 0), Click("b", "2", 1)])
    >>> [next(twice).user_id for _ in range(4)]
    ['1/a', '1/b', '2/a', '2/b']
    """
    for number in itertools.count(1):
        people = min(PEOPLE, len({click.user_id for click in recorded}))
        for click in side_by_side(recorded, people):
            yield click._replace(user_id=f"{number}/{click.user_id}")


def feed(life: Life, sender: ClickSender, clicks: Iterator[Click], *, per_second: float) -> None:
    """Send `clicks` at a steady speed, with the current time. Raises DemoError, Interrupted."""
    pace = Pace(per_second)
    for number, click in enumerate(clicks):
        while number >= pace.due():
            life.pause(0.01)
        sender.send(click._replace(timestamp_ms=round(time.time() * 1000)))
    sender.flush()


if __name__ == "__main__":
    sys.exit(main())
