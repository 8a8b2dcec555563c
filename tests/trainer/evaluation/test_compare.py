from __future__ import annotations

import numpy as np
import pytest

from tests.builders import item_names, successor_release_parts, tiny_release
from tests.trainer.builders import CYCLE, MINUTE_MS, NOW, START_MS, cyclic_clicks, table
from trainer.console import Progress
from trainer.dataset.holdout import cleaned
from trainer.errors import TooFewClicks
from trainer.evaluation.compare import Difference, align, paired
from trainer.evaluation.metrics import Answers
from worker.core.release import verify


def answers_with(share: float, count: int, seed: int) -> Answers:
    """Answers that hit, at place 1, so often."""
    hits = np.random.default_rng(seed).random(count) < share
    return Answers(hits.astype(np.int64), np.zeros(3, np.int64))


def difference_of(a: Answers, b: Answers) -> Difference:
    """That in Recall@20, four predictions a session."""
    return paired(a, b, np.arange(len(a.ranks)) // 4, top=20)["recall_at_20"]


def test_the_better_one_is_found() -> None:
    """The interval holds the true difference, and the sentence says by how much."""
    found = difference_of(answers_with(0.5, 8000, 1), answers_with(0.6, 8000, 2))

    assert found.low < 0.1 < found.high
    assert (found.better, found.worse, found.probability) == (True, False, 1.0)
    assert found.sentence().startswith(
        f"B is better than A by {100 * found.difference:.2f} percentage points of Recall@20"
    )


def test_the_other_way_round_it_is_worse_by_as_much() -> None:
    """Nothing depends on which is named first."""
    a, b = answers_with(0.5, 8000, 1), answers_with(0.6, 8000, 2)
    found, other = difference_of(a, b), difference_of(b, a)

    assert (other.low, other.high) == pytest.approx((-found.high, -found.low))
    assert other.worse
    assert other.sentence().startswith("B is worse than A by")


def test_equal_ones_show_no_difference() -> None:
    """The same answers: nothing between them, and an even chance."""
    one = answers_with(0.5, 400, 1)
    found = difference_of(one, one)

    assert (found.difference, found.low, found.high, found.probability) == (0, 0, 0, 0.5)
    assert found.sentence() == (
        "no significant difference: Recall@20 of B minus that of A is +0.00 percentage points "
        "(95 % interval +0.00 to +0.00)"
    )


def test_pairing_sees_what_two_intervals_would_hide() -> None:
    """A small gain here and there is certain, though both vary much more from session to session."""
    a = answers_with(0.5, 2000, 1)
    b = Answers(np.where(np.arange(2000) % 50 == 0, 1, a.ranks), a.shown)

    assert difference_of(a, b).better


def test_releases_with_other_catalogues_answer_the_same_predictions() -> None:
    """The one that knows only half of the items misses the targets in the other half."""
    clicks = cleaned(cyclic_clicks(200), Progress(), NOW)
    items = item_names(CYCLE)
    whole = verify(*successor_release_parts(items, popular=items))
    half = verify(*successor_release_parts(items[:6], popular=items[:6]))

    found = align(half, whole, clicks, from_ms=None, top=1, exclude_recent=0)

    assert (found.only_a, found.only_b) == (0, 0)
    assert len(found.a.ranks) == len(found.b.ranks) == 200 * 4
    assert found.b.ranks.all()
    assert found.a.ranks.mean() < 0.6


def test_where_session_gaps_differ_the_common_predictions_are_compared() -> None:
    """A click that begins a session for one release is no prediction of it; sessions are the longer ones."""
    minutes = [0, 1, 20, 21, 200, 201]
    clicks = table([("ada", f"item-{at % 5}", START_MS + at * MINUTE_MS) for at in minutes])
    short, long = (tiny_release(session_gap_seconds=gap) for gap in (600.0, 3600.0))

    found = align(short, long, cleaned(clicks, Progress(), NOW), from_ms=None, top=5, exclude_recent=1)

    assert (len(found.a.ranks), found.only_a, found.only_b) == (3, 0, 1)
    assert found.session.tolist() == [0, 0, 1]


def test_endless_sessions_are_the_longest() -> None:
    """Gap 0: all clicks of a user are drawn together."""
    clicks = cleaned(cyclic_clicks(20), Progress(), NOW)
    cut, endless = (tiny_release(session_gap_seconds=gap) for gap in (90.0, 0.0))

    found = align(cut, endless, clicks, from_ms=START_MS + 50 * MINUTE_MS, top=5, exclude_recent=1)

    assert len(np.unique(found.session)) == 10


def test_nothing_in_common_is_an_error() -> None:
    """Where every click begins a session for one release there is nothing to compare."""
    clicks = table([("ada", "item-1", START_MS), ("ada", "item-2", START_MS + 10 * MINUTE_MS)])

    with pytest.raises(TooFewClicks, match="no session of two or more clicks"):
        align(
            tiny_release(session_gap_seconds=60.0),
            tiny_release(session_gap_seconds=3600.0),
            cleaned(clicks, Progress(), NOW),
            from_ms=None,
            top=5,
            exclude_recent=1,
        )
