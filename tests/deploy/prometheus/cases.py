"""The series under which each alert fires and is silent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

WORKER: Final = 'job="nextclick-worker", group="shop", instance="a"'
OTHER: Final = 'job="nextclick-worker", group="shop", instance="b"'
TRAINER: Final = 'job="nextclick-trainer", group="shop", instance="t"'
STAND_BY: Final = 'job="nextclick-trainer", group="shop", instance="u"'


@dataclass(frozen=True)
class Case:
    """The series, one value a minute, under which an alert fires or is silent at a time."""

    alert: str
    at: str
    firing: dict[str, str]
    silent: dict[str, str]
    summary: str
    description: str
    labels: dict[str, str] = field(default_factory=lambda: {"group": "shop"})


A: Final = {"job": "nextclick-worker", "group": "shop", "instance": "a"}

CASES: Final = [
    Case(
        "NextclickNoWorker",
        "3m",
        {f"up{{{WORKER}}}": "0x10"},
        {f"up{{{WORKER}}}": "0x10", f"up{{{OTHER}}}": "1x10"},
        "No Nextclick worker answers",
        "Prometheus reaches no worker. Nobody gets recommendations.",
        {},
    ),
    Case(
        "NextclickWorkerDown",
        "6m",
        {f"up{{{WORKER}}}": "0x10", f"up{{{OTHER}}}": "1x10"},
        {f"up{{{WORKER}}}": "0x3 1x10"},
        "The worker a does not answer",
        "Prometheus has not reached it for 5 minutes.",
        A,
    ),
    Case(
        "NextclickWorkerNotReady",
        "11m",
        {f"nextclick_ready{{{WORKER}}}": "0x15"},
        {f"nextclick_ready{{{WORKER}}}": "0x8 1x10"},
        "The worker a is not ready",
        "It has not served all its partitions for 10 minutes. Its /readyz says why.",
        A,
    ),
    Case(
        "NextclickWorkerRestarts",
        "30m",
        {f"process_start_time_seconds{{{WORKER}}}": "100x5 200x5 300x5 400x20"},
        {f"process_start_time_seconds{{{WORKER}}}": "100x5 200x5 300x25"},
        "The worker a starts again and again",
        "It started 3 times within 30 minutes.",
        A,
    ),
    Case(
        "NextclickPartitionsUnread",
        "6m",
        {
            f"nextclick_topic_partitions{{{WORKER}}}": "6x10",
            f"nextclick_topic_partitions{{{OTHER}}}": "4x10",
            f"nextclick_assigned_partitions{{{WORKER}}}": "2x10",
            f"nextclick_recovering_partitions{{{WORKER}}}": "1x10",
            f"nextclick_assigned_partitions{{{OTHER}}}": "2x10",
            f"nextclick_recovering_partitions{{{OTHER}}}": "0x10",
        },
        {
            f"nextclick_topic_partitions{{{WORKER}}}": "6x10",
            f"nextclick_assigned_partitions{{{WORKER}}}": "2x10",
            f"nextclick_recovering_partitions{{{WORKER}}}": "1x10",
            f"nextclick_assigned_partitions{{{OTHER}}}": "2x3 3x10",
            f"nextclick_recovering_partitions{{{OTHER}}}": "0x10",
        },
        "Nobody reads some partitions of shop",
        "1 partitions of the clicks topic belong to no worker. Their clicks get no lists.",
    ),
    Case(
        "NextclickPartitionStalled",
        "8m",
        {
            f'nextclick_lag_seconds{{{WORKER}, partition="3"}}': "0+60x10",
            f'nextclick_lag_seconds{{{WORKER}, partition="4"}}': "5x10",
            f'nextclick_committed_offset{{{WORKER}, partition="3"}}': "7x10",
            f'nextclick_committed_offset{{{WORKER}, partition="4"}}': "7+60x10",
            f"nextclick_last_commit_timestamp_seconds{{{WORKER}}}": "0+60x10",
        },
        {
            f'nextclick_lag_seconds{{{WORKER}, partition="3"}}': "500x10",
            f'nextclick_committed_offset{{{WORKER}, partition="3"}}': "7+1x10",
            f"nextclick_last_commit_timestamp_seconds{{{WORKER}}}": "0+60x10",
        },
        "Partition 3 of shop stands still",
        "The worker a commits other partitions, but has not read the clicks of this one for 8m 0s.",
        A | {"partition": "3"},
    ),
    Case(
        "NextclickBehind",
        "20m",
        {
            f'nextclick_lag_seconds{{{WORKER}, partition="0"}}': "10x30",
            f'nextclick_lag_seconds{{{OTHER}, partition="1"}}': "90x30",
        },
        {f'nextclick_lag_seconds{{{WORKER}, partition="0"}}': "90x12 10x30"},
        "The workers of shop are more than a minute behind",
        "The oldest unread click has waited up to 1m 30s. "
        "Clicks older than recommend.publish_max_age get no list.",
    ),
    Case(
        "NextclickBusy",
        "25m",
        {f"process_cpu_seconds_total{{{WORKER}}}": "0+57x30"},
        {f"process_cpu_seconds_total{{{WORKER}}}": "0+51x30"},
        "The worker a is nearly at its limit",
        "It takes 95% of a core. One core is the most that it can use.",
        A,
    ),
    Case(
        "NextclickSlow",
        "20m",
        {
            f'nextclick_click_to_recommendation_seconds_bucket{{{WORKER}, le="1.0"}}': "0+98x30",
            f'nextclick_click_to_recommendation_seconds_bucket{{{WORKER}, le="2.5"}}': "0+100x30",
            f'nextclick_click_to_recommendation_seconds_bucket{{{WORKER}, le="+Inf"}}': "0+100x30",
        },
        {
            f'nextclick_click_to_recommendation_seconds_bucket{{{WORKER}, le="1.0"}}': "0+100x30",
            f'nextclick_click_to_recommendation_seconds_bucket{{{WORKER}, le="+Inf"}}': "0+100x30",
        },
        "Lists of shop come late",
        "One click in a hundred waits longer than 1.75s for its list.",
    ),
    Case(
        "NextclickNothingCommitted",  # as while the broker is frozen
        "15m",
        {
            f'nextclick_lag_seconds{{{WORKER}, partition="0"}}': "0+60x30",
            f'nextclick_lag_seconds{{{WORKER}, partition="1"}}': "0+60x30",
            f"nextclick_last_commit_timestamp_seconds{{{WORKER}}}": "0x30",
        },
        {
            f'nextclick_lag_seconds{{{WORKER}, partition="0"}}': "900x30",
            f"nextclick_last_commit_timestamp_seconds{{{WORKER}}}": "0+60x30",
            # Without clicks.
            f'nextclick_lag_seconds{{{OTHER}, partition="1"}}': "5x30",
            f"nextclick_last_commit_timestamp_seconds{{{OTHER}}}": "0x30",
        },
        "The worker a commits nothing",
        "Its last commit is more than 2 minutes old. Its oldest unread click has waited up to 15m 0s.",
        {"group": "shop", "instance": "a"},
    ),
    Case(
        "NextclickCheckpointsFail",
        "20m",
        {f'nextclick_failures_total{{{WORKER}, reason="timeout"}}': "0+1x30"},
        {
            f'nextclick_failures_total{{{WORKER}, reason="timeout"}}': "0x10 1x30",
            f'nextclick_failures_total{{{WORKER}, reason="kafka_away"}}': "0+1x30",
        },
        "Checkpoints of the worker a fail: timeout",
        "15 failed within 15 minutes. Nothing is lost: their clicks are read again.",
        A | {"reason": "timeout"},
    ),
    Case(
        "NextclickDeadLetters",
        "20m",
        {
            f'nextclick_records_total{{{WORKER}, became="clicks"}}': "0+54x30",
            f'nextclick_records_total{{{WORKER}, became="dead_letter"}}': "0+4x30",
            f'nextclick_records_total{{{OTHER}, became="dead_letter"}}': "0+2x30",
        },
        {
            f'nextclick_records_total{{{WORKER}, became="clicks"}}': "0+58x30",
            f'nextclick_records_total{{{WORKER}, became="skipped"}}': "0+60x30",
            f'nextclick_records_total{{{WORKER}, became="dead_letter"}}': "0+2x30",
        },
        "Many records of shop are not valid clicks",
        "10% of the records go to the dead-letter topic.",
    ),
    Case(
        "NextclickClicksDeleted",
        "70m",
        {f"nextclick_unanswered_records_total{{{WORKER}}}": "0+10x90"},
        {
            f"nextclick_unanswered_records_total{{{WORKER}}}": "700x90",
            f"nextclick_replay_missing_records_total{{{WORKER}}}": "0x90",
        },
        "Kafka deleted clicks that the worker a needed",
        "About 600 records are gone. They are missing from states or have no lists.",
        A,
    ),
    Case(
        "NextclickUsersEvicted",
        "90m",
        {f'nextclick_evicted_users_total{{{WORKER}, reason="max_users"}}': "0+10x90"},
        {f'nextclick_evicted_users_total{{{WORKER}, reason="ttl"}}': "0+10x90"},
        "The worker a has more users than state.max_users allows",
        "It evicted about 600 users within an hour. They start with an empty state.",
        A | {"reason": "max_users"},
    ),
    Case(
        "NextclickReleaseRefused",
        "70m",
        {f'nextclick_releases_refused_total{{{WORKER}, reason="golden"}}': "0x60 1x90"},
        {f'nextclick_releases_refused_total{{{WORKER}, reason="golden"}}': "3x90"},
        "The worker a refused a release",
        "It failed a check: golden. The release before it goes on serving.",
        A | {"reason": "golden"},
    ),
    Case(
        "NextclickReleasesDiffer",
        "15m",
        {f"nextclick_release{{{WORKER}}}": "4x20", f"nextclick_release{{{OTHER}}}": "3x20"},
        {f"nextclick_release{{{WORKER}}}": "3x5 4x20", f"nextclick_release{{{OTHER}}}": "3x9 4x20"},
        "Workers of shop serve different releases",
        "The newest of them is release 4. Some workers have not adopted it for 10 minutes.",
    ),
    Case(
        "NextclickNoBetterThanPopular",
        "480m",
        {
            f'nextclick_quality_clicks_total{{{WORKER}, release="4"}}': "0+10x500",
            f'nextclick_quality_hits_total{{{WORKER}, release="4"}}': "0+1x500",
            f'nextclick_quality_popular_hits_total{{{WORKER}, release="4"}}': "0+2x500",
        },
        {
            f'nextclick_quality_clicks_total{{{WORKER}, release="4"}}': "0+10x500",
            f'nextclick_quality_hits_total{{{WORKER}, release="4"}}': "0+2x500",
            f'nextclick_quality_popular_hits_total{{{WORKER}, release="4"}}': "0+1x500",
            # Too few clicks to say anything.
            f'nextclick_quality_clicks_total{{{WORKER}, release="5"}}': "0+2x500",
            f'nextclick_quality_hits_total{{{WORKER}, release="5"}}': "0x500",
            f'nextclick_quality_popular_hits_total{{{WORKER}, release="5"}}': "0+1x500",
        },
        "Release 4 of shop is no better than popular items",
        "Its live hit rate is 10%. A fixed list of popular items reaches as much.",
        {"group": "shop", "release": "4"},
    ),
    Case(
        "NextclickHttpRefused",
        "20m",
        {
            f'nextclick_http_requests_total{{{WORKER}, path="/v1/users", status="401"}}': "0+1x30",
            f'nextclick_http_requests_total{{{WORKER}, path="/v1/users", status="403"}}': "0+1x30",
        },
        {
            f'nextclick_http_requests_total{{{WORKER}, path="/v1/users", status="401"}}': "0x10 5x30",
            f'nextclick_http_requests_total{{{WORKER}, path="/v1/users", status="404"}}': "0+10x30",
        },
        "a refuses HTTP requests",
        "About 30 requests within 15 minutes had no valid token, or were cut off by too many others.",
        {"group": "shop", "instance": "a"},
    ),
    Case(
        "NextclickHttpRefused",  # too many connections
        "20m",
        {f"nextclick_http_refused_connections_total{{{WORKER}}}": "0+2x30"},
        {f"nextclick_http_refused_connections_total{{{WORKER}}}": "0x10 5x30"},
        "a refuses HTTP requests",
        "About 30 requests within 15 minutes had no valid token, or were cut off by too many others.",
        {"group": "shop", "instance": "a"},
    ),
    Case(
        "NextclickTrainerDown",
        "16m",
        {f"up{{{TRAINER}}}": "0x20", f"up{{{STAND_BY}}}": "1x20"},
        {f"up{{{TRAINER}}}": "0x10 1x10", f"up{{{WORKER}}}": "0x20"},
        "The trainer t does not answer",
        "Prometheus has not reached it for 15 minutes. If it was a stand-by, there is one less.",
        {"job": "nextclick-trainer", "group": "shop", "instance": "t"},
    ),
    Case(
        "NextclickNoTrainerLeads",
        "6m",
        {f"nextclick_trainer_leads{{{TRAINER}}}": "0x10", f"nextclick_trainer_leads{{{STAND_BY}}}": "0x10"},
        {f"nextclick_trainer_leads{{{TRAINER}}}": "1x10", f"nextclick_trainer_leads{{{STAND_BY}}}": "0x10"},
        "Not exactly one trainer leads",
        "0 trainers lead. Without one no release is made.",
    ),
    Case(
        "NextclickNoTrainerLeads",  # there is none
        "6m",
        {},
        {f"nextclick_trainer_leads{{{TRAINER}}}": "0x3 1x10"},
        "Not exactly one trainer leads",
        "0 trainers lead. Without one no release is made.",
        {},
    ),
    Case(
        "NextclickTrainingStale",
        "240m",
        {
            f"nextclick_trainer_last_success_timestamp_seconds{{{TRAINER}}}": "600x10 _x200 0x30",
            f"nextclick_trainer_last_success_timestamp_seconds{{{STAND_BY}}}": "0x240",
        },
        {
            f"nextclick_trainer_last_success_timestamp_seconds{{{TRAINER}}}": "600x90 5400x240",
            f"nextclick_trainer_last_success_timestamp_seconds{{{STAND_BY}}}": "0x240",
        },
        "No retraining run of shop has succeeded for at least two hours",
        "With the default run.every of 1h these are two runs or more. The workers serve an old release.",
    ),
    Case(
        "NextclickTrainingStale",  # a fresh installation: no run has succeeded yet
        "125m",
        {f"nextclick_trainer_last_success_timestamp_seconds{{{TRAINER}}}": "-9999x130"},
        {f"nextclick_trainer_last_success_timestamp_seconds{{{TRAINER}}}": "-9999x100 6000x30"},
        "No retraining run of shop has succeeded for at least two hours",
        "With the default run.every of 1h these are two runs or more. The workers serve an old release.",
    ),
    Case(
        "NextclickRunsFail",
        "70m",
        {f'nextclick_trainer_runs_total{{{TRAINER}, outcome="failed"}}': "0+1x90"},
        {
            f'nextclick_trainer_runs_total{{{TRAINER}, outcome="failed"}}': "0x20 1x90",
            f'nextclick_trainer_runs_total{{{TRAINER}, outcome="published"}}': "0+1x90",
        },
        "Retraining runs of shop fail",
        "60 runs failed within an hour, or diverged within six hours.",
    ),
    Case(
        "NextclickRunsFail",
        "370m",
        {f'nextclick_trainer_runs_total{{{TRAINER}, outcome="diverged"}}': "0+1x400"},
        {
            f'nextclick_trainer_runs_total{{{TRAINER}, outcome="diverged"}}': "0x60 1x400",
            f'nextclick_trainer_runs_total{{{TRAINER}, outcome="idle"}}': "0+1x400",
        },
        "Retraining runs of shop fail",
        "360 runs failed within an hour, or diverged within six hours.",
    ),
    Case(
        "NextclickRunsRefused",
        "370m",
        {f'nextclick_trainer_runs_total{{{TRAINER}, outcome="refused"}}': "0+1x400"},
        {
            f'nextclick_trainer_runs_total{{{TRAINER}, outcome="refused"}}': "0x60 1x400",
            f'nextclick_trainer_runs_total{{{TRAINER}, outcome="idle"}}': "0+1x400",
        },
        "The gate refuses the new releases of shop",
        "360 releases within six hours were worse than the champion.",
    ),
    Case(
        "NextclickWatchSilent",
        "15m",
        {f"nextclick_trainer_last_look_timestamp_seconds{{{TRAINER}}}": "60x20"},
        {f"nextclick_trainer_last_look_timestamp_seconds{{{TRAINER}}}": "0x4 0+60x20"},
        "Nobody watches the experiments",
        "The live hit rates have not been read for more than 5 minutes. No candidate is promoted or dropped.",
    ),
    Case(
        "NextclickWatchSilent",  # there is none
        "6m",
        {},
        {f"nextclick_trainer_last_look_timestamp_seconds{{{TRAINER}}}": "0+60x20"},
        "Nobody watches the experiments",
        "The live hit rates have not been read for more than 5 minutes. No candidate is promoted or dropped.",
        {},
    ),
]
