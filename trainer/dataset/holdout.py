"""The hold-out: sessions for evaluation, and the sessions before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.clicks.cleaning import clean, report
from trainer.config import recorded
from trainer.console import Progress
from trainer.dataset.dataset import moment
from trainer.dataset.history import PLACE, history_of
from trainer.dataset.sessions import TEST, Sessions, cut, drop_short, numbered, to_arrays
from trainer.dataset.split import TestSplit
from trainer.errors import TooFewClicks
from worker.core.catalogue import Catalogue
from worker.core.manifest import Manifest

LEARNED: Final = "learned_hold_out"
"""The key in the training section of a manifest that says which clicks of the hold-out were learned later."""

_ROW = "row"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Sessions as tables of clicks, grouped by user, with the columns of `columns.SCHEMA` and more.

    `before`: the sessions before the test split, for baselines that count clicks; empty without a split.
    `clicks`: the sessions for evaluation. The column `row` identifies a click independently of the session
    gap, `session` is the number of its session, and `scored` says whether the click is to be predicted (the
    first click of a session never is). `test_clicks`: the number of clicks in the test split, predicted or
    not. `leave_last`: the number of clicks held out of each session; 0: the split is not of this kind.
    `history`: all clicks that a worker may need for its answers (`history_of`).
    """

    before: pl.DataFrame
    clicks: pl.DataFrame
    history: pl.DataFrame
    test_clicks: int
    leave_last: int = 0

    def sessions(self, catalogue: Catalogue) -> Sessions:
        """Return the sessions for evaluation as item indexes of `catalogue`."""
        return to_arrays(self.clicks, catalogue, self.history)

    @property
    def rows(self) -> NDArray[np.int64]:
        """`[C]`: the `row` of each click."""
        return self.clicks[_ROW].to_numpy().astype(np.int64)

    @property
    def users(self) -> NDArray[np.uint64]:
        """`[C]`: the number of each click's user, as in `PastSessions`."""
        return numbered(self.clicks["user_id"])

    @property
    def context(self) -> NDArray[np.bool_]:
        """`[C]`: whether the click is in `before`, too, as the earlier clicks of an endless session are."""
        return self.clicks[_ROW].is_in(self.before[_ROW].implode()).to_numpy()

    @property
    def times_ms(self) -> NDArray[np.int64]:
        """`[C]`: the time of each click, in milliseconds."""
        return self.clicks["timestamp_ms"].to_numpy()

    def caution(self, manifest: Manifest, name: str = "the release") -> str:
        """Return a warning if a release was trained on clicks of the hold-out period; else an empty string.

        `name`: the name of the release in the warning. There is no warning if the manifest has no times,
        or if the training held out such clicks by file, or as the last of each session.
        """
        if self._held_out_in(manifest.training):
            return ""
        # Prefer `test_from`: the blend is trained on the validation split, which is later than `last_click`.
        until_ms = manifest_time_ms(manifest, "test_from") or manifest_time_ms(manifest, "last_click")
        if until_ms is None or int(self.times_ms[self.clicks["scored"]].min()) >= until_ms:
            return ""
        return (
            f"Careful: {name} was trained on clicks until {moment(until_ms)}, which overlaps the hold-out; "
            "its results are too good."
        )

    def _held_out_in(self, training: Mapping[str, Any]) -> bool:
        if TEST in self.clicks.columns:
            return training.get("test_files") is True
        last = training.get("leave_last")
        return isinstance(last, int) and 0 < self.leave_last <= last


def split_of(manifest: Manifest) -> TestSplit:
    """Return the test split of a training, as far as its manifest says; `TestSplit()` if it does not."""
    last, settings = manifest.training.get("leave_last"), manifest.training.get("settings")
    context = recorded(settings, "evaluation.min_context") if isinstance(settings, Mapping) else None
    context = context if type(context) is int and context > 0 else 1
    if isinstance(last, int) and last > 0:
        return TestSplit(leave_last=last, min_context=context)
    return TestSplit(manifest_time_ms(manifest, "test_from"), min_context=context)


def manifest_time_ms(manifest: Manifest, name: str) -> int | None:
    """Return the time called `name` in the manifest's training section; None if missing or invalid.

    A time without an offset is UTC.
    """
    try:
        time = datetime.fromisoformat(manifest.training.get(name, ""))
    except (TypeError, ValueError):
        return None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def cleaned(clicks: pl.DataFrame, progress: Progress, now: datetime) -> pl.DataFrame:
    """Return the valid `clicks`, each with a unique number in the column `row`; report the removed clicks."""
    kept, removals = clean(clicks, now_ms=round(now.timestamp() * 1000))
    report(removals, progress.say)
    return kept.with_row_index(_ROW)


def hold_out(
    clicks: pl.DataFrame,
    *,
    gap_seconds: float,
    from_ms: int | None,
    leave_last: int = 0,
    min_context: int = 1,
    progress: Progress,
) -> HeldOut:
    """Cut `clicks` (from `cleaned`) into sessions as the worker does; hold out the test split.

    `TestSplit` chooses the test split; without any of its values, all sessions are held out. Raises
    TooFewClicks if there is nothing to predict.
    """
    split, endless = TestSplit(from_ms, leave_last, min_context), gap_seconds == 0
    sessions = cut(clicks, gap_seconds=gap_seconds).with_row_index(PLACE)
    before, after = split.of(sessions, endless=endless)
    test_clicks = int(after["scored"].sum())
    after, short = drop_short(after)
    progress.say(str(short))
    if after.is_empty():
        since = f" from {moment(from_ms)} on" if from_ms is not None else ""
        raise TooFewClicks(f"no session of two or more clicks{since} is left for evaluation")
    history = history_of(sessions, [after])
    return HeldOut(before, split.predictions(after), history, test_clicks, leave_last)
