"""Prometheus metrics of experiments. No decision depends on them."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

from trainer.experiment.sequential import Experiment
from trainer.prometheus import ProgramMetrics
from worker.clock import Clock

PROMOTE: Final = "promote"
DROP: Final = "drop"
GIVE_UP: Final = "give_up"
DECISIONS: Final = (PROMOTE, DROP, GIVE_UP)
"""The possible decisions on a candidate."""


class ExperimentMetrics(ProgramMetrics):
    """All metrics of one `watch`, in a separate registry."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        registry = self.registry
        self._clock = clock
        self._candidate = Gauge(
            "nextclick_trainer_candidate",
            "Number of the candidate in the experiment; 0: no candidate.",
            registry=registry,
        )
        self._p = Gauge(
            "nextclick_trainer_candidate_p_value",
            "Always-valid p-value for the hypothesis that candidate and champion do not differ.",
            registry=registry,
        )
        self._rates = Gauge(
            "nextclick_trainer_live_hit_rate",
            "Live hit rate since the start of the experiment.",
            ["role"],
            registry=registry,
        )
        self._clicks = Gauge(
            "nextclick_trainer_judged_clicks",
            "Number of clicks that the live hit rate is measured on.",
            ["role"],
            registry=registry,
        )
        self._decisions = Counter(
            "nextclick_trainer_decisions", "Decisions on candidates.", ["decision"], registry=registry
        )
        for decision in DECISIONS:
            self._decisions.labels(decision)
        self._looked = Gauge(
            "nextclick_trainer_last_look_timestamp_seconds",
            "Time of the last read from Kafka.",
            registry=registry,
        )

    def observe(self, candidate: int | None, experiment: Experiment) -> None:
        """Update the metrics from one interim analysis of the experiment."""
        self._candidate.set(candidate or 0)
        self._p.set(experiment.p)
        for role, clicks, rate in zip(
            ("champion", "candidate"), experiment.found.clicks, experiment.found.rates, strict=True
        ):
            self._rates.labels(role).set(rate)
            self._clicks.labels(role).set(clicks)
        self._looked.set(self._clock.wall())

    def decided(self, decision: str) -> None:
        """Count a decision made by this watch."""
        self._decisions.labels(decision).inc()
