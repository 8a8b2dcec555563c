from __future__ import annotations

import numpy as np

from trainer.dataset.span import doubts

DAY_MS = 86_400_000
START_MS = 1_600_000_000_000


def test_a_usual_span_is_not_doubted() -> None:
    """Nor a long week-end, nor no click at all."""
    days = START_MS + DAY_MS * np.array([0, 1, 2, 30, 31], np.int64)

    assert doubts(days) == doubts(np.zeros(0, np.int64)) == []


def test_a_long_gap_is_named_with_the_clicks_before_it() -> None:
    """Two units that were mixed up look so."""
    (said,) = doubts(np.append(np.arange(5) * DAY_MS, START_MS + np.arange(95) * DAY_MS))

    assert said == (
        "Careful: there are no clicks between 1970-01-05 00:00 and 2020-09-13 12:26, and 5 of 100 are before "
        "it: are their times right?"
    )


def test_a_span_of_many_years_is_named() -> None:
    """With the setting that shortens it."""
    (said,) = doubts(START_MS + np.arange(0, 4_400, 10) * DAY_MS)

    assert said.startswith("Careful: the clicks span 12 years, from 2020-09-13 12:26 to 2032-09-")
    assert said.endswith("click.earliest excludes older clicks")
