"""Plausibility of click times: warnings before a training about a suspiciously long span or gap.

>>> doubts(np.array([0, 1_000, 900_000_000_000, 900_000_001_000, 900_000_002_000]))[0][:69]
'Careful: there are no clicks between 1970-01-01 00:00 and 1998-07-09 '
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

_DAY_MS: Final = 86_400_000
_LONG_MS: Final = 10 * 365 * _DAY_MS
"""A longer span is suspicious: clicks from ten years ago say little about today's catalogue."""

_GAP_MS: Final = 90 * _DAY_MS
_GAP_SHARE: Final = 0.5
"""A gap between clicks is suspicious if it is longer than this share of the span and than `_GAP_MS`."""


def doubts(times_ms: NDArray[np.int64]) -> list[str]:
    """Return warnings about implausible `times_ms`, given in any order; empty if the times are plausible."""
    if not len(times_ms):
        return []
    ordered = np.sort(times_ms)
    first, last = int(ordered[0]), int(ordered[-1])
    found = []
    steps = np.diff(ordered)
    if len(steps) and int(steps.max()) > max(_GAP_MS, _GAP_SHARE * (last - first)):
        at = int(steps.argmax()) + 1
        found.append(
            f"Careful: there are no clicks between {_moment(int(ordered[at - 1]))} and "
            f"{_moment(int(ordered[at]))}, "
            f"and {at:,} of {len(ordered):,} are before it: are their times right?"
        )
    elif last - first > _LONG_MS:
        years = (last - first) / (365.25 * _DAY_MS)
        found.append(
            f"Careful: the clicks span {years:.0f} years, from {_moment(first)} to {_moment(last)}: are "
            "their times right? click.earliest excludes older clicks"
        )
    return found


def _moment(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M}"
