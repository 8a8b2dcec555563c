"""The dashboard of continuous training: whether releases are made, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import GROUPS, Panel, Query, above, dashboard, graph, only, stat

_HOUR: Final = 3_600
_PROCESSES: Final = f'job="nextclick-trainer", {GROUPS}'


def training() -> Dashboard:
    """Return the dashboard of continuous training."""
    return dashboard(
        "nextclick-training",
        "Nextclick: training",
        "The limits of the first row suit retraining every hour (run.every).",
        {
            "Is it well?": [*_state()],
            "Runs": [*_runs()],
            "Training and gate": [*_training()],
            "Releases and processes": [*_processes()],
        },
        period="24h",
    )


def _state() -> Iterator[Panel]:
    yield stat(
        "Trainers that lead",
        "Exactly one trainer must lead. The others are on standby.",
        f"sum(nextclick_trainer_leads{{{GROUPS}}})",
        unit=units.Short,
        limits=only(1),
        runbooks=["NextclickNoTrainerLeads", "NextclickTrainerDown"],
    )
    yield stat(
        "Last success",
        "Time since the last retraining run that succeeded, with or without a release.",
        f"time() - max(nextclick_trainer_last_success_timestamp_seconds{{{GROUPS}}} > 0)",
        unit=units.Seconds,
        limits=above(2 * _HOUR, 3 * _HOUR),
        runbooks=["NextclickTrainingStale"],
    )
    yield stat(
        "Newest release",
        "Time since the newest release was made. It may be old although all runs succeed: the gate refuses "
        "releases that are no better.",
        f"time() - max(nextclick_trainer_last_release_timestamp_seconds{{{GROUPS}}} > 0)",
        unit=units.Seconds,
        limits=above(24 * _HOUR, 72 * _HOUR),
        runbooks=["NextclickRunsRefused"],
    )
    yield stat(
        "Failed runs",
        "Retraining runs that failed or diverged within 6 hours.",
        f'round(sum(increase(nextclick_trainer_runs_total{{{GROUPS}, outcome=~"failed|diverged"}}[6h])))',
        unit=units.Short,
        limits=above(1, 3),
        runbooks=["NextclickRunsFail"],
    )
    yield stat(
        "Refused runs",
        "Retraining runs within 6 hours whose release the gate refused, as it was worse than the champion.",
        f'round(sum(increase(nextclick_trainer_runs_total{{{GROUPS}, outcome="refused"}}[6h])))',
        unit=units.Short,
        limits=above(1, 3),
        runbooks=["NextclickRunsRefused"],
    )
    yield stat(
        "Last run",
        "Duration of the last retraining run. It must stay below run.every.",
        f"max(nextclick_trainer_run_seconds{{{GROUPS}}})",
        unit=units.Seconds,
        limits=above(0.5 * _HOUR, _HOUR),
        runbooks=["NextclickTrainingStale"],
    )


def _runs() -> Iterator[Panel]:
    yield graph(
        "Runs by outcome",
        "Retraining runs within an hour. `idle`: no new clicks; `too_few`: too few clicks to train on.",
        Query(f"sum by (outcome) (increase(nextclick_trainer_runs_total{{{GROUPS}}}[1h]))", "{{outcome}}"),
        unit=units.Short,
        stacked=True,
        runbooks=["NextclickRunsFail", "NextclickRunsRefused"],
    )
    yield graph(
        "Duration by stage",
        "Duration of each stage of the last run.",
        Query(f"max by (stage) (nextclick_trainer_stage_seconds{{{GROUPS}}})", "{{stage}}"),
        unit=units.Seconds,
        stacked=True,
        runbooks=["NextclickTrainingStale"],
    )
    yield graph(
        "Clicks",
        "Clicks in the last training. With run.strategy `online`: all clicks since the training started.",
        Query(f"max(nextclick_trainer_clicks{{{GROUPS}}})", "clicks"),
        unit=units.Short,
        runbooks=["NextclickRunsRefused"],
    )


def _training() -> Iterator[Panel]:
    yield graph(
        "Training loss",
        "Loss in the last epoch of the last training. If it jumps, the clicks have changed, or the "
        "training diverges.",
        Query(f"max(nextclick_trainer_loss{{{GROUPS}}})", "loss"),
        unit=units.Short,
        runbooks=["NextclickRunsFail"],
    )
    yield graph(
        "Gate: new release minus champion",
        "Difference of the gate metric on the hold-out of the last run. Below 0 the new release is worse.",
        Query(f"max(nextclick_trainer_gate_difference{{{GROUPS}}})", "difference"),
        unit=units.Short,
        negative=True,
        runbooks=["NextclickRunsRefused"],
    )
    yield graph(
        "Decisions of the gate",
        "New releases within 24 hours, by comparison with the champion.",
        Query(
            f"sum by (decision) (increase(nextclick_trainer_gate_decisions_total{{{GROUPS}}}[24h]))",
            "{{decision}}",
        ),
        unit=units.Short,
        stacked=True,
        runbooks=["NextclickRunsRefused"],
    )


def _processes() -> Iterator[Panel]:
    yield graph(
        "Releases",
        "Number of the newest release, and of the champion that workers serve. With run.policy `candidate`, "
        "the champion follows when the candidate has won.",
        Query(f"max(nextclick_trainer_release{{{GROUPS}}})", "newest"),
        Query(f"max(nextclick_release{{{GROUPS}}})", "champion in service"),
        unit=units.Short,
        runbooks=["NextclickReleaseRefused", "NextclickReleasesDiffer"],
    )
    yield graph(
        "CPU",
        "Use of a core by each trainer, without the process that trains (run.strategy `retrain`).",
        Query(f"rate(process_cpu_seconds_total{{{_PROCESSES}}}[$__rate_interval])", "{{instance}}"),
        unit=units.PercentUnit,
    )
    yield graph(
        "Memory",
        "Resident memory of each trainer, without the process that trains (run.strategy `retrain`).",
        Query(f"process_resident_memory_bytes{{{_PROCESSES}}}", "{{instance}}"),
        unit=units.BytesIEC,
    )
