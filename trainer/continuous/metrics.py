"""What Prometheus sees of a periodic training. It watches from the side: nothing reads it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from trainer.continuous.gate import DECISIONS, decision
from trainer.continuous.plan import Outcome
from trainer.evaluation.compare import Difference
from worker.core.manifest import Manifest
from worker.errors import SettingError


class Gauges:
    """All metrics of one trainer, in a registry of its own. `leads` is asked at every scrape."""

    def __init__(self, leads: Callable[[], bool], steady: Callable[[], float]) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._steady = steady
        self._known = 0

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"nextclick_trainer_{name}", text, labels, registry=registry)

        gauge("leads", "Whether this trainer is the one that trains.").set_function(leads)
        self._success = gauge(
            "last_success_timestamp_seconds", "When a round last ended as it should, with a release or not."
        )
        self._released = gauge(
            "last_release_timestamp_seconds", "When the newest release that this trainer knows was made."
        )
        self._release = gauge("release", "The number of that release.")
        self._round_seconds = gauge("round_seconds", "How long the last round took.")
        self._stage_seconds = gauge("stage_seconds", "How long each stage of the last round took.", "stage")
        self._loss = gauge("loss", "The loss in the last epoch of the last training.")
        self._clicks = gauge("clicks", "How many clicks the training learned from, a stream since it began.")
        self._difference = gauge("gate_difference", "By how much the last release beat the champion.")
        self._rounds = Counter(
            "nextclick_trainer_rounds", "Rounds by how they ended.", ["outcome"], registry=registry
        )
        self._decisions = Counter(
            "nextclick_trainer_gate_decisions",
            "New releases by what the gate saw: better, no_difference or worse.",
            ["decision"],
            registry=registry,
        )
        for outcome in Outcome:
            self._rounds.labels(outcome)
        for known in DECISIONS:
            self._decisions.labels(known)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure how long a stage takes."""
        began = self._steady()
        yield
        self._stage_seconds.labels(name).set(self._steady() - began)

    def know(self, number: int, manifest: Manifest) -> None:
        """Note a release that is there, unless a newer one is known."""
        if number < self._known:
            return
        self._known = number
        self._release.set(number)
        # Whoever makes releases in another way may not say when.
        with suppress(ValueError):
            self._released.set(datetime.fromisoformat(manifest.created_at).timestamp())

    def trained(self, manifest: Manifest) -> None:
        """Note what a training came to."""
        self._loss.set(manifest.training["epochs"][-1]["loss"])
        self._clicks.set(manifest.training["clicks"])

    def compared(self, found: Difference) -> None:
        """Note what the gate saw."""
        self._decisions.labels(decision(found)).inc()
        self._difference.set(found.difference)

    def ended(self, outcome: Outcome, seconds: float, at: float) -> None:
        """Note how a round ended, after how long and when."""
        self._rounds.labels(outcome).inc()
        self._round_seconds.set(seconds)
        if outcome.is_fine:
            self._success.set(at)


@contextmanager
def serving(registry: CollectorRegistry, host: str, port: int | None) -> Iterator[None]:
    """Answer /metrics while the context is open; without a port nothing does. Raises SettingError."""
    if port is None:
        yield
        return
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise SettingError(
            f"--metrics-port: cannot listen on {host}:{port}: {error.strerror}. Name a free one"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
