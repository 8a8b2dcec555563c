"""One table of what it costs to keep user states and to get them back, on a real Kafka. `make bench-state`.

The figures also go to `build/bench-state.json`, beside those that are there already. Everything takes 30
minutes; `ARGS=--quick` is a smoke run that writes no file, `ARGS="--only memory"` a part.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from deploy.kafka.local import KafkaUnavailable, LocalKafka
from tests.benchmarks import machine, memory, precision, rolling, saving, state_report, takeover, throughput
from tests.benchmarks.figures import keep
from tests.benchmarks.saving import ITEMS, Figures, Sizes
from tests.benchmarks.stand import Stand
from tests.benchmarks.throughput import Load

KAFKA: Final = {
    # Kafka's own, which the local one shortens for tests: a takeover must not be faster than in life.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "10000",
    # Half an hour of recommendations is not worth its disk.
    "log.retention.bytes": str(256 << 20),
    "log.segment.bytes": str(64 << 20),
    "log.retention.check.interval.ms": "30000",
}
FULL: Final = Sizes(
    users=1_000_000,
    steady_seconds=600,
    restores=3,
    rounds=2,
    skipped_seconds=35,
    counted_seconds=30,
    backlog=6_000_000,
    few_users=250_000,
    training_clicks=600_000,
)
QUICK: Final = Sizes(
    users=1_000_000,
    steady_seconds=30,
    restores=1,
    rounds=1,
    skipped_seconds=4,
    counted_seconds=8,
    backlog=700_000,
    few_users=50_000,
    training_clicks=120_000,
)
WARM_UP: Final = Load(clicks=30_000, skipped=5_000, seconds=10)

MEASURES: Final[dict[str, Callable[[Stand, Sizes], Figures]]] = {
    "memory": memory.memory,
    "steady": saving.steady,
    "cost": saving.cost,
    "latency": saving.latency,
    "takeover": takeover.takeover,
    "others": takeover.others,
    "rolling": rolling.rolling,
    "precision": precision.precision,
}


@click.command()
@click.option("--quick", is_flag=True, help="A smoke run. Its figures mean little and go to no file.")
@click.option(
    "--only", default=",".join(MEASURES), show_default=True, help="What to measure, separated by commas."
)
def main(*, quick: bool, only: str) -> None:
    """Measure, print the table, write build/bench-state.json."""
    names = only.split(",")
    if unknown := set(names) - set(MEASURES):
        raise click.BadParameter(f"there is no {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    # End as on Ctrl-C, so that every process started here is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    about = list(machine.lines())
    figures = Figures()
    try:
        with tempfile.TemporaryDirectory() as folder, LocalKafka(properties=KAFKA) as kafka:
            stand = Stand(kafka.bootstrap, Path(folder))
            throughput.warm_up(stand, ITEMS, WARM_UP)
            for name in names:
                began = time.monotonic()
                found = MEASURES[name](stand, QUICK if quick else FULL)
                figures |= found
                if not quick:
                    keep("bench-state.json", found)
                click.echo(f"measured {name} in {time.monotonic() - began:.0f} s", err=True)
    except KafkaUnavailable as error:
        sys.exit(str(error))
    click.echo("\n".join([*about, "", *state_report.table(figures)]))


if __name__ == "__main__":
    main()
