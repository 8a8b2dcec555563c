"""What Prometheus sees of a worker."""

from __future__ import annotations

from itertools import count
from typing import Final

import numpy as np
import pytest
from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from worker.core.event import Decoder, Fields
from worker.core.quality import Tally
from worker.core.reasons import Reason, Skipped
from worker.core.recommender import Recommendations
from worker.errors import FAILURES, REFUSALS
from worker.kafka.memory import MemoryCluster
from worker.metrics import Answered, Metrics
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
    metrics.observe_batch(Answered(clicks, lists, 0, cluster.now_ms + 50, champion=1))

    assert value(metrics, "clicks_total") == 3
    assert value(metrics, "recommendations_total", reason="model", role="champion") == 1
    assert value(metrics, "recommendations_total", reason="model", role="candidate") == 1
    assert value(metrics, "recommendations_total", reason="cold", role="champion") == 1


def test_clicks_without_a_list_are_counted_by_reason() -> None:
    """Lists and clicks without a list add up to all clicks."""
    cluster, metrics = MemoryCluster(), Metrics()
    cluster.create("clicks")
    for _ in range(7):
        cluster.produce("clicks", b'{"user_id": "ada", "item_id": "lamp"}')
    clicks = decode(cluster.read("clicks"), Decoder(Fields())).clicks

    metrics.observe_batch(Answered(clicks, [one_list(6)], 2, cluster.now_ms, champion=1))

    assert value(metrics, "clicks_without_list_total", reason="too_old") == 2
    assert value(metrics, "clicks_without_list_total", reason="superseded") == 4


def test_records_are_counted_by_what_became_of_them() -> None:
    """Dead letters and skipped ones by reason, too; the sums are all records."""
    metrics = Metrics()

    bad = [Reason.MALFORMED, Reason.NULL_VALUE, Reason.MALFORMED]
    metrics.observe_records(clicked=5, requested=1, skipped={Skipped.WHERE: 2}, bad=bad, trimmed=4)

    assert value(metrics, "dead_letters_total", reason="malformed") == 2
    assert value(metrics, "dead_letters_total", reason="null_value") == 1
    assert value(metrics, "skipped_total", reason="where") == 2
    assert value(metrics, "ids_trimmed_total") == 4
    outcomes = ("clicks", "requests", "skipped", "dead_letter")
    assert [value(metrics, "records_total", became=name) for name in outcomes] == [5, 1, 2, 3]


def test_stages_are_timed_by_the_clock_that_is_given() -> None:
    """What a stage takes adds up."""
    metrics = Metrics(iter(count(0.0, 0.5)).__next__)

    for _ in range(2):
        with metrics.timed("poll"):
            pass

    assert value(metrics, "stage_seconds_total", stage="poll") == 1.0


def test_checkpoints_are_counted_with_how_long_they_took() -> None:
    """Those that were committed, and when the last was."""
    metrics = Metrics(wall=lambda: 1_000.0)

    metrics.observe_checkpoint(0.03, {})
    metrics.observe_failed_checkpoint()

    assert value(metrics, "checkpoints_total", outcome="committed") == 1
    assert value(metrics, "checkpoints_total", outcome="failed") == 1
    assert value(metrics, "checkpoint_seconds_sum") == 0.03
    assert value(metrics, "last_commit_timestamp_seconds") == 1_000


def test_quality_of_a_release_is_0_when_it_is_adopted() -> None:
    """So that `increase()` sees its first hit."""
    metrics = Metrics()

    metrics.observe_serving(3, 4, 0.1)

    for release in "34":
        assert value(metrics, "quality_hits_total", release=release) == 0
    assert value(metrics, "quality_hits_total", release="0") is None


def test_quality_is_kept_for_the_releases_that_serve() -> None:
    """The others disappear, so that labels do not grow with every release."""
    metrics = Metrics()

    metrics.observe_quality({1: Tally(clicks=100, hits=40), 2: Tally(clicks=10)}, known={1, 2})
    metrics.observe_quality({2: Tally(clicks=5)}, known={2, 3})

    assert value(metrics, "quality_clicks_total", release="1") is None
    assert value(metrics, "quality_clicks_total", release="2") == 15


def exported() -> list[Metric]:
    """Return all that is exported by a worker to which nothing has happened yet."""
    return list(text_string_to_metric_families(generate_latest(Metrics().registry).decode()))


LABELS: Final = {
    "records": {"clicks", "requests", "skipped", "dead_letter"},
    "dead_letters": {*Reason},
    "skipped": {*Skipped},
    "clicks_without_list": {"too_old", "superseded"},
    "checkpoints": {"committed", "failed"},
    "failures": {*FAILURES},
    "releases_refused": {*REFUSALS},
    "rebuilt_users": {"click", "background"},
    "evicted_users": {"ttl", "max_users", "max_bytes"},
}
"""The values of the label of counters with one."""


@pytest.mark.parametrize("name", LABELS)
def test_a_counter_is_0_for_every_value_of_its_label_from_the_start(name: str) -> None:
    """So that `increase()` sees the first event."""
    (family,) = [one for one in exported() if one.name == f"nextclick_{name}"]
    samples = {next(iter(one.labels.values())): one.value for one in family.samples}

    assert samples == dict.fromkeys(LABELS[name], 0.0)


def test_every_counter_with_labels_has_series_from_the_start() -> None:
    """All but those of live quality, whose label is the release, and of rules, whose label is the name."""
    bare = {one.name for one in exported() if one.type == "counter" and not one.samples}

    assert all(name.startswith(("nextclick_quality_", "nextclick_rule_lists_changed")) for name in bare)


def test_every_metric_can_be_scraped_and_says_what_it_is() -> None:
    """All under one prefix but those of the process and of Python."""
    families = exported()

    assert all(one.documentation for one in families)
    assert {one.name.split("_")[0] for one in families} == {"nextclick", "process", "python"}
