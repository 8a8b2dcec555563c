from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import item_names, successor_release_parts
from tests.trainer.builders import CYCLE, NOW, START_MS, cyclic_clicks, sessions_of, table
from trainer.config import Baselines, FitSettings
from trainer.console import Progress
from trainer.dataset.prepare import prepare
from trainer.dataset.sessions import sampled
from trainer.evaluation.benchmark import BASELINES, NETWORK
from trainer.evaluation.compare import paired
from trainer.evaluation.metrics import Answers
from trainer.evaluation.report.causes import MIN_SESSIONS
from trainer.evaluation.slices import EvaluationResult, Predictions
from trainer.evaluation.verdict import (
    ABOVE,
    BELOW,
    LEVEL,
    UNKNOWN,
    compared,
    comparison,
    lines,
    verdict,
)
from worker.core.release import verify

MANIFEST = replace(successor_release_parts(item_names(CYCLE))[0], training={})


def result(count: int = 100, **shares: float) -> EvaluationResult:
    """Figures of models that put the target first in these shares of four predictions a session."""
    random, sessions = np.random.default_rng(0), sessions_of(*[[1, 2, 3, 4, 5]] * count)
    answers = {
        name: Answers((random.random(4 * count) < share).astype(np.int64), np.zeros(6, np.int64))
        for name, share in shares.items()
    }
    return EvaluationResult.of(answers, Predictions.of(sessions), top=20)


@pytest.mark.parametrize(
    ("own", "outcome", "says"),
    [
        (0.9, ABOVE, "above the best of 2 baselines by Recall@20: 0."),
        (0.5, LEVEL, "no significant difference from the best of 2 baselines by Recall@20: "),
        (0.1, BELOW, "below the best of 2 baselines by Recall@20: "),
    ],
)
def test_the_paired_interval_decides(own: float, outcome: str, says: str) -> None:
    """Against the best baseline; it is the interval of `compare`."""
    found = comparison(result(network=own, popular=0.2, markov=0.5), "recall_at_20")

    assert found is not None
    assert (found.name, found.outcome) == ("markov", outcome)
    assert found.sentence.startswith(says)
    assert "(markov), " in found.sentence


def test_only_who_is_below_is_told_a_cause() -> None:
    """The figures come in any case; a cause names the fact and what to do."""
    above, below = (verdict(MANIFEST, result(network=own, markov=0.5)) for own in (0.9, 0.1))

    assert above is not None
    assert below is not None
    assert above["causes"] == []
    assert [one["outcome"] for one in below["metrics"]] == [BELOW] * 3
    assert "The last click alone tells more" in below["causes"][-1]
    assert lines(below)[0] == "on 400 predictions in 100 sessions of the test split:"
    assert lines(below)[1].startswith("below the only baseline by Recall@20: ")
    assert lines(below)[-1].startswith("likely cause: ")


@pytest.mark.parametrize("rival", BASELINES)
def test_each_baseline_that_is_better_is_a_hint(rival: str) -> None:
    """None is left without a cause and what to do."""
    shares = {"network": 0.1, rival: 0.5}
    found = verdict(MANIFEST, result(100, **shares))

    assert found is not None
    assert len(found["causes"]) == 1


@pytest.mark.parametrize("count", [1, MIN_SESSIONS - 1, MIN_SESSIONS])
def test_few_sessions_get_no_verdict(count: int) -> None:
    """One session is drawn again and again: its interval has no width, and says nothing."""
    found = verdict(MANIFEST, result(count, network=0.1, markov=0.9))

    assert found is not None
    few, outcomes = count < MIN_SESSIONS, [one["outcome"] for one in found["metrics"]]
    assert outcomes == [UNKNOWN if few else BELOW] * 3
    assert any("no verdict: these are too few sessions" in line for line in lines(found)) == few
    assert bool(found["causes"]) != few


def test_without_a_baseline_there_is_no_verdict() -> None:
    """And nothing to show."""
    found = verdict(MANIFEST, result(network=0.5))

    assert (found, lines(found)) == (None, [])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 60))
def test_a_sample_has_whole_sessions_and_is_no_larger_than_asked(lengths: list[int], most: int) -> None:
    """Of sessions with predictions; everything, where that is little enough; the same each time."""
    sessions = sessions_of(*[[0] * length for length in lengths])

    found = sampled(sessions, most)

    number = np.repeat(np.arange(len(sessions)), sessions.lengths)
    taken = np.bincount(number[found], minlength=len(sessions))
    assert set(np.flatnonzero(taken)) <= set(np.flatnonzero(sessions.lengths > 1))
    assert all(count in (0, length - 1) for count, length in zip(taken, lengths, strict=True))
    assert found.sum() <= max(most, max(lengths) - 1)
    assert np.array_equal(found, sampled(sessions, most))
    if sessions.predictions <= most:
        assert np.array_equal(found, sessions.scored)
    elif sessions.predictions:
        assert found.any()


def test_baselines_and_network_answer_the_same_test_clicks() -> None:
    """On a cycle transitions are always right, as is this release; a click on a rare item is missed."""
    lost = table([("lost", "item-0", START_MS + 10**9), ("lost", "once", START_MS + 10**9 + 1)])
    clicks = cyclic_clicks(100).vstack(lost)
    settings = FitSettings.of(top=1)
    data = prepare(clicks, settings, Progress(), NOW)
    items = data.catalogue.ids(np.arange(CYCLE)).tolist()
    order = sorted(items, key=lambda item: int(item.removeprefix("item-")))
    release = verify(*successor_release_parts(order, popular=order))
    data = replace(data, catalogue=release.catalogue)
    at = release.catalogue.indexes(items)
    assert data.test.history is not None
    moved, seen = (
        np.where(one < 0, -1, at[one]).astype(np.int32) for one in (data.test.items, data.test.history.items)
    )
    data = replace(data, test=replace(data.test, items=moved, history=data.test.history._replace(items=seen)))

    found = compared(release, data, settings, Baselines(), Progress())

    assert found is not None
    assert list(found.models) == [NETWORK, *BASELINES]
    recall = {name: figures["recall_at_1"].value for name, figures in found.models.items()}
    misses = 1 / data.test.predictions
    assert (recall[NETWORK], recall["markov"]) == pytest.approx((1 - misses, 1 - misses))
    assert found.slices["targets not in the catalogue"].predictions == 1
    assert compared(release, replace(data, every_item=None), settings, Baselines(), Progress()) is None


def test_a_lead_is_that_of_compare() -> None:
    """The same sessions are drawn for both."""
    random, sessions = np.random.default_rng(1), sessions_of(*[[1, 2, 3]] * 50)
    own, other = (Answers(random.choice([0, 1], size=100), np.zeros(4, np.int64)) for _ in range(2))
    figures = EvaluationResult.of({"network": own, "popular": other}, Predictions.of(sessions), top=20)

    found, one = (
        comparison(figures, "mrr_at_20"),
        paired(other, own, Predictions.of(sessions).session, top=20)["mrr_at_20"],
    )

    assert found is not None
    assert found.lead == pytest.approx((one.difference, one.low, one.high))
