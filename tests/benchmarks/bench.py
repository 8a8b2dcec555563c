"""One table of speed, latency and memory, on a real Kafka. `make bench`, or `make bench ARGS=--quick`.

Two things that are compared take turns, and their ratio is taken within a round: on a machine that is
never quite quiet a ratio holds where a time does not. The figures also go to `build/bench.json`,
with those that are there already, unless `--quick`.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np

from tests.benchmarks import (
    decoding,
    footprint,
    large,
    latency,
    ranking,
    report,
    scale,
    scrapes,
    shop,
    throughput,
)
from tests.benchmarks.clicks import USERS
from tests.benchmarks.frame import Bench, Figures, command
from tests.benchmarks.stand import HIDDEN_SIZE, LARGE, Stand
from tests.benchmarks.throughput import Load, Speed
from tests.benchmarks.warm import warm_stand
from tests.broker.client import Isolation

CATALOGUES: Final = scale.SIZES
RATES: Final = (200, 1_000)
ISOLATIONS: Final[dict[str, Isolation]] = {
    "uncommitted": "read_uncommitted",
    "committed": "read_committed",
}


@dataclass(frozen=True)
class Plan:
    """How much of everything is done."""

    rounds: int
    load: Load
    latency_seconds: float
    starts: int
    users: int
    rank_rounds: int
    decoded: int
    """Records that are decoded in each form and round."""
    large_users: int
    """Users whose rows are rebuilt when a worker adopts a large release."""
    sizes: tuple[str, ...]
    """Catalogues that are ranked exactly and approximately."""
    worked: tuple[str, ...]
    """Catalogues with which a worker is measured by `scale`."""


FULL: Final = Plan(
    rounds=3,
    load=Load(skipped_seconds=1, seconds=8),
    latency_seconds=10,
    starts=3,
    users=USERS,
    rank_rounds=7,
    decoded=100_000,
    large_users=5_000,
    sizes=tuple(scale.SIZES),
    worked=tuple(scale.SIZES),
)
QUICK: Final = Plan(
    rounds=1,
    load=Load(skipped_seconds=1, seconds=2),
    latency_seconds=2,
    starts=1,
    users=5_000,
    rank_rounds=1,
    decoded=5_000,
    large_users=2_000,
    sizes=("20k",),
    worked=("4k", "100k"),
)


def throughputs(stand: Stand, plan: Plan) -> Figures:
    """Return clicks per second, as such and over the passthrough of the same round; cost of each stage."""
    return _speeds(stand, plan, ("4k", "20k", "100k"), ("every", "latest"))


def _speeds(stand: Stand, plan: Plan, sizes: Iterable[str], publishing: Iterable[str]) -> Figures:
    found: dict[str, list[float]] = defaultdict(list)

    def note(name: str, speed: Speed, base: Speed) -> None:
        found[f"{name}_events_per_second"].append(speed.events_per_second)
        found[f"{name}_over_passthrough"].append(speed.events_per_second / base.events_per_second)
        for cost, microseconds in speed.costs.items():
            found[f"{name}_{cost}_microseconds"].append(microseconds)

    measured = [size for size in sizes if CATALOGUES[size] <= LARGE or shop.available()]
    for _ in range(plan.rounds):
        base = throughput.of_passthrough(stand, CATALOGUES["4k"], plan.load)
        note("passthrough", base, base)
        limit = throughput.of_passthrough(stand, CATALOGUES["4k"], plan.load, at_once=True)
        note("passthrough_at_once", limit, base)
        for size, publish in product(measured, publishing):
            speed = throughput.of_worker(stand, CATALOGUES[size], publish, plan.load)
            note(f"{publish}_{size}", speed, base)
    return {name: statistics.median(values) for name, values in found.items()}


def latencies(stand: Stand, plan: Plan) -> Figures:
    """Return the seconds from click to recommendation, for readers of either isolation level."""
    found: dict[str, list[float]] = defaultdict(list)
    for _, rate, (name, isolation) in product(range(plan.rounds), RATES, ISOLATIONS.items()):
        taken = latency.latencies(
            stand, rate=rate, isolation=isolation, items=CATALOGUES["4k"], seconds=plan.latency_seconds
        )
        for percent in (50, 99):
            found[f"latency_{rate}_{name}_p{percent}_seconds"].append(float(np.percentile(taken, percent)))
    return {name: statistics.median(values) for name, values in found.items()}


def scraped(stand: Stand, plan: Plan) -> Figures:
    """Return the latency under scrapes and idle connections over that without, and the share answered."""
    counted: list[scrapes.Answered] = []

    @contextmanager
    def pressed(port: int) -> Iterator[None]:
        with scrapes.pressed(port) as answered:
            counted.append(answered)
            yield

    def p99(meanwhile: Callable[[int], AbstractContextManager[object]]) -> float:
        taken = latency.latencies(
            stand,
            rate=1_000,
            isolation="read_uncommitted",
            items=CATALOGUES["4k"],
            seconds=plan.latency_seconds,
            meanwhile=meanwhile,
        )
        return float(np.percentile(taken, 99))

    rounds = [(p99(nullcontext), p99(pressed)) for _ in range(plan.rounds)]
    return {
        "scraped_p99_seconds": statistics.median(under for _, under in rounds),
        "scraped_p99_over_none": statistics.median(under / alone for alone, under in rounds),
        "scrapes_answered_share": sum(one.whole for one in counted) / sum(one.sent for one in counted),
    }


def start(stand: Stand, plan: Plan) -> Figures:
    """Return how soon a worker is ready."""
    seconds = [footprint.ready_seconds(stand, CATALOGUES["4k"]) for _ in range(plan.starts)]
    return {"ready_seconds": statistics.median(seconds)}


def memory(stand: Stand, plan: Plan) -> Figures:
    """Return the resident memory without and with users, and the size of a click and of a list in Kafka."""
    resident = footprint.resident(stand, CATALOGUES["4k"], plan.users)
    records = footprint.record_bytes(stand, CATALOGUES["4k"], plan.users)
    return {
        "resident_empty_bytes": resident.empty,
        "resident_100k_users_bytes": resident.full,
        "click_bytes": records[0],
        "list_bytes": records[1],
    }


def rank(_: Stand, plan: Plan) -> Figures:
    """Return exact ranking over the bare matrix product, and a batch with a blend over one without."""
    ratio = ranking.rank_over_product(CATALOGUES["100k"], HIDDEN_SIZE, rounds=plan.rank_rounds)
    return {"rank_100k_over_product": ratio} | {
        f"blend_{clicks}_over_none": ranking.blend_over_none(
            CATALOGUES["20k"], HIDDEN_SIZE, clicks=clicks, rounds=4 * plan.rank_rounds
        )
        for clicks in ranking.BATCHES
    }


def scales(stand: Stand, plan: Plan) -> Figures:
    """Return the cost of a list, of a click, and of adopting a release, by size of the catalogue.

    Lists are ranked exactly and approximately, up to a million items. Clicks go through a worker.
    """
    found = scale.costs(plan.rank_rounds, plan.sizes) | _speeds(stand, plan, plan.worked, ("every",))
    for size in plan.sizes:
        found |= large.adoption(stand, size, users=plan.large_users, seconds=plan.latency_seconds)
    return found


def decode(_: Stand, plan: Plan) -> Figures:
    """Return the cost of decoding a click, plain and in the frame of a schema registry."""
    return decoding.costs(plan.decoded, rounds=plan.rank_rounds)


BENCH: Final = Bench[Stand, Plan](
    name="bench",
    measures={
        "ranking": rank,
        "scale": scales,
        "decoding": decode,
        "throughput": throughputs,
        "latency": latencies,
        "scrapes": scraped,
        "start": start,
        "memory": memory,
    },
    full=FULL,
    quick=QUICK,
    stand=lambda _: warm_stand(CATALOGUES["4k"]),
    table=report.table,
)
main = command(BENCH)


if __name__ == "__main__":
    main()
