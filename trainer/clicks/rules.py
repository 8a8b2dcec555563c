"""The settings by which files of clicks are read: those of `[click]`, as in the worker, and `[files]`."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.clicks.timestamps import TimeSettings
from worker.core.ids import MISSING
from worker.core.times import MAX_AHEAD_MS, MAX_TIMESTAMP_MS
from worker.core.where import Clause


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Rules by which values are read and clicks count.

    `now_ms`: clicks that are more than an hour later are removed; None: none is. `encoding` is that of text,
    `names` are those of the columns of files without a header.
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
