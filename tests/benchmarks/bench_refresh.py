"""One table of what a refresh costs and what it leaves, on a real Kafka. `make bench-refresh`.

The figures also go to `build/bench-refresh.json`, with those that are there already. Everything takes
twenty minutes, most of it `globo`; `ARGS=--quick` is a smoke run that writes no file, `ARGS="--only swap"` a
part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.clicks import USERS
from tests.benchmarks.frame import Bench, Figures, command
from tests.benchmarks.rebuilding import quality_cost, rebuild_equal
from tests.benchmarks.refused import refused
from tests.benchmarks.report import Target, judged, line
from tests.benchmarks.stand import Stand
from tests.benchmarks.swap import ITEMS, swap
from tests.benchmarks.warm import warm_stand
from tests.benchmarks.watching import watching
from trainer.experiment.sequential import Rules


@dataclass(frozen=True)
class Plan:
    """How much of everything is done."""

    swap_seconds: float
    swap_users: int
    quality_rounds: int
    trials: int
    hours: int
    history: int
    """Hours that are learned before the first release: in full, those that the settings were chosen on."""


FULL: Final = Plan(swap_seconds=60, swap_users=USERS, quality_rounds=10, trials=2_000, hours=72, history=48)
QUICK: Final = Plan(swap_seconds=4, swap_users=20_000, quality_rounds=2, trials=100, hours=2, history=2)


def globo(stand: Stand, plan: Plan) -> Figures:
    """Replay the public clicks of a news portal, hour by hour."""
    # TensorFlow takes seconds to load: only here, where it is needed.
    from tests.benchmarks.prequential import prequential  # noqa: PLC0415

    return prequential(stand, hours=plan.hours, history=plan.history)


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
    "rebuild_equal": ("rebuilt = computed from scratch", "{:.0f}"),
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
    "globo_adopting_seconds_an_hour": ("  publishing and adopting, s", "{:.1f}"),
    "globo_clicking_seconds_an_hour": ("  clicks and answers, s", "{:.1f}"),
}


def table(figures: Mapping[str, float]) -> Iterator[str]:
    """Yield the lines of the table, without figures that were not measured."""
    for name, (label, shown) in ROWS.items():
        if name in figures:
            yield line(label, judged(figures, name, shown.format, TARGETS), width=46)


BENCH: Final = Bench[Stand, Plan](
    name="bench-refresh",
    measures={
        "swap": lambda stand, plan: swap(stand, users=plan.swap_users, seconds=plan.swap_seconds),
        "refused": lambda stand, _: refused(stand),
        "rebuild": lambda _, __: rebuild_equal(),
        "quality": lambda _, plan: quality_cost(rounds=plan.quality_rounds),
        "watch": lambda _, plan: watching(trials=plan.trials),
        "globo": globo,
    },
    full=FULL,
    quick=QUICK,
    stand=lambda _: warm_stand(ITEMS),
    table=table,
)
main = command(BENCH)


if __name__ == "__main__":
    main()
