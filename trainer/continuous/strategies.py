"""How a round makes its release: by a training warm from the champion, or by a stream that goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any, Final, Protocol

import polars as pl

from trainer.clicks.cleaning import Removal, added, clean
from trainer.clicks.timestamps import HOUR_MS
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.continuous.plan import Champion, Plan, Window
from trainer.dataset.dataset import moment
from trainer.dataset.sessions import cut
from trainer.errors import TooFewClicks, TrainingDied
from trainer.release.package import PackagedRelease
from trainer.training import warm_start
from trainer.training.fit import fit
from trainer.training.online import OnlineTraining
from worker.errors import NextclickError, SettingError

_LONGEST_MS: Final = 24 * HOUR_MS
"""Sessions that last longer are cut."""

_TIME: Final = pl.col("timestamp_ms")


class Maker(Protocol):
    """What makes the release of a round."""

    def make(
        self, clicks: pl.LazyFrame, span: Window, champion: Champion | None, now: datetime
    ) -> PackagedRelease:
        """The release of the `clicks` before the held-out end. Raises UnusableClicks, SettingError."""


class Refit:
    """A training on the whole window, warm from the champion's weights where the plan says so.

    `asked`: the settings that were given by name; they must be as the champion's (`warm_start`).
    """

    def __init__(
        self, plan: Plan, settings: FitSettings, progress: Progress, *, asked: Collection[str]
    ) -> None:
        self._plan, self._settings, self._progress, self._asked = plan, settings, progress, asked

    def make(
        self, clicks: pl.LazyFrame, span: Window, champion: Champion | None, now: datetime
    ) -> PackagedRelease:
        """As `Maker` says."""
        parent = (
            PackagedRelease.verified(champion.manifest, champion.blob)
            if champion and self._plan.warm
            else None
        )
        settings = replace(self._settings, split_at_ms=span.split_at_ms)
        if parent:
            shape = warm_start.shaped_as(parent.manifest, settings, self._asked)
            settings = replace(settings, **shape, epochs=self._plan.warm_epochs)
        return fit(clicks, settings, self._progress, now=now, parent=parent)


class Apart:
    """Another maker, each time in a process of its own.

    TensorFlow keeps the graph of every training, some 15 MB, for as long as the process lives: here that is
    only until the release is made. And a training that is killed for its memory does not take the rest along.
    """

    def __init__(self, maker: Maker) -> None:
        self._maker = maker

    def make(
        self, clicks: pl.LazyFrame, span: Window, champion: Champion | None, now: datetime
    ) -> PackagedRelease:
        """As `Maker` says. Raises TrainingDied, and RuntimeError where the training ended by a fault."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe(duplex=False)
        arguments = (there, self._maker, clicks, span, champion, now)
        process = context.Process(target=_send, args=arguments, name="nextclick-training", daemon=True)
        process.start()
        there.close()
        with here:
            try:
                made = here.recv()
            except EOFError:
                process.join()
                raise _died(process.exitcode or 0) from None
        process.join()
        if isinstance(made, Exception):
            raise made
        return PackagedRelease.verified(*made)


