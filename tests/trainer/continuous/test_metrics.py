from __future__ import annotations

from dataclasses import replace

from prometheus_client import generate_latest

from tests.builders import ITEMS, successor_release_parts
from trainer.continuous.metrics import TrainingMetrics
from trainer.continuous.plan import RunOutcome
from worker.clock import Clock


def lines(metrics: TrainingMetrics) -> list[str]:
    """Return what Prometheus reads."""
    return generate_latest(metrics.registry).decode().splitlines()


def test_every_outcome_is_there_from_the_start() -> None:
    """So that rates can be asked for."""
    found = lines(TrainingMetrics(lambda: True, Clock()))

    assert "nextclick_trainer_leads 1.0" in found
    assert 'nextclick_trainer_runs_total{outcome="too_few"} 0.0' in found
    assert 'nextclick_trainer_gate_decisions_total{decision="worse"} 0.0' in found


def test_the_newest_release_that_was_found_counts() -> None:
    """One with a lower number changes nothing."""
    metrics = TrainingMetrics(lambda: True, Clock())
    manifest, _ = successor_release_parts(ITEMS)
    metrics.found(4, replace(manifest, created_at="1970-01-01T00:16:40+00:00"))
    metrics.found(3, replace(manifest, created_at="1970-01-01T00:01:40+00:00"))

    assert "nextclick_trainer_release 4.0" in lines(metrics)
    assert "nextclick_trainer_last_release_timestamp_seconds 1000.0" in lines(metrics)


def test_a_run_that_failed_is_no_success() -> None:
    """It is counted, and the time of the last success stays."""
    times = iter([1_012.0])
    metrics = TrainingMetrics(lambda: True, Clock(wall=lambda: next(times)))
    metrics.ended(RunOutcome.PUBLISHED, seconds=12.0)
    metrics.ended(RunOutcome.FAILED, seconds=1.0)

    assert "nextclick_trainer_last_success_timestamp_seconds 1012.0" in lines(metrics)
    assert 'nextclick_trainer_runs_total{outcome="failed"} 1.0' in lines(metrics)
    assert "nextclick_trainer_run_seconds 1.0" in lines(metrics)
