from __future__ import annotations

from tests.builders import item_names, tiny_release
from tests.trainer.builders import CYCLE, MINUTE_MS, NOW, START_MS, cyclic_clicks
from trainer.console import Progress
from trainer.dataset.holdout import HeldOut, cleaned, hold_out
from trainer.evaluation.benchmark import BASELINES, score

HALFWAY = START_MS + 200 * 5 * MINUTE_MS


def held_out(from_ms: int | None) -> HeldOut:
    """400 sessions on a cycle of items, the second half held out."""
    silent = Progress()
    return hold_out(cleaned(cyclic_clicks(), silent, NOW), gap_seconds=1800, from_ms=from_ms, progress=silent)


def test_all_baselines_answer_the_same_predictions() -> None:
    """On a cycle what counts transitions is always right, neighbours mostly are, what counts items is not."""
    release = tiny_release(item_names(CYCLE))

    found = score(release, held_out(HALFWAY), top=3, exclude_recent=1, exact=True)
    recall = {name: figures["recall_at_3"].value for name, figures in found.models.items()}

    assert list(recall) == ["network", *BASELINES]
    assert recall["markov"] == 1.0
    assert max(recall["popular"], recall["recently popular"], recall["live popular"]) < 0.5
    assert min(recall["s-knn"], recall["vs-knn"], recall["vmis-knn"]) > 0.5
    assert recall["co-occurrence"] > 0.5


def test_without_a_cut_there_is_the_list_of_the_release() -> None:
    """No clicks to train on: popularity as the release has it, and nothing about training clicks."""
    found = score(tiny_release(item_names(CYCLE)), held_out(None), top=3, exclude_recent=1)

    assert list(found.models) == ["network", "popular"]
    assert "novelty" not in found.models["network"]
