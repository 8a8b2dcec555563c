"""Strategies of retraining runs: train on all clicks of a window (`Refit`), or train online (`Online`).

TensorFlow takes seconds and a lot of memory to load, so only the process that trains imports it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

import polars as pl

from trainer.clicks.cleaning import Removal, added, clean
from trainer.clicks.timestamps import HOUR_MS
from trainer.config import FitSettings, Run
from trainer.config.fitting import keys_with
from trainer.console import Progress
from trainer.continuous.plan import Window
from trainer.dataset.dataset import moment
from trainer.dataset.decisions import applied, exclude_recent, open_keys
from trainer.dataset.sessions import cut
from trainer.errors import TooFewClicks, TrainingDiverged
from trainer.release.package import PackagedRelease
from trainer.training.decisions import of_online_training
from worker.errors import SettingError
from worker.settings.fields import duration_text, fact, fields_of, is_duration, value_of
from worker.settings.loading import literal, replaced

if TYPE_CHECKING:
    from trainer.training.online import OnlineTraining

_LONGEST_MS: Final = 24 * HOUR_MS
"""Maximum length of a session in online training; longer sessions are cut."""

_TIME: Final = pl.col("timestamp_ms")


class Strategy(Protocol):
    """A way to train the release of a run."""

    def train(
        self, clicks: pl.LazyFrame, span: Window, champion: PackagedRelease | None, now: datetime
    ) -> PackagedRelease:
        """Return a release trained on the `clicks` before the hold-out of `span`.

        Raises UnusableClicks, SettingError, TrainingDiverged.
        """

    def finish(
        self, clicks: pl.LazyFrame, span: Window, measured: PackagedRelease, now: datetime
    ) -> PackagedRelease:
        """Return the release to publish for `measured`, which has passed the gate on the hold-out of `span`.

        It may have learned the hold-out. Raises UnusableClicks, SettingError.
        """


class Refit:
    """Training on the whole window; with `run.warm`, it starts from the champion's weights.

    `asked`: the settings that the user set explicitly. Explicit settings of the network's shape must match
    the champion (`warm_start`). Raises SettingError if the settings choose another hold-out.
    """

    def __init__(
        self, plan: Run, settings: FitSettings, progress: Progress, *, asked: Collection[str]
    ) -> None:
        if settings.dataset.leave_last:
            raise SettingError(
                f"dataset.leave_last ({settings.dataset.leave_last}): in `run`, the hold-out is chosen by "
                "time (run.held_out); leave it out"
            )
        self._plan, self._settings, self._progress, self._asked = plan, settings, progress, asked

    def train(
        self, clicks: pl.LazyFrame, span: Window, champion: PackagedRelease | None, now: datetime
    ) -> PackagedRelease:
        """Train as `Strategy` specifies."""
        from trainer.training import warm_start  # noqa: PLC0415  # loads TensorFlow
        from trainer.training.fit import fit  # noqa: PLC0415  # ditto

        parent = champion if self._plan.warm else None
        settings = self._settings.replaced(split_at=span.split_at_ms)
        if parent:
            shape = warm_start.shaped_as(parent.manifest, settings, self._asked)
            settings = settings.replaced(**shape, epochs=self._plan.warm_epochs)
        return fit(clicks, settings, self._progress, now=now, parent=parent)

    def finish(
        self, clicks: pl.LazyFrame, span: Window, measured: PackagedRelease, now: datetime
    ) -> PackagedRelease:
        """Learn the hold-out, as `training.final_training` says."""
        from trainer.training import hold_out, warm_start  # noqa: PLC0415  # loads TensorFlow

        if not self._settings.training.final_training:
            return measured
        shape = warm_start.shaped_as(measured.manifest, self._settings, ())
        settings = applied(self._settings.replaced(**shape), measured.manifest.training)
        return hold_out.learned(measured, clicks, settings, self._progress, from_ms=span.split_at_ms, now=now)


class Online:
    """Online training across all runs: each run learns the sessions that ended since the previous run.

    The first run, and any run after a restart or after a training that diverged, learns all sessions of the
    window, in steps of `run.every` or one hour, whichever is longer. Some settings that the user did not set
    follow from `run.every` (`training.decisions.of_online_training`).
    """

    def __init__(self, plan: Run, settings: FitSettings, progress: Progress) -> None:
        chosen = of_online_training(settings, plan.every)
        settings = replaced(settings, chosen)
        _check(settings)
        if chosen:
            kinds = dict(fields_of(FitSettings))
            named = ", ".join(
                f"{key} {literal(value, is_time=is_duration(kinds[key]))}" for key, value in chosen.items()
            )
            progress.say(f"online training with a run every {duration_text(plan.every)}: {named}")
        self._plan, self._progress = plan, progress
        self._settings = settings.replaced(epochs=plan.warm_epochs)
        self._forget()

    def _forget(self) -> None:
        """Forget all that was learned: the next run begins a new training."""
        self._training: OnlineTraining | None = None
        self._until_ms: int | None = None
        """The end time up to which sessions have been learned."""
        self._removed: list[Removal] = []
        """The clicks up to `_until_ms` that cleaning removed."""

    def _begun(self, past: pl.DataFrame) -> OnlineTraining:
        """Return a new training. `past`, the clicks before the hold-out, decide which items are excluded."""
        from trainer.training.online import OnlineTraining  # noqa: PLC0415  # loads TensorFlow

        settings = self._settings
        if open_keys(settings, "evaluation.exclude_recent"):
            decision = exclude_recent(past)
            self._progress.say(str(decision))
            settings = replaced(settings, {decision.key: decision.value})
        return OnlineTraining(
            settings,
            active_items=self._plan.active_items,
            active_half_life_hours=self._plan.active_half_life / 3_600,
            memory_hours=self._plan.window / 3_600,
        )

    def train(
        self, clicks: pl.LazyFrame, span: Window, champion: PackagedRelease | None, now: datetime
    ) -> PackagedRelease:
        """Train as `Strategy` specifies. After TrainingDiverged, the next run learns the whole window."""
        try:
            return self._trained(clicks, span, now)
        except TrainingDiverged:
            self._forget()
            raise

    def finish(
        self, clicks: pl.LazyFrame, span: Window, measured: PackagedRelease, now: datetime
    ) -> PackagedRelease:
        """Return `measured`: the next run learns the hold-out, after which the gate measures again.

        If this run learned it, the next run would compare the champion with itself.
        """
        return measured

    def _trained(self, clicks: pl.LazyFrame, span: Window, now: datetime) -> PackagedRelease:
        begin_ms = span.begin_ms if self._until_ms is None else self._until_ms
        now_ms = round(now.timestamp() * 1000)
        recent = clicks.filter(begin_ms - _LONGEST_MS <= _TIME).collect(engine="streaming")
        sessions = self._sessions(recent, now_ms)
        learned, removed = 0, list[Removal]()
        if self._training is None:
            self._training = self._begun(sessions.filter(_TIME < span.split_at_ms))
        training = self._training
        for after_ms, until_ms in _steps(begin_ms, span.split_at_ms, round(self._plan.every * 1000)):
            ended = sessions.filter((pl.col("ended_ms") > after_ms) & (pl.col("ended_ms") <= until_ms))
            if len(ended):
                training.apply(ended, until_ms)
                if until_ms < span.split_at_ms:
                    training.release(until_ms)
            learned += len(ended)
            # Duplicates have equal times, so cleaning each time range separately gives the same result.
            _, here = clean(recent.filter(_TIME.is_between(after_ms, until_ms, closed="left")), now_ms=now_ms)
            self._removed, removed = added(self._removed, here), added(removed, here)
            self._until_ms = until_ms
        for removal in removed:
            if removal.removed:
                self._progress.say(str(removal))
        self._progress.say(f"learned {learned:,} clicks, from sessions that ended since the last run")
        if not len(training.catalogue):
            raise TooFewClicks("no session ended before the hold-out")
        fitted = training.release(span.split_at_ms, created_at=now.isoformat(timespec="seconds"))
        cleaning = [removal._asdict() for removal in self._removed]
        return fitted.with_training(test_from=moment(span.split_at_ms), cleaning=cleaning)

    def _sessions(self, clicks: pl.DataFrame, now_ms: int) -> pl.DataFrame:
        """Return the sessions in `clicks`; `ended_ms` is the time of the last click plus the session gap."""
        gap_seconds = self._settings.dataset.session_gap
        cleaned, _ = clean(clicks, now_ms=now_ms)
        sessions = cut(cleaned, gap_seconds=gap_seconds)
        return sessions.with_columns(ended_ms=_TIME.max().over("session") + round(gap_seconds * 1000))


def _steps(begin_ms: int, end_ms: int, every_ms: int) -> Iterator[tuple[int, int]]:
    """Yield time ranges that divide `begin_ms` to `end_ms` into steps of `every_ms` or one hour, if longer.

    The last range may be shorter.

    >>> list(_steps(0, 9_000_000, every_ms=60_000))
    [(0, 3600000), (3600000, 7200000), (7200000, 9000000)]
    """
    step_ms = max(every_ms, HOUR_MS)
    for after_ms in range(begin_ms, end_ms, step_ms):
        yield after_ms, min(after_ms + step_ms, end_ms)


def _check(settings: FitSettings) -> None:
    """Raise SettingError if online training does not support these settings."""
    usual, wrong = FitSettings(), []
    for key, field in fields_of(FitSettings):
        needed, value = fact(field, "online_needs"), value_of(settings, key)
        if needed is not None and value != needed:
            wrong.append(f"{key} is {literal(value)} but must be {literal(needed)}")
    if not settings.dataset.session_gap:
        wrong.append("dataset.session_gap is 0 but must be positive: sessions are learned after they end")
    if settings.features.any:
        wrong.append("[features]: online training does not support features; leave them out")
    idle = [
        key for key in keys_with("online", value=False) if value_of(settings, key) != value_of(usual, key)
    ]
    if idle:
        wrong.append(f"{', '.join(idle)}: no effect on online training; leave them out")
    if wrong:
        raise SettingError("run.strategy online: " + "; ".join(wrong))
