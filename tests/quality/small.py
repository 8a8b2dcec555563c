"""Small public data sets: the network beside every baseline, with intervals, on the last clicks of each.

Sessions are cut at half an hour, the last tenth by time is held out. Of bol.com it is the sessions that its
publisher tests with; those for validation, of the same day, are left out. Nobody rates a film twice: there no
film of the last 20 is recommended again.
"""

from __future__ import annotations

import time
from typing import Any, Final

import polars as pl

from tests.quality.beside import beside_baselines
from tests.quality.data import begin_of, clicks_of
from trainer.clicks.columns import SCHEMA
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.sessions import moment_before
from trainer.training.fit import fit

BOLCOM: Final = "bolcom_serenade"
VALIDATION_FROM, TEST_FROM = 1_000_000, 2_000_000
"""The first session that bol.com's publisher validates with, and the first one for the test."""

SETTINGS: Final[dict[str, dict[str, Any]]] = {
    BOLCOM: {"exclude_recent": 0, "min_item_count": 1},
    "movietweetings_100k": {"exclude_recent": 20, "min_item_count": 2, "session_gap": 1800},
    "ml100k": {"exclude_recent": 20, "min_item_count": 2, "session_gap": 1800},
}
NAMES: Final = tuple(SETTINGS)


def run(name: str, progress: Progress) -> dict[str, Any]:
    """Fit on all but the end of `name`; network and baselines on its end."""
    clicks, split_at_ms = split(name)
    settings = FitSettings.of(**SETTINGS[name], split_at=split_at_ms)
    began = time.monotonic()
    fitted = fit(clicks, settings, progress)
    seconds = time.monotonic() - began
    return beside_baselines(fitted, clicks, settings, progress) | {"seconds": seconds}


def split(name: str) -> tuple[pl.DataFrame, int]:
    """Return the clicks of `name`, and the time at which its test split starts."""
    clicks = clicks_of(name)
    if name != BOLCOM:
        return clicks.select(*SCHEMA), moment_before(clicks, 0.1)
    clicks = clicks.filter(~pl.col("user").is_between(VALIDATION_FROM, TEST_FROM, closed="left"))
    return clicks.select(*SCHEMA), begin_of(clicks, TEST_FROM)
