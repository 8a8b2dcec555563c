"""The cost of saving in bytes, throughput and latency; and how soon all is back afterwards."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import click
import numpy as np

from tests.benchmarks import logs, per_user
from tests.benchmarks.backlog import Backlog
from tests.benchmarks.clicks import Flow
from tests.benchmarks.compaction import wait_until_compacted
from tests.benchmarks.frame import Figures
from tests.benchmarks.latency import Reader
from tests.benchmarks.population import Numbers, histories, prime, spread
from tests.benchmarks.stand import PARTITIONS, Committed, Stand
from tests.broker.process import WorkerProcess
from worker.kafka.connection import KafkaConnection
from worker.topics import needs

ITEMS: Final = 4_000
RATE: Final = 10_000
SLOW_RATE: Final = 1_000
NEVER_SECONDS: Final = 1e9
"""A flush interval under which nothing is saved."""

_RESTORE_SECONDS: Final = 600.0
"""A limit for what hangs, not for what is slow."""


@dataclass(frozen=True)
class Sizes:
    """How many users, and how long each thing is done. The number of clicks follows from the speed."""

    users: int
    few_users: int
    precision_clicks: int
    """At most that many before the test sessions begin, and after."""
    restores: int
    rounds: int
    flush_seconds: float
    """The worker's flush interval."""
    steady_seconds: float
    skipped_seconds: float
    """Before throughput is counted: of the first flushes each finds less than an interval's changes."""
    counted_seconds: float
    quiet_seconds: float
    """Before workers that serve are stopped, and after."""
    settle_seconds: float
    """Between two restores."""
    compacted_seconds: float
    """Compaction is over when a topic has not changed in size for this long: Kafka looks every 15 s."""
    broker: Mapping[str, str]
    worker: Mapping[str, int]
    """Properties of Kafka, and `[kafka]` settings of the worker."""


class Saved(NamedTuple):
    """The users who clicked while states were saved, one after the other, and the clicks of all before."""

    users: Numbers
    before: Numbers
    clicks_each_flush: int


def primed(stand: Stand, users: int, *, partitions: int = PARTITIONS, **recommend: Any) -> dict[str, Any]:
    """Return the settings of a worker whose state topic has the states of `users` users; none is started."""
    settings = stand.settings(ITEMS, partitions=partitions, **recommend) | {"log": logs.JSON}
    prime(stand.bootstrap, settings, spread(users, partitions), items=ITEMS)
    return settings


