"""The dashboard of the workers: whether they are well, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import (
    WORKERS,
    Panel,
    Query,
    above,
    alerts,
    dashboard,
    graph,
    less_than,
    stat,
)

_PROCESSES: Final = f'job="nextclick-worker", {WORKERS}'
_LISTS: Final = "nextclick_click_to_recommendation_seconds"
_COMMITS: Final = "nextclick_click_to_commit_seconds"


def fleet() -> Dashboard:
    """Return the dashboard of the workers."""
    return dashboard(
        "nextclick-fleet",
        "Nextclick: worker fleet",
        "The first row says whether users get their lists in time. The rows below say why not.",
        {
            "Is it well?": [*_state()],
            "Load": [*_load()],
            "Time": [*_time()],
            "Failures": [*_failures(), *_transactions_and_requests()],
            "Partitions, memory, users": [*_capacity()],
        },
        period="1h",
        per_worker=True,
    )


def _state() -> Iterator[Panel]:
    yield stat(
        "Workers not ready",
        "Workers that do not answer, or whose /readyz does not say `ready`.",
        f"count(up{{{_PROCESSES}}}) - (count(nextclick_ready{{{WORKERS}}} == 1) or vector(0))",
        unit=units.Short,
        limits=less_than(1),
        runbooks=["NextclickNoWorker", "NextclickWorkerNotReady", "NextclickWorkerDown"],
    )
    yield stat(
        "Critical alerts",
        "Critical alerts that fire: users get no lists, late lists or wrong lists. Prometheus must have "
        "loaded deploy/prometheus/rules.yaml.",
        f"count({alerts(severity='critical')}) or vector(0)",
        unit=units.Short,
        limits=less_than(1),
    )
    yield stat(
        "Longest wait",
        "Upper bound of the time that the oldest unread click has waited. Up to 10 s are normal. It grows "
        "while Kafka does not answer.",
        f"max(nextclick_lag_seconds{{{WORKERS}}})",
        unit=units.Seconds,
        limits=above(20, 60),
        runbooks=["NextclickBehind"],
    )
    yield stat(
        "Dead letters",
        "Share of the records of the last 5 minutes that are not valid clicks.",
        # 0 without records, nothing without workers.
        f'sum(rate(nextclick_records_total{{{WORKERS}, became="dead_letter"}}[5m]))'
        f" / clamp_min(sum(rate(nextclick_records_total{{{WORKERS}}}[5m])), 0.001)",
        unit=units.PercentUnit,
        limits=above(0.01, 0.05),
        runbooks=["NextclickDeadLetters"],
    )
    yield stat(
        "Click to list, p99",
        "99 of 100 lists of the last 5 minutes were sent within this time after the click.",
        f"histogram_quantile(0.99, sum by (le) (rate({_LISTS}_bucket{{{WORKERS}}}[5m]))) >= 0",
        unit=units.Seconds,
        limits=above(0.5, 1),
        runbooks=["NextclickSlow"],
    )
    yield stat(
        "Last commit",
        "Longest time since the last commit of a worker that has clicks to read. 0 if no worker has.",
        f"max((time() - nextclick_last_commit_timestamp_seconds{{{WORKERS}}}) and on (group, instance) "
        f"(rate(nextclick_clicks_total{{{WORKERS}}}[5m]) > 0 or nextclick_lag_seconds{{{WORKERS}}} > 20))"
        f" or 0 * count(nextclick_ready{{{WORKERS}}})",
        unit=units.Seconds,
        limits=above(10, 60),
        runbooks=["NextclickNothingCommitted"],
    )


def _load() -> Iterator[Panel]:
    yield graph(
        "Records and lists",
        "Records read, by outcome, and lists published. There are fewer lists than clicks if "
        "recommend.publish is `latest`, or if clicks are older than recommend.publish_max_age.",
        Query(
            f"sum by (became) (rate(nextclick_records_total{{{WORKERS}}}[$__rate_interval]))", "{{became}}"
        ),
        Query(f"sum(rate(nextclick_recommendations_total{{{WORKERS}}}[$__rate_interval]))", "lists"),
        unit=units.CountsPerSecond,
        runbooks=["NextclickBehind"],
    )
    yield graph(
        "Wait by partition",
        "The ten partitions whose oldest unread click has waited longest. If one line is far above the "
        "others, a worker or a partition is stuck. If all lines rise, there are too few workers, or Kafka "
        "does not answer.",
        Query(
            f"topk(10, max by (group, partition) (nextclick_lag_seconds{{{WORKERS}}}))",
            "{{group}} {{partition}}",
        ),
        unit=units.Seconds,
        limits=above(20, 60),
        runbooks=["NextclickBehind", "NextclickPartitionStalled"],
    )
    yield graph(
        "CPU",
        "Use of a core by each worker. A worker can use one core at most.",
        Query(f"rate(process_cpu_seconds_total{{{_PROCESSES}}}[$__rate_interval])", "{{instance}}"),
        unit=units.PercentUnit,
        limits=above(0.7, 0.9),
        runbooks=["NextclickBusy"],
    )


def _time() -> Iterator[Panel]:
    quantiles = [
        Query(
            f"histogram_quantile({share}, sum by (le) (rate({name}_bucket{{{WORKERS}}}[$__rate_interval])))",
            legend,
        )
        for share, name, legend in (
            (0.5, _LISTS, "list sent, p50"),
            (0.99, _LISTS, "list sent, p99"),
            (0.99, _COMMITS, "list committed, p99"),
        )
    ]
    yield graph(
        "Time from click to list",
        "Time until the list is handed to the producer, and until its transaction is committed. Readers of "
        "committed records wait for the commit, which is at most about commit_interval later.",
        *quantiles,
        unit=units.Seconds,
        limits=above(0.5, 1),
        runbooks=["NextclickSlow"],
    )
    yield graph(
        "Time by stage",
        "Share of its time that the average worker spends in each stage. A stage that grows is the cause of "
        "slowness; `poll` is waiting for clicks.",
        Query(
            f"sum by (stage) (rate(nextclick_stage_seconds_total{{{WORKERS}}}[$__rate_interval]))"
            f" / scalar(count(nextclick_ready{{{WORKERS}}}))",
            "{{stage}}",
        ),
        unit=units.PercentUnit,
        stacked=True,
        runbooks=["NextclickSlow", "NextclickBusy"],
    )


def _failures() -> Iterator[Panel]:
    yield graph(
        "Alerts",
        "All alerts that fire. Empty: none. deploy/README.md has a section on each.",
        Query(f"count by (alertname) ({alerts()})", "{{alertname}}"),
        unit=units.Short,
        stacked=True,
    )
    yield graph(
        "Dead letters by reason",
        "Records that are not valid clicks.",
        Query(
            f"sum by (reason) (rate(nextclick_dead_letters_total{{{WORKERS}}}[$__rate_interval])) > 0",
            "{{reason}}",
        ),
        Query(f"sum(rate(nextclick_dead_letters_total{{{WORKERS}}}[$__rate_interval]))", "all"),
        unit=units.CountsPerSecond,
        runbooks=["NextclickDeadLetters"],
    )
    yield graph(
        "Failed attempts by reason",
        "Requests and transactions that failed and are repeated: Kafka or the schema registry did not "
        "answer, or partitions moved to other workers.",
        Query(
            f"sum by (reason) (increase(nextclick_failures_total{{{WORKERS}}}[$__rate_interval]))",
            "{{reason}}",
        ),
        unit=units.Short,
        runbooks=["NextclickWorkerNotReady", "NextclickCheckpointsFail"],
    )


def _transactions_and_requests() -> Iterator[Panel]:
    yield graph(
        "Checkpoints",
        "Committed and failed checkpoints per second. If one fails, its clicks are read again: nothing is "
        "lost.",
        Query(
            f"sum by (outcome) (rate(nextclick_checkpoints_total{{{WORKERS}}}[$__rate_interval]))",
            "{{outcome}}",
        ),
        unit=units.CountsPerSecond,
        runbooks=["NextclickNothingCommitted", "NextclickCheckpointsFail"],
    )
    yield graph(
        "Refused HTTP",
        "Requests without a valid token, and connections beyond the limit.",
        Query(
            f'sum(rate(nextclick_http_requests_total{{{WORKERS}, status=~"401|403"}}[$__rate_interval]))',
            "no valid token",
        ),
        Query(
            f"sum(rate(nextclick_http_refused_connections_total{{{WORKERS}}}[$__rate_interval]))",
            "too many connections",
        ),
        unit=units.CountsPerSecond,
        runbooks=["NextclickHttpRefused"],
    )
    yield graph(
        "Clicks deleted by Kafka",
        "Records of the last hour that Kafka deleted before a worker had answered them, or although their "
        "clicks were needed to load states.",
        Query(f"sum(increase(nextclick_unanswered_records_total{{{WORKERS}}}[1h]))", "without a list"),
        Query(f"sum(increase(nextclick_replay_missing_records_total{{{WORKERS}}}[1h]))", "missing in states"),
        unit=units.Short,
        runbooks=["NextclickClicksDeleted"],
    )


def _capacity() -> Iterator[Panel]:
    yield graph(
        "Partitions",
        "Partitions that are served, that are in recovery, and that the clicks topic has. If all workers are "
        "chosen, the first line must reach the last: otherwise nobody reads some partitions.",
        Query(f"sum(nextclick_assigned_partitions{{{WORKERS}}})", "served"),
        Query(f"sum(nextclick_recovering_partitions{{{WORKERS}}})", "in recovery"),
        Query(f"max(nextclick_topic_partitions{{{WORKERS}}})", "in the topic"),
        unit=units.Short,
        runbooks=["NextclickPartitionsUnread", "NextclickWorkerNotReady"],
    )
    yield graph(
        "Memory",
        "Resident memory of each worker. If a line drops to its start, the worker was restarted, "
        "perhaps because it ran out of memory.",
        Query(f"process_resident_memory_bytes{{{_PROCESSES}}}", "{{instance}}"),
        unit=units.BytesIEC,
        runbooks=["NextclickWorkerRestarts"],
    )
    yield graph(
        "Users",
        "Users with a state in memory, and users whose state was evicted within an hour.",
        Query(f"sum(nextclick_users{{{WORKERS}}})", "in memory"),
        Query(
            f"sum by (reason) (increase(nextclick_evicted_users_total{{{WORKERS}}}[1h]))",
            "evicted: {{reason}}",
        ),
        unit=units.Short,
        runbooks=["NextclickUsersEvicted"],
    )
