"""The hold-out: clicks to measure with, cut into sessions by one session gap, and the clicks before them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.clicks.cleaning import clean
from trainer.console import Progress
from trainer.dataset.dataset import moment
from trainer.dataset.sessions import Sessions, cut, divide, drop_short, to_arrays
from trainer.errors import TooFewClicks
from worker.core.catalogue import Catalogue
from worker.core.manifest import Manifest

_ROW = "row"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Sessions as tables of clicks, user by user, with the columns of `columns.SCHEMA` and more.

    `before`: the sessions before the cut, for what has to be counted beforehand; none without a cut.
    `clicks`: those to measure with; `row` names a click whatever the session gap, `session` numbers
    its session, and `scored` says whether it counts as a prediction, unless it is its session's first.
    """

    before: pl.DataFrame
    clicks: pl.DataFrame

    def sessions(self, catalogue: Catalogue) -> Sessions:
        """Return the sessions to measure with as item indexes of `catalogue`."""
        return to_arrays(self.clicks, catalogue)

    @property
    def user_begins(self) -> NDArray[np.int64]:
        """`[C]`: where the clicks of the same user begin."""
        user = self.clicks["user_id"].rle_id().to_numpy()
        return np.flatnonzero(np.diff(user.astype(np.int64), prepend=-1))[user]

    @property
    def rows(self) -> NDArray[np.int64]:
        """`[C]`: the `row` of each click."""
        return self.clicks[_ROW].to_numpy().astype(np.int64)

    @property
    def times_ms(self) -> NDArray[np.int64]:
        """`[C]`: the time of each click."""
        return self.clicks["timestamp_ms"].to_numpy()

    def caution(self, manifest: Manifest, name: str = "the release") -> str:
        """Return a warning if the release called `name` has learned from clicks as late as these; else "".

        A manifest without times gives no warning.
        """
        # The blend learns from the validation end, which is after the last click of the training part.
        until_ms = manifest_time_ms(manifest, "test_from") or manifest_time_ms(manifest, "last_click")
        if until_ms is None or int(self.times_ms[self.clicks["scored"]].min()) >= until_ms:
            return ""
        return f"Careful: {name} was trained on clicks until {moment(until_ms)}, so its figures are too good."


def manifest_time_ms(manifest: Manifest, name: str) -> int | None:
    """Return the time (UTC by default) stored as `name` in the training section; None if invalid."""
    try:
        time = datetime.fromisoformat(manifest.training.get(name, ""))
    except (TypeError, ValueError):
        return None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def cleaned(clicks: pl.DataFrame, progress: Progress, now: datetime) -> pl.DataFrame:
    """Return `clicks` without invalid ones, each with a unique `row`."""
    kept, removals = clean(clicks, now_ms=round(now.timestamp() * 1000))
    for removal in removals:
        progress.say(str(removal))
    return kept.with_row_index(_ROW)


def hold_out(clicks: pl.DataFrame, *, gap_seconds: float, from_ms: int | None, progress: Progress) -> HeldOut:
    """Return the sessions in `clicks` (of `cleaned`), cut as by a worker, those from `from_ms` on held out.

    Raises TooFewClicks if no session of two clicks is left.
    """
    sessions = cut(clicks, gap_seconds=gap_seconds)
    if from_ms is None:
        before, after = sessions.clear(), sessions.with_columns(scored=pl.lit(True))  # a column
    else:
        before, after = divide(sessions, from_ms, endless=gap_seconds == 0)
    after, short = drop_short(after)
    progress.say(str(short))
    if after.is_empty():
        raise TooFewClicks("no session of two clicks or more is left to measure with")
    return HeldOut(before, after)
