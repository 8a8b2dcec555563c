from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tests.trainer.builders import MINUTE_MS, NOW, START_MS, cyclic_clicks, sessions_of
from trainer.config import FitSettings
from trainer.console import Lines
from trainer.training.fit import fit
from trainer.training.hold_out import learned, since

SMALL = FitSettings.of(hidden_size=8, epochs=2, batch_clicks=64, learning_rate=0.01)


def test_only_late_clicks_are_predicted() -> None:
    """A session that began before keeps its earlier clicks as context; older sessions are left out."""
    sessions = sessions_of([0, 1], [2, 3, 4], [5, 6])
    dated = type(sessions)(
        sessions.items, sessions.starts, sessions.scored, np.array([0, 1, 2, 9, 10, 11, 12], np.int64)
    )

    late = since(dated, 10)

    assert [part.tolist() for part in late] == [[2, 3, 4], [5, 6]]
    assert late.scored.tolist() == [False, False, True, False, True]
    assert late.times_ms is not None
    assert late.times_ms.tolist() == [2, 9, 10, 11, 12]


@pytest.mark.slow
def test_a_pass_that_diverges_is_discarded() -> None:
    """The release that was measured is published, and the user is told."""
    clicks, lines = cyclic_clicks(200), list[str]()
    from_ms = START_MS + 900 * MINUTE_MS
    settings = SMALL.replaced(split_at=from_ms)
    measured = fit(clicks, settings, now=NOW)
    wild = settings.replaced(learning_rate=1e30, schedule="constant", clip_norm=0.0)

    found = learned(measured, clicks.lazy(), wild, Lines(lines.append), from_ms=from_ms, now=NOW)

    assert found is measured
    assert lines[-1].endswith("the release is published without the clicks of the hold-out")


@pytest.mark.slow
def test_there_is_no_pass_if_it_would_not_begin_where_the_release_ended() -> None:
    """A release does not have the vectors of features: new ones would spoil its item vectors, unmeasured."""
    clicks, lines = cyclic_clicks(200).with_columns(kind=pl.col("item_id").str.slice(-1)), list[str]()
    from_ms = START_MS + 900 * MINUTE_MS
    settings = SMALL.replaced(split_at=from_ms, epochs=1, categorical=("kind",), min_value_count=1)
    measured = fit(clicks, settings, now=NOW)

    found = learned(measured, clicks.lazy(), settings, Lines(lines.append), from_ms=from_ms, now=NOW)

    assert found is measured
    assert lines[-1].endswith("the release is published without the clicks of the hold-out")
