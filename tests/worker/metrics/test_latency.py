"""Histograms of the times since clicks."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry

from worker.metrics.latency import Latency, ListLatency


def sample(latency: Latency, suffix: str, **labels: str) -> float | None:
    """Return a sample of a histogram."""
    registry = CollectorRegistry()
    registry.register(latency)
    return registry.get_sample_value(f"{latency._name}_{suffix}", labels)


def test_a_batch_is_observed_at_once() -> None:
    """Each value is counted in its bucket and in all larger ones; a bound belongs to its bucket."""
    latency = Latency("a_seconds", "A.", bounds=(0.1, 1.0))

    latency.observe(np.array([0.05, 0.1, 0.5, 7.0]))
    latency.observe(np.array([]))

    assert [sample(latency, "bucket", le=le) for le in ("0.1", "1.0", "+Inf")] == [2, 3, 4]
    assert sample(latency, "count") == 4
    assert sample(latency, "sum") == 7.65


def test_a_list_is_observed_when_it_is_published_and_when_it_is_committed() -> None:
    """From the timestamp of its click's record."""
    both = ListLatency()

    both.publish(np.array([1_000, 3_000]), now_ms=4_000)
    both.publish(np.array([3_500]), now_ms=4_000)
    before = sample(both.committed, "count")
    both.commit(now_ms=4_500)
    both.commit(now_ms=9_000)

    assert before == 0
    assert (sample(both.published, "count"), sample(both.published, "sum")) == (3, 4.5)
    assert (sample(both.committed, "count"), sample(both.committed, "sum")) == (3, 6.0)


def test_a_list_that_is_aborted_is_never_committed() -> None:
    """Its click is answered again, in another transaction."""
    both = ListLatency()
    both.publish(np.array([1_000]), now_ms=4_000)

    both.abort()
    both.commit(now_ms=5_000)

    assert sample(both.committed, "count") == 0


def test_a_record_without_a_timestamp_has_no_latency() -> None:
    """Or one such record would raise the sum by half a century."""
    both = ListLatency()

    both.publish(np.array([-1, 2_000]), now_ms=3_000)
    both.commit(now_ms=3_000)

    assert (sample(both.published, "count"), sample(both.published, "sum")) == (1, 1.0)
    assert sample(both.committed, "count") == 1