def flushing(settings: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Return the settings with that flush interval."""
    return {**settings, "state": {"flush_interval": seconds}}


def steady(stand: Stand, sizes: Sizes) -> Figures:
    """Measure the bytes of steady saving, then kill the worker and restore all, by blocks and by users."""
    settings = flushing(primed(stand, sizes.users), sizes.flush_seconds)
    figures, saved = _saved(stand, settings, sizes)
    crashed = _restored(stand, settings, sizes)
    clean = [_restored(stand, settings, sizes) for _ in range(sizes.restores)]
    figures |= {
        "restore_1m_seconds": statistics.median(one["seconds"] for one in clean),
        "restore_1m_megabytes": clean[-1]["megabytes"],
        "restore_1m_start_to_ready_seconds": statistics.median(one["ready"] for one in clean),
        "restore_1m_after_kill_seconds": crashed["seconds"],
        "restore_1m_after_kill_replay_seconds": crashed["replay_seconds"],
        "restore_1m_after_kill_replayed_clicks": crashed["replayed"],
    }
    read = _per_user_seconds(stand, saved, sizes)
    figures |= {f"restore_per_user_{name}_1m_seconds": seconds for name, seconds in read.items()}
    figures["restore_over_per_user"] = read["saved"] / figures["restore_1m_seconds"]
    return figures


def _saved(stand: Stand, settings: Mapping[str, Any], sizes: Sizes) -> tuple[Figures, Saved]:
    with (
        stand.worker(settings) as worker,
        Flow(
            stand.bootstrap, settings["topics"]["clicks"], users=sizes.users, items=ITEMS, rate=RATE
        ) as flow,
    ):
        logs.recovered(worker, PARTITIONS, seconds=_RESTORE_SECONDS)
        time.sleep(min(sizes.flush_seconds * 1.5, sizes.steady_seconds / 2))
        begin, before, began = flow.sent, _counts(worker), time.monotonic()
        time.sleep(sizes.steady_seconds)
        end, after, seconds = flow.sent, _counts(worker), time.monotonic() - began
        worker.kill9()
    numbers = np.take(flow.users, np.arange(begin, end), mode="wrap")
    made = histories(sizes.users) + np.bincount(
        np.take(flow.users, np.arange(begin), mode="wrap"), minlength=sizes.users
    )
    clicks_applied = after["clicks"] - before["clicks"]
    saved = Saved(numbers, made, round(clicks_applied / seconds * sizes.flush_seconds))
    theirs = per_user.bytes_per_click(numbers, made, items=ITEMS, clicks_each_flush=saved.clicks_each_flush)
    return {
        "state_bytes_per_click": (after["bytes"] - before["bytes"]) / clicks_applied,
        "per_user_bytes_per_click": theirs,
        "saved_users_per_click": (after["users"] - before["users"]) / clicks_applied,
        "steady_clicks_per_second": clicks_applied / seconds,
        "steady_save_seconds_per_second": (after["save"] - before["save"]) / seconds,
        "steady_lag_records": after["lag"],
    }, saved


def _counts(worker: WorkerProcess) -> Figures:
    return {
        "clicks": worker.metric("nextclick_clicks_total"),
        "bytes": worker.metric("nextclick_state_bytes_total"),
        "users": worker.metric("nextclick_saved_users_total"),
        "save": worker.metric("nextclick_stage_seconds_total", stage="save"),
        "lag": worker.metric("nextclick_lag_records"),
    }


def _restored(stand: Stand, settings: Mapping[str, Any], sizes: Sizes) -> Figures:
    """Measure from the moment a fresh worker is given the partitions to the moment it serves all of them."""
    began = time.time()
    with stand.worker(settings) as worker:
        partitions = logs.recovered(worker, PARTITIONS, seconds=_RESTORE_SECONDS)
        # Sure to be there: it is what recovery begins with.
        assigned = logs.events(worker, "partitions assigned")[0]["at"]
        found = sum(one["users"] for one in partitions)
        if found < sizes.users:
            raise RuntimeError(f"{found} of {sizes.users} users came back")
        time.sleep(sizes.settle_seconds)
    served = max(one["at"] for one in partitions)
    return {
        "seconds": served - assigned,
        "ready": served - began,
        "megabytes": sum(one["megabytes"] for one in partitions),
        "replayed": sum(one["replayed"] for one in partitions),
        "replay_seconds": max(one["replay_seconds"] for one in partitions),
    }


def _per_user_seconds(stand: Stand, saved: Saved, sizes: Sizes) -> Figures:
    """Return how long a record per user takes to read: freshly written, and after saving the same clicks."""
    topic = f"per-user-{time.time_ns()}"
    need = needs.Need(topic, (), partitions=PARTITIONS, settings=needs.COMPACTED)
    with closing(KafkaConnection(stand.bootstrap).admin()) as admin:
        needs.create(admin, [need], partitions=PARTITIONS, replication=1)
    everyone = spread(sizes.users, PARTITIONS)
    per_user.write(stand.bootstrap, topic, everyone, saved.before, items=ITEMS)
    found = {"fresh": _read_seconds(stand, topic, sizes)}
    for changed, made in per_user.flushes(saved.users, saved.before, saved.clicks_each_flush):
        flushed = {
            partition: np.intersect1d(of, changed, assume_unique=True) for partition, of in everyone.items()
        }
        per_user.write(stand.bootstrap, topic, flushed, made, items=ITEMS)
    wait_until_compacted(stand.bootstrap, topic, quiet_seconds=sizes.compacted_seconds)
    return found | {"saved": _read_seconds(stand, topic, sizes)}


def _read_seconds(stand: Stand, topic: str, sizes: Sizes) -> float:
    taken = []
    for _ in range(sizes.restores):
        seconds, users = per_user.read_seconds(stand.bootstrap, topic)
        if users != sizes.users:
            raise RuntimeError(f"{users} of {sizes.users} users were read")
        taken.append(seconds)
    return statistics.median(taken)


def cost(stand: Stand, sizes: Sizes) -> Figures:
    """Measure the throughput of a worker with more to read than it can, with saving and without, in turns."""
    settings = primed(stand, sizes.users, publish_max_age=0)
    topic = settings["topics"]["clicks"]
    backlog = Backlog(stand.sender.all_at_once, topic, items=ITEMS, users=sizes.users)
    with_saving, without = flushing(settings, sizes.flush_seconds), flushing(settings, NEVER_SECONDS)
    shares, stages, speeds = [], [], []
    for _ in range(sizes.rounds):
        saving, share = _speed(stand, with_saving, backlog, sizes.skipped_seconds, sizes)
        bare, _ = _speed(stand, without, backlog, sizes.skipped_seconds / 4, sizes)
        shares.append(1 - saving / bare)
        stages.append(share)
        speeds.append(bare)
    return {
        "save_cost_share": statistics.median(shares),
        "save_stage_share": statistics.median(stages),
        "unsaved_clicks_per_second": statistics.median(speeds),
    }


def _speed(
    stand: Stand, settings: Mapping[str, Any], backlog: Backlog, skipped: float, sizes: Sizes
) -> tuple[float, float]:
    """Return clicks per second, and the share of the loop's time that step 1 of the checkpoint took.

    Before each run the backlog is filled for the fastest speed seen; a run that reaches its end is repeated.
    """
    while True:
        with closing(Committed(stand.bootstrap, settings["group"], backlog.topic)) as progress:
            read = progress.at_least(0, seconds=0)[1]
        backlog.fill(stand.pace.clicks(skipped + sizes.counted_seconds), read=read)
        speed, share, left = _watched(stand, settings, skipped, sizes)
        if left:
            stand.pace.saw(speed)
            return speed, share
        stand.pace.outrun()
        click.echo("the backlog was too short: once more, with twice as much", err=True)


def _watched(
    stand: Stand, settings: Mapping[str, Any], skipped: float, sizes: Sizes
) -> tuple[float, float, float]:
    """Return clicks per second, the share of saving, and how many clicks were left at the end."""
    with stand.worker(settings) as worker:
        logs.recovered(worker, PARTITIONS, seconds=_RESTORE_SECONDS)
        time.sleep(skipped)
        began, before = time.monotonic(), _counts(worker)
        time.sleep(sizes.counted_seconds)
        seconds, after = time.monotonic() - began, _counts(worker)
    grown = {name: (after[name] - before[name]) / seconds for name in after}
    return grown["clicks"], grown["save"], after["lag"]


def latency(stand: Stand, sizes: Sizes) -> Figures:
    """Measure click to recommendation, uncommitted, with saving and without, in turns."""
    settings = primed(stand, sizes.few_users)
    found: dict[float, list[float]] = {sizes.flush_seconds: [], NEVER_SECONDS: []}
    for _ in range(sizes.rounds):
        for interval, p99s in found.items():
            p99s.append(_p99(stand, flushing(settings, interval), sizes))
    extra = [a - b for a, b in zip(found[sizes.flush_seconds], found[NEVER_SECONDS], strict=True)]
    return {
        "saving_extra_p99_seconds": statistics.median(extra),
        "saving_p99_seconds": statistics.median(found[sizes.flush_seconds]),
    }


def _p99(stand: Stand, settings: Mapping[str, Any], sizes: Sizes) -> float:
    topics = settings["topics"]
    with stand.worker(settings) as worker, ExitStack() as life:
        logs.recovered(worker, PARTITIONS, seconds=_RESTORE_SECONDS)
        reader = Reader(stand.bootstrap, topics["recommendations"], "read_uncommitted")
        life.callback(reader.stop)
        flow = Flow(
            stand.bootstrap, topics["clicks"], users=sizes.few_users, items=ITEMS, rate=SLOW_RATE, watch=True
        )
        with flow:
            time.sleep(sizes.skipped_seconds / 4)
            counted_from = time.perf_counter()
            time.sleep(sizes.counted_seconds)
        reader.wait_for(flow.watched)
    taken = [
        reader.seen[at] - begin
        for at, begin in flow.watched.items()
        if begin >= counted_from and at in reader.seen
    ]
    return float(np.percentile(taken, 99))
