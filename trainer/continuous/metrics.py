"""Prometheus metrics of continuous training. No decision depends on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from prometheus_client import Counter, Gauge

from trainer.continuous.gate import DECISIONS, decision
from trainer.continuous.plan import RunOutcome
from trainer.evaluation.compare import Difference
from trainer.prometheus import ProgramMetrics
from worker.clock import Clock
from worker.core.manifest import Manifest


class TrainingMetrics(ProgramMetrics):
    """All metrics of one trainer, in a separate registry. `leads` is called at every scrape."""

    def __init__(self, leads: Callable[[], bool], clock: Clock) -> None:
        super().__init__()
        registry = self.registry
        self._clock = clock
        self._known = 0

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"nextclick_trainer_{name}", text, labels, registry=registry)

        gauge("leads", "Whether this trainer is the leader: 1 or 0.").set_function(leads)
        self._success = gauge(
            "last_success_timestamp_seconds",
            "End time of the last successful retraining run, with or without a release.",
        )
        self._released = gauge(
            "last_release_timestamp_seconds",
            "Creation time of the newest known release.",
        )
        self._release = gauge("release", "Number of the newest known release.")
        self._run_seconds = gauge("run_seconds", "Duration of the last retraining run.")
        self._stage_seconds = gauge(
            "stage_seconds", "Duration of each stage of the last retraining run.", "stage"
        )
        self._loss = gauge("loss", "Training loss in the last epoch of the last training.")
        self._clicks = gauge(
            "clicks",
            "Number of clicks in the last training; with online training, all clicks since it started.",
        )
        self._difference = gauge(
            "gate_difference",
            "Metric of the last trained release minus the champion's metric, as measured by the gate.",
        )
        self._runs = Counter(
            "nextclick_trainer_runs", "Retraining runs by outcome.", ["outcome"], registry=registry
        )
        self._decisions = Counter(
            "nextclick_trainer_gate_decisions",
            "New releases by gate decision: better, no_difference or worse.",
            ["decision"],
            registry=registry,
        )
        for outcome in RunOutcome:
            self._runs.labels(outcome)
        for known in DECISIONS:
            self._decisions.labels(known)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the duration of a stage of a run."""
        began = self._clock.steady()
        try:
            yield
        finally:
            self._stage_seconds.labels(name).set(self._clock.steady() - began)

    def found(self, number: int, manifest: Manifest) -> None:
        """Update the metrics of the newest release, unless a newer one than `number` is known."""
        if number < self._known:
            return
        self._known = number
        self._release.set(number)
        # A release from another program may lack a valid time.
        with suppress(ValueError):
            self._released.set(datetime.fromisoformat(manifest.created_at).timestamp())

    def trained(self, manifest: Manifest) -> None:
        """Update the loss and the number of clicks of the last training."""
        self._loss.set(manifest.training["epochs"][-1]["loss"])
        self._clicks.set(manifest.training["clicks"])

    def compared(self, found: Difference) -> None:
        """Update the metrics of the gate from its comparison."""
        self._decisions.labels(decision(found)).inc()
        self._difference.set(found.difference)

    def ended(self, outcome: RunOutcome, seconds: float) -> None:
        """Update the metrics of runs from the `outcome` and duration of a run that has just ended."""
        self._runs.labels(outcome).inc()
        self._run_seconds.set(seconds)
        if outcome.is_fine:
            self._success.set(self._clock.wall())
