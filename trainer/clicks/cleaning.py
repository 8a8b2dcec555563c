"""Cleaning steps, which remove clicks before the training and report how many and why.

`clean` removes invalid clicks, by the same rules as the worker. `drop_repeats` and `drop_bots` are optional
and off by default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import polars as pl

from trainer.clicks.timestamps import HOUR_MS
from worker.core.ids import MAX_ID_BYTES
from worker.core.times import MAX_AHEAD_MS

_CLICK: Final = ("user_id", "item_id", "timestamp_ms")
_TIME: Final = pl.col("timestamp_ms")


class Removal(NamedTuple):
    """The result of a cleaning step: the numbers removed and left, their kind (`what`), and the reason."""

    removed: int
    left: int
    what: str
    why: str

    def __add__(self, other: Removal) -> Removal:  # type: ignore[override]  # a tuple's + has no use here
        """Return the sum of two results of the same step on different clicks."""
        return self._replace(removed=self.removed + other.removed, left=self.left + other.left)

    def __str__(self) -> str:
        return f"removed {self.removed:,} of {self.removed + self.left:,} {self.what}: {self.why}"


def clean(clicks: pl.DataFrame, *, now_ms: int) -> tuple[pl.DataFrame, list[Removal]]:
    """Return `clicks` without invalid clicks and duplicates, and the result of each cleaning step."""
    removals = []
    for why, keep in _cleaning_steps(now_ms):
        kept = keep(clicks)
        removals.append(Removal(len(clicks) - len(kept), len(kept), "clicks", why))
        clicks = kept
    return clicks, removals


def report(removals: Iterable[Removal], say: Callable[[str], object]) -> None:
    """Say what the steps removed; steps that removed nothing are left out."""
    for removal in removals:
        if removal.removed:
            say(str(removal))


def added(total: list[Removal], more: list[Removal]) -> list[Removal]:
    """Return the step-by-step sums of two lists of results. `total` may be empty."""
    return [one + another for one, another in zip(total, more, strict=True)] if total else more


def _cleaning_steps(now_ms: int) -> list[tuple[str, Callable[[pl.DataFrame], pl.DataFrame]]]:
    # The worker refuses the same ids and times: training must not use clicks that workers never process.
    ids = pl.col("user_id", "item_id")
    time = pl.col("timestamp_ms")
    return [
        ("user or item is missing", lambda clicks: clicks.filter(pl.all_horizontal(ids.str.len_bytes() > 0))),
        (
            f"user or item has more than {MAX_ID_BYTES} bytes",
            lambda clicks: clicks.filter(pl.all_horizontal(ids.str.len_bytes() <= MAX_ID_BYTES)),
        ),
        (
            "the time is missing, unreadable or in the future",
            lambda clicks: clicks.filter(time.is_between(0, now_ms + MAX_AHEAD_MS)),
        ),
        (
            "exact duplicates (same user, item and time)",
            lambda clicks: clicks.unique(_CLICK, keep="first", maintain_order=True),
        ),
    ]


def drop_repeats(clicks: pl.DataFrame, seconds: float) -> tuple[pl.DataFrame, Removal]:
    """Return `clicks` without repeats: clicks on an item that the user clicked up to `seconds` before."""
    pause = _TIME - _TIME.shift().over("user_id", "item_id")
    kept = clicks.filter((pause > seconds * 1000).fill_null(True)) if seconds else clicks
    why = f"repeats: the same user clicked the same item again within {seconds:g} s"
    return kept, Removal(len(clicks) - len(kept), len(kept), "clicks", why)


def drop_bots(clicks: pl.DataFrame, *, per_hour: int, per_day: int) -> tuple[pl.DataFrame, Removal]:
    """Return `clicks` without users who exceed a limit in any clock hour or calendar day. 0: no limit."""
    limits = ((per_hour, HOUR_MS, "an hour"), (per_day, 24 * HOUR_MS, "a day"))
    asked = [(limit, length, name) for limit, length, name in limits if limit]
    bots = [
        (pl.len().over("user_id", _TIME // length) > limit).any().over("user_id")
        for limit, length, _ in asked
    ]
    kept = clicks.filter(~pl.any_horizontal(bots)) if bots else clicks
    gone = clicks["user_id"].n_unique() - kept["user_id"].n_unique()
    why = " or ".join(f"more than {limit} clicks in {name}" for limit, _, name in asked)
    return kept, Removal(len(clicks) - len(kept), len(kept), "clicks", f"users with {why} (users: {gone:,})")