def _send(to: Connection, maker: Maker, *arguments: Any) -> None:
    """Send what `maker` makes, or why it makes nothing."""
    # Whoever trains ends with the trainer, however that ends, and it alone hears what is to be stopped.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="nextclick-orphan", daemon=True).start()
    try:
        to.send(maker.make(*arguments).parts)
    except (NextclickError, OSError) as error:
        to.send(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _died(exit_code: int) -> Exception:
    """A signal may pass; what else ends a training is a fault, which trying again does not mend."""
    if exit_code < 0:
        return TrainingDied(
            f"the training was killed by signal {-exit_code}: "
            "it may need more memory, or a shorter --window-days"
        )
    return RuntimeError(f"the training ended with exit code {exit_code}; what it said is above")


class Streamed:
    """A stream that lives over the rounds: each learns the sessions that ended since the one before.

    Its memory is the window of the plan. In the first round, and after a restart, it is made anew from
    the clicks in that, an hour (or a round, if that is longer) at a time.
    """

    def __init__(self, plan: Plan, settings: FitSettings, progress: Progress) -> None:
        _check(settings)
        self._plan, self._progress = plan, progress
        self._settings = replace(settings, epochs=plan.warm_epochs)
        self._stream = OnlineTraining(
            self._settings,
            active_items=plan.page,
            active_half_life_hours=plan.page_half_life_hours,
            memory_hours=plan.window_days * 24,
        )
        self._until_ms: int | None = None
        """What ended before that was learned."""
        self._removed: list[Removal] = []
        """What cleaning took away of the clicks until then."""

    def make(
        self, clicks: pl.LazyFrame, span: Window, champion: Champion | None, now: datetime
    ) -> PackagedRelease:
        """As `Maker` says."""
        begin_ms = span.begin_ms if self._until_ms is None else self._until_ms
        now_ms = round(now.timestamp() * 1000)
        recent = clicks.filter(begin_ms - _LONGEST_MS <= _TIME).collect(engine="streaming")
        sessions = self._sessions(recent, now_ms)
        learned, removed = 0, list[Removal]()
        for after_ms, until_ms in _steps(begin_ms, span.split_at_ms, round(self._plan.every_seconds * 1000)):
            ended = sessions.filter((pl.col("ended_ms") > after_ms) & (pl.col("ended_ms") <= until_ms))
            if len(ended):
                self._stream.apply(ended, until_ms)
                if until_ms < span.split_at_ms:
                    self._stream.release(until_ms)
            learned += len(ended)
            # Duplicates have the same time, so parts divided by time are cleaned as the whole is.
            _, here = clean(recent.filter(_TIME.is_between(after_ms, until_ms, closed="left")), now_ms=now_ms)
            self._removed, removed = added(self._removed, here), added(removed, here)
            self._until_ms = until_ms
        for removal in removed:
            if removal.removed:
                self._progress.say(str(removal))
        self._progress.say(f"learned {learned:,} clicks, those of sessions that have ended since")
        if not len(self._stream.catalogue):
            raise TooFewClicks("no session ended before the held-out end")
        fitted = self._stream.release(span.split_at_ms, created_at=now.isoformat(timespec="seconds"))
        cleaning = [removal._asdict() for removal in self._removed]
        return fitted.with_training(test_from=moment(span.split_at_ms), cleaning=cleaning)

    def _sessions(self, clicks: pl.DataFrame, now_ms: int) -> pl.DataFrame:
        """The sessions in `clicks`, with a column `ended_ms`: when it was known that they were over."""
        gap_seconds = self._settings.session_gap_seconds
        cleaned, _ = clean(clicks, now_ms=now_ms)
        sessions = cut(cleaned, gap_seconds=gap_seconds)
        return sessions.with_columns(ended_ms=_TIME.max().over("session") + round(gap_seconds * 1000))


def _steps(begin_ms: int, end_ms: int, every_ms: int) -> Iterator[tuple[int, int]]:
    """From `begin_ms` to `end_ms` in steps of `every_ms`, but no shorter than an hour where there is one.

    >>> list(_steps(0, 9_000_000, every_ms=60_000))
    [(0, 3600000), (3600000, 7200000), (7200000, 9000000)]
    """
    step_ms = max(every_ms, HOUR_MS)
    for after_ms in range(begin_ms, end_ms, step_ms):
        yield after_ms, min(after_ms + step_ms, end_ms)


_WITHOUT_EFFECT: Final = (
    "negatives",
    "class_weight_power",
    "average_decay",
    "full_batch",
    "carry_state",
    "patience",
    "min_item_count",
    "repeat_seconds",
    "max_clicks_per_hour",
    "max_clicks_per_day",
    "settle",
    "min_value_count",
    "value_separator",
    "test_fraction",
    "validation_fraction",
    "checkpoint_seconds",
)
"""Settings that a stream would pass over. With `negatives` its loss would even be wrong: it draws none."""


def _check(settings: FitSettings) -> None:
    """Raises SettingError where a stream cannot be of that kind."""
    wanted = {"output_table": "tied", "output_bias": False, "normalize": True, "schedule": "constant"}
    wrong = [
        f"{name} is {getattr(settings, name)!r}, it must be {value!r}"
        for name, value in wanted.items()
        if getattr(settings, name) != value
    ]
    if not settings.session_gap_seconds:
        wrong.append("session_gap_minutes is 0, it must be more: sessions are learned when they have ended")
    if settings.categorical or settings.numeric:
        wrong.append("item_features, categorical and numeric: a stream knows no features, leave them out")
    usual = FitSettings()
    idle = [name for name in _WITHOUT_EFFECT if getattr(settings, name) != getattr(usual, name)]
    if idle:
        wrong.append(f"{', '.join(idle)}: without effect on a stream, leave them out")
    if wrong:
        raise SettingError("with --streaming " + "; ".join(wrong))
