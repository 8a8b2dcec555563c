"""One table of what a refresh costs and what it leaves, on a real Kafka. `make bench-refresh`.

The figures also go to `build/bench-refresh.json`, beside those that are there already. Everything takes
twenty minutes, most of it `globo`; `ARGS=--quick` is a smoke run that writes no file, `ARGS="--only swap"` a
part.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import click

from deploy.kafka.local import KafkaUnavailable, LocalKafka
from tests.benchmarks import machine, throughput
from tests.benchmarks.figures import keep
from tests.benchmarks.rebuilding import quality_cost, rebuild_equal
from tests.benchmarks.refused import refused
from tests.benchmarks.report import Target, judged, line
from tests.benchmarks.stand import Stand
from tests.benchmarks.swap import ITEMS, swap
from tests.benchmarks.throughput import Load
from tests.benchmarks.watching import watching
from trainer.experiment.sequential import Rules

WARM_UP: Final = Load(clicks=30_000, skipped=5_000, seconds=10)


def globo(stand: Stand, *, quick: bool) -> dict[str, float]:
    """The public clicks of a news portal, hour by hour."""
    # TensorFlow takes seconds to load: only here, where it is needed.
    from tests.benchmarks.prequential import HISTORY, prequential  # noqa: PLC0415

    return prequential(stand, hours=2 if quick else 72, history=2 if quick else HISTORY)


MEASURES: Final[dict[str, Callable[[Stand, bool], dict[str, float]]]] = {
    "swap": lambda stand, quick: swap(stand, seconds=10 if quick else 60),
    "refused": lambda stand, _: refused(stand),
    "rebuild": lambda _, __: rebuild_equal(),
    "quality": lambda _, quick: quality_cost(rounds=2 if quick else 10),
    "watch": lambda _, quick: watching(trials=100 if quick else 2_000),
    "globo": lambda stand, quick: globo(stand, quick=quick),
}

TARGETS: Final = {
    "swap_p99_over_steady": Target(2.0),
    "swap_lost": Target(0),
    "publish_to_serving_seconds": Target(5.0),
    "memory_after_over_before": Target(1.05),
    "rebuild_equal": Target(1.0, least=True),
    "broken_releases_refused": Target(20, least=True),
    "live_quality_cost_share": Target(0.03),
    "aa_false_decision_share": Target(Rules().alpha),
    "shuffled_dropped_share": Target(1.0, least=True),
}

ROWS: Final = {
    "swap_p99_over_steady": ("p99 of a click during the swap / steady", "{:.2f}"),
    "steady_p99_seconds": ("  steady, s", "{:.3f}"),
    "swap_p99_seconds": ("  during the swap, s", "{:.3f}"),
    "swap_lost": ("clicks without an answer", "{:.0f}"),
    "publish_to_serving_seconds": ("from publish to serving in both workers, s", "{:.2f}"),
    "rebuild_seconds": ("until all are rebuilt, s", "{:.1f}"),
    "memory_after_over_before": ("memory after / before", "{:.3f}"),
    "rebuild_equal": ("rebuilt = computed anew", "{:.0f}"),
    "rebuild_difference": ("  the largest difference", "{:.1e}"),
    "broken_releases_refused": ("kinds of broken release refused", "{:.0f}"),
    "live_quality_cost_share": ("live quality: share of applying and ranking", "{:.3f}"),
    "live_quality_microseconds": ("  microseconds per click", "{:.2f}"),
    "aa_false_decision_share": ("candidates no different that are decided on", "{:.4f}"),
    "aa_false_decision_share_worst_shop": ("  in the worst kind of shop", "{:.4f}"),
    "small_taken_for_opposite_share": ("  3 % different, taken for the opposite", "{:.4f}"),
    "shuffled_dropped_share": ("candidates that know nothing: dropped", "{:.3f}"),
    "shuffled_dropped_clicks": ("  after judged clicks of theirs, median", "{:,.0f}"),
    "better_promoted_share": ("candidates 10 % better: promoted", "{:.3f}"),
    "better_promoted_clicks": ("  after judged clicks of theirs, median", "{:,.0f}"),
    "globo_hit_rate_refresh": ("globo: hit rate@20, refreshed every hour", "{:.4f}"),
    "globo_hit_rate_frozen": ("  the first release all the time", "{:.4f}"),
    "globo_hit_rate_popular": ("  popular in the hour before", "{:.4f}"),
    "globo_hit_rate_popular_frozen": ("  popular in the first release", "{:.4f}"),
    "globo_mrr_refresh": ("globo: MRR@20, refreshed every hour", "{:.4f}"),
    "globo_mrr_frozen": ("  the first release all the time", "{:.4f}"),
    "globo_mrr_popular": ("  popular in the hour before", "{:.4f}"),
    "globo_mrr_popular_frozen": ("  popular in the first release", "{:.4f}"),
    "globo_hours": ("globo: hours of data", "{:.0f}"),
    "globo_clicks_judged": ("  clicks judged, refreshed", "{:,.0f}"),
    "globo_clicks_judged_frozen": ("  clicks judged, the first release", "{:,.0f}"),
    "globo_clicks_that_can_be_judged": ("  clicks that follow one of their session", "{:,.0f}"),
    "globo_training_seconds_an_hour": ("  training, s for an hour of data", "{:.1f}"),
    "globo_adopting_seconds_an_hour": ("  publishing and taking up, s", "{:.1f}"),
    "globo_clicking_seconds_an_hour": ("  clicks and answers, s", "{:.1f}"),
}


@click.command()
@click.option("--quick", is_flag=True, help="A smoke run. Its figures mean little and go to no file.")
@click.option(
    "--only", default=",".join(MEASURES), show_default=True, help="What to measure, separated by commas."
)
def main(*, quick: bool, only: str) -> None:
    """Measure, print the table, write build/bench-refresh.json."""
    names = only.split(",")
    if unknown := set(names) - set(MEASURES):
        raise click.BadParameter(f"there is no {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    # End as on Ctrl-C, so that every process started here is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    about, figures = list(machine.lines()), dict[str, float]()
    try:
        with tempfile.TemporaryDirectory() as folder, LocalKafka() as kafka:
            stand = Stand(kafka.bootstrap, Path(folder))
            throughput.warm_up(stand, ITEMS, WARM_UP)
            for name in names:
                began = time.monotonic()
                found = MEASURES[name](stand, quick)
                figures |= found
                if not quick:
                    keep("bench-refresh.json", found)
                click.echo(f"measured {name} in {time.monotonic() - began:.0f} s", err=True)
    except KafkaUnavailable as error:
        sys.exit(str(error))
    click.echo("\n".join([*about, "", *table(figures)]))


def table(figures: Mapping[str, float]) -> Iterator[str]:
    """The lines of the table; what was not measured is left out."""
    for name, (label, shown) in ROWS.items():
        if name in figures:
            yield line(label, judged(figures, name, shown.format, TARGETS), width=46)


if __name__ == "__main__":
    main()
