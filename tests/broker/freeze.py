"""A broker that is frozen for a while: what metrics, health and alerts of a worker say, every 10 s.

A frozen broker is worse than one that is away: connections stay open, and nothing says that it is gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from deploy.kafka.local import LocalKafka
from tests.broker.faults import Fleet
from tests.broker.load import Load, records
from tests.broker.process import WorkerProcess
from tests.broker.rounds import ITEMS, PARTITIONS, finish, stage
from tests.builders import tiny_release_parts
from tests.deploy.prometheus.local import LocalPrometheus
from tests.verdict import Verdict
from tests.waiting import eventually
from worker.core.release import verify

EVERY_SECONDS: Final = 10.0
_PER_SECOND: Final = 200
_JOB: Final = "nextclick-worker"


@dataclass(frozen=True)
class Moment:
    """What is seen at one time, in seconds since the broker was frozen; None: the metric is absent."""

    seconds: float
    lag_records: float | None
    lag_seconds: float | None
    commit_age: float | None
    ready: tuple[int, str]
    live: int
    alerts: dict[str, str]
    """The alerts of the worker that are pending or firing, with their state."""


@dataclass(frozen=True)
class Freeze:
    """All moments, in order, and what was left in the end."""

    moments: Sequence[Moment]
    verdict: Verdict


def run_freeze(
    node: LocalKafka, folder: Path, *, seconds: float, before: float = 20.0, after: float = 30.0
) -> Freeze:
    """Freeze a running node for `seconds` under a worker with default settings and clicks on their way.

    The clicks begin at least 10 s `before`, and the last moment is that long `after`.
    """
    parts = tiny_release_parts(ITEMS, hidden_size=32)
    given = records(
        np.random.default_rng(0),
        round(_PER_SECOND * (before + seconds + after)),
        users=1_000,
        items=len(ITEMS),
        partitions=PARTITIONS,
    )
    with stage(node, f"freeze-{time.time_ns()}") as deployment:
        release = verify(*parts, number=deployment.publish(*parts))
        load = Load(
            node.bootstrap, deployment.clicks, given, per_second=_PER_SECOND, log_path=folder / "load.log"
        )
        with Fleet(folder, deployment.settings) as fleet:
            fleet.do("start", "a")
            (worker,) = fleet.running
            worker.wait_until_ready(60)
            here = {"a": f"127.0.0.1:{worker.http_port}"}
            targets = {_JOB: here, "nextclick-trainer": {}, "nextclick-watch": {}}
            with LocalPrometheus(targets) as prometheus, load:
                marks = np.arange(-EVERY_SECONDS, seconds + after + 1, EVERY_SECONDS).tolist()
                began = time.monotonic() + before
                moments = [*_play(node, worker, prometheus, began=began, marks=marks, seconds=seconds)]
                eventually(lambda: load.done, 60, "the load to end")
                return Freeze(moments, finish(deployment, fleet, release))


def _play(
    node: LocalKafka,
    worker: WorkerProcess,
    prometheus: LocalPrometheus,
    *,
    began: float,
    marks: Sequence[float],
    seconds: float,
) -> Iterator[Moment]:
    try:
        for mark in marks:
            time.sleep(max(0.0, began + mark - time.monotonic()))
            if mark == 0:
                node.suspend()
            yield _seen(mark, worker, prometheus)
            if mark == seconds:
                node.resume()
    finally:
        node.resume()


def _seen(seconds: float, worker: WorkerProcess, prometheus: LocalPrometheus) -> Moment:
    lines = [line for line in worker.http("/metrics")[1].splitlines() if not line.startswith("#")]

    def values(name: str) -> list[float]:
        return [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"nextclick_{name}")]

    records, ages = values("lag_records{"), values("lag_seconds{")
    (commit,) = values("last_commit_timestamp_seconds ")
    return Moment(
        seconds,
        lag_records=sum(records) if records else None,
        lag_seconds=max(ages) if ages else None,
        commit_age=time.time() - commit if commit else None,
        ready=worker.http("/readyz"),
        live=worker.http("/livez")[0],
        alerts=alerts(prometheus),
    )


def alerts(prometheus: LocalPrometheus) -> dict[str, str]:
    """Return the states of the worker's alerts that are not inactive."""
    groups = prometheus.groups()
    return {
        rule["name"]: rule["state"]
        for rule in groups[_JOB]
        if rule["type"] == "alerting" and rule["state"] != "inactive"
    }


def table(moments: Sequence[Moment]) -> str:
    """Return the moments as a table in Markdown."""
    header = ("second", "lag, records", "lag, s", "last commit, s ago", "/readyz", "/livez", "alerts")
    rows = [
        (
            f"{one.seconds:g}",
            *(_number(value) for value in (one.lag_records, one.lag_seconds, one.commit_age)),
            f"{one.ready[0]} {one.ready[1].strip()}",
            f"{one.live}",
            ", ".join(f"{name} ({state})" for name, state in one.alerts.items()) or "none",
        )
        for one in moments
    ]
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _number(value: float | None) -> str:
    return "absent" if value is None else f"{value:.0f}"
