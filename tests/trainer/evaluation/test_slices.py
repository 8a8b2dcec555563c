from __future__ import annotations

import numpy as np
import orjson
import pytest

from tests.trainer.builders import sessions_of
from trainer.evaluation.compare import paired
from trainer.evaluation.metrics import Answers
from trainer.evaluation.slices import EvaluationResult, Predictions, thirds
from worker.core.ranking import NO_ITEM


def test_every_figure_lies_in_its_interval() -> None:
    """For each model, metric and slice; a third of the predictions are hit at place 2."""
    ranks = np.random.default_rng(0).choice([0, 0, 2], size=400)
    sessions = sessions_of(*[[1, 2, 3, 4, NO_ITEM]] * 100)

    found = EvaluationResult.of(
        {"one": Answers(ranks, np.zeros(5, np.int64))}, Predictions.of(sessions), top=5
    )

    assert (found.sessions, found.predictions) == (100, 400)
    assert found.models["one"]["recall_at_5"].value == pytest.approx(np.mean(ranks > 0))
    for models in (found.models, *(one.models for one in found.slices.values())):
        for name, (value, low, high) in models["one"].items():
            if name == "coverage":
                assert (low, high) == (None, None)
            else:
                assert low is not None
                assert high is not None
                assert low <= value <= high


def test_slices_share_out_the_predictions() -> None:
    """By clicks before the target every prediction is in one slice; a target may be in no catalogue."""
    sessions = sessions_of([1, 2], [1, 2, 3, NO_ITEM], list(range(12)))
    third = np.zeros(sessions.predictions, np.int32)

    slices = Predictions.of(sessions, third).slices()

    assert {name: int(flags.sum()) for name, flags in slices.items()} == {
        "1 click before": 3,
        "2 to 3 clicks before": 4,
        "4 to 7 clicks before": 4,
        "8 or more clicks before": 4,
        "popular targets": 15,
        "targets not in the catalogue": 1,
    }


def test_thirds_are_of_clicks_not_of_items() -> None:
    """One item may have a third of all clicks; what was never clicked, or is unknown, is in none."""
    clicks = np.array([1, 4, 0, 1, 3, 3])

    found = thirds(clicks, np.array([1, 4, 5, 0, 3, 2, NO_ITEM], np.int32))

    assert found.tolist() == [0, 1, 1, 2, 2, -1, -1]


def test_a_result_survives_json() -> None:
    """What `evaluate --json` writes can be read again."""
    answers = Answers(np.array([1, 0, 2]), np.zeros(5, np.int64))
    sessions = Predictions.of(sessions_of([0, 1], [1, 2, 3]))
    found = EvaluationResult.of({"one": answers}, sessions, top=3, smaller_tops=(1,), test_clicks=5)

    assert {"recall_at_1", "recall_at_3"} <= found.models["one"].keys()
    assert EvaluationResult.from_json(orjson.loads(orjson.dumps(found.to_json()))) == found


def test_a_lead_has_the_interval_of_the_paired_bootstrap() -> None:
    """It is that of `compare`: both models are measured on the same resampled sessions."""
    random, sessions = np.random.default_rng(0), sessions_of(*[[1, 2, 3, 4, 5]] * 50)
    shown = np.zeros(6, np.int64)
    own, other = (Answers(random.choice([0, 0, 2], size=200), shown) for _ in range(2))

    found = EvaluationResult.of({"own": own, "other": other}, Predictions.of(sessions), top=5)

    for metric, one in paired(other, own, Predictions.of(sessions).session, top=5).items():
        assert found.leads["other"][metric] == pytest.approx((one.difference, one.low, one.high))
