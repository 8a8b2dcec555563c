"""What Prometheus sees of a worker."""

from __future__ import annotations

from itertools import count

import numpy as np
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from worker.core.event import Decoder, Fields
from worker.core.quality import Tally
from worker.core.reasons import Reason, Skipped
from worker.core.recommender import Recommendations
from worker.kafka.memory import MemoryCluster
from worker.metrics import Metrics
from worker.topics.clicks import decode


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample."""
    return metrics.registry.get_sample_value(f"nextclick_{name}", labels)


def one_list(click: int, *, reason: str = "model", release: int = 1) -> Recommendations:
    """An empty list for a click of the batch."""
    return Recommendations(click, [], np.zeros(0, np.float32), reason, release)


def test_a_batch_is_counted() -> None:
    """Clicks, lists by reason and role, and how late each list is."""
    cluster, metrics = MemoryCluster(), Metrics()
    cluster.create("clicks")
    for age_ms in (30_000, 100, 0):
        cluster.produce("clicks", b'{"user_id": "ada", "item_id": "lamp"}', timestamp=cluster.now_ms - age_ms)
    clicks = decode(cluster.read("clicks"), Decoder(Fields())).clicks

    lists = [one_list(0), one_list(1, release=2), one_list(2, reason="cold")]
    metrics.observe_batch(clicks, lists, cluster.now_ms + 50, champion=1)

    assert value(metrics, "clicks_total") == 3
    assert value(metrics, "recommendations_total", reason="model", role="champion") == 1
    assert value(metrics, "recommendations_total", reason="model", role="candidate") == 1
    assert value(metrics, "recommendations_total", reason="cold", role="champion") == 1
    latency = "click_to_recommendation_seconds"
    assert [
        value(metrics, f"{latency}_bucket", le=le) for le in ("0.04", "0.08", "0.15", "15.0", "60.0")
    ] == [
        0,
        1,
        2,
        2,
        3,
    ]
    assert value(metrics, f"{latency}_count") == 3
    assert value(metrics, f"{latency}_sum") == 30.25


def test_records_are_counted_by_what_became_of_them() -> None:
    """Dead letters and skipped ones by reason, too; the three sums are all records."""
    metrics = Metrics()

    bad = [Reason.MALFORMED, Reason.NULL_VALUE, Reason.MALFORMED]
    metrics.observe_records(clicked=5, skipped={Skipped.WHERE: 2}, bad=bad, trimmed=4)

    assert value(metrics, "dead_letters_total", reason="malformed") == 2
    assert value(metrics, "dead_letters_total", reason="null_value") == 1
    assert value(metrics, "skipped_total", reason="where") == 2
    assert value(metrics, "ids_trimmed_total") == 4
    sums = [value(metrics, "records_total", became=name) for name in ("clicks", "skipped", "dead_letter")]
    assert sums == [5, 2, 3]


def test_stages_are_timed_by_the_clock_that_is_given() -> None:
    """What a stage takes adds up."""
    metrics = Metrics(iter(count(0.0, 0.5)).__next__)

    for _ in range(2):
        with metrics.timed("poll"):
            pass

    assert value(metrics, "stage_seconds_total", stage="poll") == 1.0


def test_checkpoints_are_counted_with_how_long_they_took() -> None:
    """Those that were committed."""
    metrics = Metrics()

    metrics.observe_checkpoint(0.03)

    assert value(metrics, "checkpoints_total", outcome="committed") == 1
    assert value(metrics, "checkpoint_seconds_sum") == 0.03


def test_partitions_that_are_gone_have_no_lag() -> None:
    """Nor a metric that stands still."""
    metrics = Metrics()

    metrics.observe_lag({0: 5, 1: 7})
    metrics.observe_lag({1: 2})

    assert value(metrics, "lag_records", partition="0") is None
    assert value(metrics, "lag_records", partition="1") == 2


def test_quality_is_kept_for_the_releases_that_serve() -> None:
    """The others disappear, so that labels do not grow with every release."""
    metrics = Metrics()

    metrics.observe_quality({1: Tally(clicks=100, hits=40), 2: Tally(clicks=10)}, known={1, 2})
    metrics.observe_quality({2: Tally(clicks=5)}, known={2, 3})

    assert value(metrics, "quality_clicks_total", release="1") is None
    assert value(metrics, "quality_clicks_total", release="2") == 15


def test_every_metric_can_be_scraped_and_says_what_it_is() -> None:
    """All under one prefix but those of the process and of Python."""
    families = list(text_string_to_metric_families(generate_latest(Metrics().registry).decode()))

    assert all(one.documentation for one in families)
    assert {one.name.split("_")[0] for one in families} == {"nextclick", "process", "python"}
