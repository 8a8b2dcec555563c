"""The costs with which `nextclick-worker size` reckons. `make bench-costs`.

Reads `build/bench.json` and `build/bench-state.json`, writes `worker/commands/costs.json`, and compares what
is reckoned with measurements that the costs are not made of. Draws the costs of larger catalogues, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final, NamedTuple

import click
import orjson

from tests.benchmarks.curve import PATH, draw
from tests.benchmarks.report import line
from tests.benchmarks.saving import ITEMS, RATE
from tests.benchmarks.scale import SIZES
from tests.broker.process import ROOT
from worker.commands.size import COSTS
from worker.config import State
from worker.core.sizing import Costs, Demand, Limits, Size, size
from worker.settings.kafka import Kafka

SOURCES: Final = ("bench", "bench-state")
APPROXIMATE: Final = ("100k", "1m")
"""The sizes of which the cost of an approximate list is that of a click in a worker, less that of the rest.

A list alone does not show it: in a worker, other data take turns in the caches.
"""

PLENTY: Final = 64 << 30

Figures = Mapping[str, float]


class Point(NamedTuple):
    """A value that is both reckoned and measured."""

    what: str
    reckoned: float
    measured: float


def costs_of(figures: Figures) -> Costs:
    """Return the costs in the figures of the benchmarks. Raises KeyError for a figure that is missing."""
    exact = {str(items): figures[f"exact_{name}_microseconds"] for name, items in SIZES.items()}
    click = figures["every_4k_cpu_microseconds"] - exact["4000"]
    approximate = {
        str(SIZES[name]): figures[f"every_{name}_cpu_microseconds"] - click for name in APPROXIMATE
    }
    releases = {str(items): figures[f"release_{name}_bytes"] for name, items in SIZES.items()}
    saved, kept = figures["saved_users_per_click"], 1e6 * figures["restore_1m_megabytes"]
    return Costs(
        click_microseconds=click,
        exact_microseconds=exact,
        approximate_microseconds=approximate,
        worker_bytes=figures["resident_empty_bytes"] - releases["4000"],
        user_bytes=figures["gib_per_million_users"] * (1 << 30) / 1e6,
        release_bytes=releases,
        click_bytes=figures["click_bytes"],
        list_bytes=figures["list_bytes"],
        saved_user_bytes=figures["state_bytes_per_click"] / saved,
        kept_user_bytes=kept / 1e6,
        restored_bytes_per_second=kept / figures["restore_1m_seconds"],
    )


def points(costs: Costs, figures: Figures) -> list[Point]:
    """Return values that are reckoned from `costs`, beside those measured."""
    saving = _size(costs, RATE, 1e6, ITEMS)
    lost = _size(costs, 1_000, 250_000, ITEMS)
    of_states = costs.saved_user_bytes * figures["saved_users_per_click"]
    users = costs.worker_bytes + costs.release_bytes["4000"] + 1e5 * costs.user_bytes
    at_20k, at_300k = (
        costs.click_microseconds + costs.list_microseconds(SIZES[size]) for size in ("20k", "300k")
    )
    return [
        Point("CPU per click, 20,000 items, µs", at_20k, figures["every_20k_cpu_microseconds"]),
        Point("CPU per click, 300,000 items, µs", at_300k, figures["every_300k_cpu_microseconds"]),
        Point("memory with 100,000 users, MB", users / 1e6, figures["resident_100k_users_bytes"] / 1e6),
        Point("state bytes per click, 1M users", saving.state_bytes_per_second / RATE, of_states),
        Point("takeover, 250,000 users, s", lost.takeover_seconds, figures["takeover_250k_seconds"]),
    ]


def _size(costs: Costs, clicks: float, users: float, items: int) -> Size:
    settings = Limits(
        memory_bytes=PLENTY,
        flush_seconds=State().flush_interval,
        session_timeout_seconds=Kafka().session_timeout_ms / 1e3,
    )
    return size(Demand(clicks, users, items), costs, settings)


@click.command()
def main() -> None:
    """Write the costs of `nextclick-worker size` from the results of make bench and make bench-state."""
    figures = dict[str, float]()
    for name in SOURCES:
        path = ROOT / "build" / f"{name}.json"
        if not path.exists():
            raise click.ClickException(f"{path} is not there: run make {name}")
        figures |= orjson.loads(path.read_bytes())
    try:
        costs = costs_of(figures)
        found = points(costs, figures)
    except KeyError as error:
        raise click.ClickException(
            f"{error} is not in the results: run make {' and make '.join(SOURCES)}"
        ) from None
    COSTS.write_bytes(
        orjson.dumps(_rounded(asdict(costs)), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    click.echo(line("", "reckoned", "measured", "reckoned / measured"))
    for point in found:
        cells = (f"{point.reckoned:.1f}", f"{point.measured:.1f}", f"{point.reckoned / point.measured:.2f}")
        click.echo(line(point.what, *cells))
    draw(figures)
    click.echo(f"wrote {COSTS.relative_to(ROOT)} and {PATH.relative_to(ROOT)}")


def _rounded(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values to three digits, which is more than they are worth."""
    return {
        name: _rounded(value) if isinstance(value, Mapping) else float(f"{value:.3g}")
        for name, value in values.items()
    }


if __name__ == "__main__":
    main()
