"""One table of speed, latency and memory, on a real Kafka. `make bench`, or `make bench ARGS=--quick`.

What is compared is measured in turns and compared as a ratio within its round: on a machine that is
never quite quiet a ratio holds where a time does not. The figures also go to `build/bench.json`,
beside those that are there already, unless `--quick`.
"""

from __future__ import annotations

import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

import click
import numpy as np

from deploy.kafka.local import KafkaUnavailable, LocalKafka
from tests.benchmarks import footprint, latency, machine, ranking, report, throughput
from tests.benchmarks.clicks import USERS
from tests.benchmarks.figures import keep
from tests.benchmarks.stand import HIDDEN_SIZE, Stand
from tests.benchmarks.throughput import Load, Speed
from tests.broker.client import Isolation

Figures = dict[str, float]

CATALOGUES: Final = {"4k": 4_000, "20k": 20_000, "100k": 100_000}
RATES: Final = (200, 1_000)
ISOLATIONS: Final[dict[str, Isolation]] = {
    "uncommitted": "read_uncommitted",
    "committed": "read_committed",
}


@dataclass(frozen=True)
class Plan:
    """How much of everything is done."""

    rounds: int
    loads: Mapping[str, Load]
    latency_seconds: float
    starts: int
    users: int
    rank_rounds: int


FULL: Final = Plan(
    rounds=3,
    loads={
        "4k": Load(clicks=200_000, skipped=20_000, seconds=8),
        "20k": Load(clicks=120_000, skipped=10_000, seconds=6),
        "100k": Load(clicks=60_000, skipped=2_000, seconds=6),
    },
    latency_seconds=10,
    starts=3,
    users=USERS,
    rank_rounds=7,
)
QUICK: Final = Plan(
    rounds=1,
    loads={
        "4k": Load(clicks=30_000, skipped=5_000, seconds=2),
        "20k": Load(clicks=20_000, skipped=2_000, seconds=2),
        "100k": Load(clicks=10_000, skipped=500, seconds=2),
    },
    latency_seconds=2,
    starts=1,
    users=5_000,
    rank_rounds=1,
)


def throughputs(stand: Stand, plan: Plan) -> Figures:
    """Clicks per second, as such and over the passthrough of the same round; cost of each stage."""
    found: dict[str, list[float]] = defaultdict(list)

    def note(name: str, speed: Speed, base: Speed) -> None:
        found[f"{name}_events_per_second"].append(speed.events_per_second)
        found[f"{name}_over_passthrough"].append(speed.events_per_second / base.events_per_second)
        for cost, microseconds in speed.costs.items():
            found[f"{name}_{cost}_microseconds"].append(microseconds)

    for _ in range(plan.rounds):
        base = throughput.of_passthrough(stand, CATALOGUES["4k"], plan.loads["4k"])
        note("passthrough", base, base)
        for (size, items), publish in product(CATALOGUES.items(), ("every", "latest")):
            note(f"{publish}_{size}", throughput.of_worker(stand, items, publish, plan.loads[size]), base)
    return {name: statistics.median(values) for name, values in found.items()}


def latencies(stand: Stand, plan: Plan) -> Figures:
    """Click to recommendation, for readers of either isolation level."""
    found: dict[str, list[float]] = defaultdict(list)
    for _, rate, (name, isolation) in product(range(plan.rounds), RATES, ISOLATIONS.items()):
        taken = latency.latencies(
            stand, rate=rate, isolation=isolation, items=CATALOGUES["4k"], seconds=plan.latency_seconds
        )
        for percent in (50, 99):
            found[f"latency_{rate}_{name}_p{percent}_seconds"].append(float(np.percentile(taken, percent)))
    return {name: statistics.median(values) for name, values in found.items()}


def start(stand: Stand, plan: Plan) -> Figures:
    """How soon a worker is ready."""
    seconds = [footprint.ready_seconds(stand, CATALOGUES["4k"]) for _ in range(plan.starts)]
    return {"ready_seconds": statistics.median(seconds)}


def memory(stand: Stand, plan: Plan) -> Figures:
    """Resident memory without and with users."""
    resident = footprint.resident(stand, CATALOGUES["4k"], plan.users)
    return {"resident_empty_bytes": resident.empty, "resident_100k_users_bytes": resident.full}


def rank(_: Stand, plan: Plan) -> Figures:
    """Exact ranking over the bare matrix product, and a whole batch with a blend over one without."""
    ratio = ranking.rank_over_product(CATALOGUES["100k"], HIDDEN_SIZE, rounds=plan.rank_rounds)
    return {"rank_100k_over_product": ratio} | {
        f"blend_{clicks}_over_none": ranking.blend_over_none(
            CATALOGUES["20k"], HIDDEN_SIZE, clicks=clicks, rounds=4 * plan.rank_rounds
        )
        for clicks in ranking.BATCHES
    }


MEASURES: Final[dict[str, Callable[[Stand, Plan], Figures]]] = {
    "ranking": rank,
    "throughput": throughputs,
    "latency": latencies,
    "start": start,
    "memory": memory,
}


@click.command()
@click.option(
    "--quick", is_flag=True, help="A smoke run: everything once and briefly. Its figures mean little."
)
@click.option(
    "--only", default=",".join(MEASURES), show_default=True, help="What to measure, separated by commas."
)
def main(*, quick: bool, only: str) -> None:
    """Measure, print the table, write build/bench.json unless it is a smoke run."""
    names = only.split(",")
    if unknown := set(names) - set(MEASURES):
        raise click.BadParameter(f"there is no {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    # End as on Ctrl-C, so that every process started here is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    about = list(machine.lines())
    plan, figures = QUICK if quick else FULL, Figures()
    try:
        with tempfile.TemporaryDirectory() as folder, LocalKafka() as kafka:
            stand = Stand(kafka.bootstrap, Path(folder))
            throughput.warm_up(stand, CATALOGUES["4k"], plan.loads["4k"])
            for name in names:
                began = time.monotonic()
                found = MEASURES[name](stand, plan)
                figures |= found
                if not quick:
                    keep("bench.json", found)
                click.echo(f"measured {name} in {time.monotonic() - began:.0f} s", err=True)
    except KafkaUnavailable as error:
        sys.exit(str(error))
    click.echo("\n".join([*about, "", *report.table(figures)]))


if __name__ == "__main__":
    main()
