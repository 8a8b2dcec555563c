from __future__ import annotations

import numpy as np
from prometheus_client import generate_latest

from trainer.experiment.metrics import DECISIONS, PROMOTE, ExperimentMetrics
from trainer.experiment.sequential import Experiment, Rules
from worker.clock import Clock
from worker.core.quality import BUCKETS, Tally


def lines(metrics: ExperimentMetrics) -> list[str]:
    """Return what Prometheus reads."""
    return generate_latest(metrics.registry).decode().splitlines()


def test_every_decision_is_there_from_the_start() -> None:
    """So that rates can be asked for."""
    metrics = ExperimentMetrics(Clock())
    metrics.decided(PROMOTE)

    counted = {line for line in lines(metrics) if line.startswith("nextclick_trainer_decisions_total")}
    assert counted == {
        f'nextclick_trainer_decisions_total{{decision="{decision}"}} {float(decision == PROMOTE)}'
        for decision in DECISIONS
    }


def test_a_look_is_shown_as_it_is() -> None:
    """The candidate, both hit rates and clicks, and when it was."""
    champion, candidate = (Tally(clicks_by_bucket=np.full(BUCKETS, 10)) for _ in range(2))
    champion.hits_by_bucket += 3
    experiment = Experiment(Rules(min_clicks=500))
    experiment.add(champion, candidate)
    metrics = ExperimentMetrics(Clock(wall=lambda: 1_000.0))

    metrics.observe(7, experiment)

    assert {
        "nextclick_trainer_candidate 7.0",
        f"nextclick_trainer_candidate_p_value {experiment.p}",
        'nextclick_trainer_live_hit_rate{role="champion"} 0.3',
        'nextclick_trainer_live_hit_rate{role="candidate"} 0.0',
        f'nextclick_trainer_judged_clicks{{role="candidate"}} {float(10 * BUCKETS)}',
        "nextclick_trainer_last_look_timestamp_seconds 1000.0",
    } <= set(lines(metrics))


def test_without_a_candidate_there_is_number_0() -> None:
    """And nothing was found."""
    metrics = ExperimentMetrics(Clock())

    metrics.observe(None, Experiment(Rules()))

    assert "nextclick_trainer_candidate 0.0" in lines(metrics)
    assert "nextclick_trainer_candidate_p_value 1.0" in lines(metrics)
