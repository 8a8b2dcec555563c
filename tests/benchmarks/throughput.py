"""Clicks per second of one process that has more to read than it can, counted where they are committed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import click
import psutil

from tests.benchmarks.stand import Committed, Stand
from tests.broker.process import WorkerProcess

STAGES: Final = ("poll", "decode", "apply", "rank", "publish", "commit")

_START_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Load:
    """How long a process is watched: clicks are counted for `seconds`, after those of the first.

    The skipped seconds, from the first commit on, pay for the first of everything.
    """

    skipped_seconds: float
    seconds: float


@dataclass(frozen=True)
class Speed:
    """The outcome of one run.

    `costs` are microseconds per click: `cpu` of the whole process, which holds on a busy machine too,
    and the stages of a worker, which are times.
    """

    events_per_second: float
    costs: Mapping[str, float]


class Running(Protocol):
    """A process that is being measured."""

    @property
    def pid(self) -> int:
        """Return its process id."""


def of_passthrough(stand: Stand, items: int, load: Load, *, at_once: bool = False) -> Speed:
    """Return the speed of poll and send alone, on the clicks for a catalogue of `items`.

    `at_once`: whether it sends all records of a partition at once, as the worker does.
    """
    return _measured(stand, items, load, partial(stand.passthrough, at_once=at_once))


def of_worker(stand: Stand, items: int, publish: str, load: Load) -> Speed:
    """Return the speed of a worker with a catalogue of `items`."""
    return _measured(stand, items, load, stand.worker, publish=publish, publish_max_age=0)


def _measured(
    stand: Stand,
    items: int,
    load: Load,
    start: Callable[[Mapping[str, Any]], AbstractContextManager[Running]],
    **recommend: Any,
) -> Speed:
    """Run a process with more to read than it can; once more with twice as much where that was too little."""
    backlog = stand.backlog(items)
    while True:
        backlog.fill(stand.pace.clicks(load.skipped_seconds + load.seconds))
        settings = stand.settings(items, clicks=backlog.topic, **recommend)
        speed = _watched(stand, settings, start(settings), load, backlog.number)
        if speed is not None:
            stand.pace.saw(speed.events_per_second)
            return speed
        stand.pace.outrun()
        click.echo(f"{backlog.number} clicks were too few: once more, with twice as many", err=True)


def _watched(
    stand: Stand,
    settings: Mapping[str, Any],
    process: AbstractContextManager[Running],
    load: Load,
    clicks: int,
) -> Speed | None:
    """Return the speed of one run; None where it came to the last of the `clicks` before its time."""
    progress = Committed(stand.bootstrap, settings["group"], settings["topics"]["clicks"])
    with closing(progress), process as running:
        if not progress.at_least(1, seconds=_START_SECONDS)[1]:
            raise RuntimeError(f"{settings['group']}: nothing is committed after {_START_SECONDS:g} s")
        begin, skipped = progress.at_least(clicks, seconds=load.skipped_seconds)
        cpu, stages = _cpu_seconds(running), _stages(running)
        end, done = progress.at_least(clicks, seconds=load.seconds)
        if done >= clicks:
            return None
        if done == skipped:
            raise RuntimeError(
                f"{settings['group']}: no progress in {load.seconds:g} s after {skipped} clicks"
            )
        costs = {"cpu": 1e6 * (_cpu_seconds(running) - cpu) / (done - skipped)}
        costs |= _per_click(stages, _stages(running))
    return Speed((done - skipped) / (end - begin), costs)


def _cpu_seconds(running: Running) -> float:
    times = psutil.Process(running.pid).cpu_times()
    return times.user + times.system


def _stages(running: Running) -> dict[str, float]:
    """Return seconds by stage, and under the empty name the number of clicks; nothing of the passthrough."""
    if not isinstance(running, WorkerProcess):
        return {}
    scraped = running.http("/metrics")[1]
    stages = re.findall(r'^nextclick_stage_seconds_total\{stage="(\w+)"\} (\S+)$', scraped, re.MULTILINE)
    (clicks,) = re.findall(r"^nextclick_clicks_total (\S+)$", scraped, re.MULTILINE)
    return {name: float(value) for name, value in [*stages, ("", clicks)]}


def _per_click(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    grown = {name: value - before.get(name, 0) for name, value in after.items()}
    clicks = grown.pop("", 0)
    return {name: 1e6 * grown.get(name, 0) / clicks for name in STAGES} if clicks else {}
