"""Prometheus metrics of continuous training. They observe only: nothing reads them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from trainer.continuous.gate import DECISIONS, decision
from trainer.continuous.plan import RunOutcome
from trainer.evaluation.compare import Difference
from worker.clock import Clock
from worker.core.manifest import Manifest


class TrainingMetrics:
    """All metrics of one trainer, in a registry of its own. `leads` is asked at every scrape."""

    def __init__(self, leads: Callable[[], bool], clock: Clock) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._clock = clock
        self._known = 0

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"nextclick_trainer_{name}", text, labels, registry=registry)

        gauge("leads", "Whether this trainer is the one that trains.").set_function(leads)
        self._success = gauge(
            "last_success_timestamp_seconds",
            "Time of the last run that did not fail, with or without a release.",
        )
        self._released = gauge(
            "last_release_timestamp_seconds", "Creation time of the newest release known to this trainer."
        )
        self._release = gauge("release", "The number of that release.")
        self._run_seconds = gauge("run_seconds", "Duration of the last retraining run.")
        self._stage_seconds = gauge("stage_seconds", "Duration of each stage of the last run.", "stage")
        self._loss = gauge("loss", "Loss in the last epoch of the last training.")
        self._clicks = gauge(
            "clicks", "Clicks that the training learned from; online training: since it began."
        )
        self._difference = gauge("gate_difference", "Metric of the last release minus that of the champion.")
        self._runs = Counter(
            "nextclick_trainer_runs", "Retraining runs by outcome.", ["outcome"], registry=registry
        )
        self._decisions = Counter(
            "nextclick_trainer_gate_decisions",
            "New releases by the gate's decision: better, no_difference or worse.",
            ["decision"],
            registry=registry,
        )
        for outcome in RunOutcome:
            self._runs.labels(outcome)
        for known in DECISIONS:
            self._decisions.labels(known)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure how long a stage of a run takes."""
        began = self._clock.steady()
        try:
            yield
        finally:
            self._stage_seconds.labels(name).set(self._clock.steady() - began)

    def found(self, number: int, manifest: Manifest) -> None:
        """Note a release that is in the topic, unless a newer one is known."""
        if number < self._known:
            return
        self._known = number
        self._release.set(number)
        # A release from another program may lack a valid time.
        with suppress(ValueError):
            self._released.set(datetime.fromisoformat(manifest.created_at).timestamp())

    def trained(self, manifest: Manifest) -> None:
        """Note the loss of a training, and how many clicks it learned from."""
        self._loss.set(manifest.training["epochs"][-1]["loss"])
        self._clicks.set(manifest.training["clicks"])

    def compared(self, found: Difference) -> None:
        """Note what the gate saw."""
        self._decisions.labels(decision(found)).inc()
        self._difference.set(found.difference)

    def ended(self, outcome: RunOutcome, seconds: float) -> None:
        """Note how a run ended just now, and how long it took."""
        self._runs.labels(outcome).inc()
        self._run_seconds.set(seconds)
        if outcome.is_fine:
            self._success.set(self._clock.wall())
