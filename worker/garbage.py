"""How often Python looks for cyclic garbage: every 20,000 new objects, and never among what start-up made."""

from __future__ import annotations

import gc
from typing import Final

_THRESHOLDS: Final = (20_000, 10, 10)


def collect_seldom() -> None:
    """Set it so. Call it when all is imported and before the work begins."""
    # Hot path: every record makes some objects, and a transaction keeps thousands until it is committed.
    # With Python's own thresholds looking through them took 6 % of the time, and 30-45 ms in one go.
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
