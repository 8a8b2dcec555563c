"""Clicks per second of one process that has more to read than it can, counted where they are committed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any, Final, Protocol

import psutil

from tests.benchmarks.stand import Committed, Stand
from tests.broker.process import WorkerProcess

STAGES: Final = ("poll", "decode", "apply", "rank", "publish", "commit")

_START_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Load:
    """`clicks` wait in the topic; counted are those after the first `skipped`, for `seconds` at the most.

    What is skipped pays for the start: connecting, joining, the first of everything.
    """

    clicks: int
    skipped: int
    seconds: float


@dataclass(frozen=True)
class Speed:
    """What came out of one run.

    `costs` are microseconds per click: `cpu` of the whole process, which holds on a busy machine too,
    and the stages of a worker, which are times.
    """

    events_per_second: float
    costs: Mapping[str, float]


class Running(Protocol):
    """A process that is being measured."""

    @property
    def pid(self) -> int:
        """Its process id."""


def warm_up(stand: Stand, items: int, load: Load) -> None:
    """Keep Kafka busy for a while: in its first seconds it compiles itself, at everyone else's cost."""
    of_passthrough(stand, items, load)


def of_passthrough(stand: Stand, items: int, load: Load) -> Speed:
    """The speed of poll and send alone, on the clicks for a catalogue of `items`."""
    settings = stand.settings(items, clicks=stand.loaded_clicks(items, load.clicks))
    return _measured(stand, settings, stand.passthrough(settings), load)


def of_worker(stand: Stand, items: int, publish: str, load: Load) -> Speed:
    """The speed of a worker with a catalogue of `items`."""
    loaded = stand.loaded_clicks(items, load.clicks)
    settings = stand.settings(items, clicks=loaded, publish=publish, publish_max_age_seconds=0)
    return _measured(stand, settings, stand.worker(settings), load)


def _measured(
    stand: Stand, settings: Mapping[str, Any], process: AbstractContextManager[Running], load: Load
) -> Speed:
    progress = Committed(stand.bootstrap, settings["group"], settings["topics"]["clicks"])
    with closing(progress), process as running:
        begin, skipped = progress.at_least(load.skipped, seconds=_START_SECONDS)
        cpu, stages = _cpu_seconds(running), _stages(running)
        end, done = progress.at_least(load.clicks, seconds=load.seconds)
        costs = {"cpu": 1e6 * (_cpu_seconds(running) - cpu) / (done - skipped or 1)}
        costs |= _per_click(stages, _stages(running))
    if done == skipped:
        raise RuntimeError(f"{settings['group']}: no progress in {load.seconds:g} s after {skipped} clicks")
    return Speed((done - skipped) / (end - begin), costs)


def _cpu_seconds(running: Running) -> float:
    times = psutil.Process(running.pid).cpu_times()
    return times.user + times.system


def _stages(running: Running) -> dict[str, float]:
    """Seconds by stage, and under the empty name the number of clicks; nothing of the passthrough."""
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
