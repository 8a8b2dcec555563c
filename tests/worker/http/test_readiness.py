"""What the loop notes for /readyz and /livez."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from worker.http.readiness import Readiness
from worker.metrics import Metrics


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """The seconds that it shows."""
        return self.seconds


def sample(registry: CollectorRegistry) -> float | None:
    """The metric."""
    return registry.get_sample_value("nextclick_ready")


def test_a_reason_is_news_once() -> None:
    """And the metric says whether there is one."""
    metrics, watch = Metrics(), Watch()
    readiness = Readiness(metrics.ready, watch)

    assert readiness.reason == "starting"
    assert [readiness.not_ready("no release"), readiness.not_ready("no release")] == [True, False]
    assert sample(metrics.registry) == 0
    assert [readiness.ready(), readiness.ready()] == [True, False]
    assert readiness.reason == ""
    assert sample(metrics.registry) == 1


def test_waiting_is_logged_where_it_is_news() -> None:
    """Not at every attempt."""
    readiness = Readiness(Metrics().ready, Watch())

    with capture_logs() as logs:
        readiness.waiting("no broker")
        readiness.waiting("no broker")

    assert [(one["event"], one["reason"]) for one in logs] == [("not ready", "no broker")]


def test_a_loop_that_comes_round_is_not_silent() -> None:
    """Whoever says why it waits comes round, too."""
    watch = Watch()
    readiness = Readiness(Metrics().ready, watch)
    watch.seconds = 5.0
    silent = readiness.silent_seconds
    readiness.beat()
    beaten = readiness.beaten
    watch.seconds = 7.0
    readiness.not_ready("no broker")

    assert (silent, beaten, readiness.silent_seconds) == (5.0, 5.0, 0.0)


def test_trouble_counts_whatever_the_loop_says() -> None:
    """The loop may be stuck in a call just because of it. What is said already is no news."""
    metrics, watch = Metrics(), Watch()
    readiness = Readiness(metrics.ready, watch)
    readiness.ready()
    readiness.trouble = "a topic is gone"
    readiness.ready()

    assert readiness.reason == "a topic is gone"
    assert sample(metrics.registry) == 0
    with capture_logs() as logs:
        readiness.waiting("a topic is gone")
    assert logs == []

    readiness.trouble = ""
    readiness.ready()
    assert readiness.reason == ""
    assert sample(metrics.registry) == 1
