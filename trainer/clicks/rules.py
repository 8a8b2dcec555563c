"""The settings for reading files of clicks: `[click]`, as in the worker, and `[files]`."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.clicks.timestamps import TimeSettings
from worker.core.ids import MISSING
from worker.core.times import MAX_AHEAD_MS, MAX_TIMESTAMP_MS
from worker.core.where import Clause


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Rules for reading values and for selecting the clicks to use.

    Clicks more than an hour after `now_ms` are removed (None: no limit). `encoding` is the encoding of text;
    `names` are the column names of files without a header.
    """

    times: TimeSettings = TimeSettings()  # noqa: RUF009  # frozen
    missing: tuple[str, ...] = MISSING
    where: tuple[Clause, ...] = ()
    encoding: str = "utf-8"
    names: tuple[str, ...] = ()
    now_ms: int | None = None

    @property
    def latest_ms(self) -> int:
        """The latest plausible time."""
        return MAX_TIMESTAMP_MS if self.now_ms is None else self.now_ms + MAX_AHEAD_MS

    def is_plausible(self, text: str) -> bool:
        """Return whether text is a plausible time."""
        found = self.times.read(text)
        return found is not None and self.times.earliest_ms <= found <= self.latest_ms
