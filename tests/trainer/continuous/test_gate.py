from __future__ import annotations

import pytest

from tests.builders import item_names, successor_release_parts
from tests.trainer.builders import CYCLE, MINUTE_MS, NOW, START_MS, cyclic_clicks
from trainer.config import FitSettings
from trainer.continuous import gate
from trainer.errors import TooFewClicks
from trainer.evaluation.compare import Difference
from worker.core.release import Release, verify

SETTINGS = FitSettings.of(top=1, exclude_recent=0)
SPLIT_MS = START_MS + 500 * MINUTE_MS
"""Half of the sessions begin there or later."""


@pytest.fixture(scope="module")
def right() -> Release:
    """Always right on the cycle."""
    items = item_names(CYCLE)
    return verify(*successor_release_parts(items, popular=items))


@pytest.fixture(scope="module")
def wrong() -> Release:
    """Never right on it."""
    items = item_names(CYCLE)
    return verify(*successor_release_parts(items[::-1], popular=items))


def measured(champion: Release, new: Release, from_ms: int = SPLIT_MS) -> Difference:
    """On 200 sessions."""
    clicks = cyclic_clicks(200).lazy()
    return gate.measured(champion, new, clicks, from_ms=from_ms, by="recall", settings=SETTINGS, now=NOW)


def test_what_was_shown_decides(right: Release, wrong: Release) -> None:
    """A worse one is told from a better one and from one that is the same."""
    assert gate.decision(measured(right, wrong)) == "worse"
    assert gate.decision(measured(wrong, right)) == "better"
    assert gate.decision(measured(right, right)) == "no_difference"


def test_only_the_held_out_end_counts(right: Release, wrong: Release) -> None:
    """Sessions that begin before are no part of it; where none begins later there is nothing to decide by."""
    found = measured(right, wrong)

    assert (found.sessions, found.predictions) == (100, 400)
    with pytest.raises(TooFewClicks, match="no session of two or more clicks"):
        measured(right, wrong, from_ms=START_MS + 10_000 * MINUTE_MS)
