"""Likely reasons why a release is not better than simple methods, derived from the release's results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from trainer.config import recorded
from trainer.evaluation.slices import EvaluationResult
from worker.core.manifest import Manifest

FEW_SESSIONS: Final = 500
"""If fewer sessions were evaluated, the confidence intervals are several percentage points wide."""

MIN_SESSIONS: Final = 30
"""Minimum number of sessions for a verdict. With fewer, the bootstrap interval is far too narrow: with one
session, it has no width at all."""

MANY_SHORT: Final = 0.5
"""A network has little to learn from if at least this share of the sessions have one click, or at least this
share of the predictions follow a single click."""

MANY_UNKNOWN: Final = 0.1
"""Items outside the catalogue are reported as a reason if they get at least this share of the next clicks."""

FEW_CLICKS_PER_ITEM: Final = 20
"""If items have fewer training clicks on average, most item vectors are barely trained."""


class Cause(NamedTuple):
    """A likely reason for weak results, and its remedy."""

    text: str
    remedy: str


_BY_RIVAL: Final = {
    "recently popular": Cause(
        "The items clicked most in the last hours tell more than the session: what is clicked changes fast.",
        "Train more often (`nextclick-trainer run`).",
    ),
    "live popular": Cause(
        "The items clicked most in the last hours tell more than the session: what is clicked changes fast.",
        "Train more often (`nextclick-trainer run`).",
    ),
    "popular": Cause(
        "A list that is the same for all users is better, so the order of the clicks tells little.",
        "Check the user and time columns, and the session gap.",
    ),
    "own items": Cause(
        "The items that a user clicked before tell more than the network: users come back to the same items.",
        "Train with `dataset.session_gap = 0`, so that earlier visits of the same user are used.",
    ),
    "markov": Cause(
        "The last click alone tells more than the network makes of the whole session.",
        "Train for more epochs, or search for better settings with `nextclick-trainer tune`.",
    ),
}
_SIMILAR: Final = Cause(
    "Past sessions with the same items tell more than the network, as where most items have few clicks.",
    "Train for more epochs, or on a longer period.",
)
_KNN: Final = ("co-occurrence", "s-knn", "vs-knn", "vmis-knn")


def causes(
    manifest: Manifest, result: EvaluationResult, *, certain: bool, rival: str | None = None
) -> list[Cause]:
    """Return the reasons that the results show, the most likely first.

    `certain`: whether the difference is significant. If it is, evaluating more sessions would not help.
    `rival`: the baseline that is better, which is itself a hint; it comes last.
    """
    training = manifest.training
    found = (
        _one_click_sessions(training),
        _short_histories(result),
        _unknown_items(training, result),
        _few_clicks_per_item(training, manifest.items),
        _unfinished(training, result.top),
        None if certain else _few_sessions(result),
        _SIMILAR if rival in _KNN else _BY_RIVAL.get(rival or ""),
    )
    return [cause for cause in found if cause]


def _one_click_sessions(training: Mapping[str, Any]) -> Cause | None:
    for step in training.get("cleaning", []):
        if (step.get("what"), step.get("why")) == ("sessions", "of one click"):
            share = step["removed"] / max(1, step["removed"] + step["left"])
            if share >= MANY_SHORT:
                return Cause(
                    f"{share:.0%} of the training sessions have one click, so they have no next click.",
                    "Check that the user field identifies a person or a visit; if it does, try a longer "
                    "session gap.",
                )
    return None


def _short_histories(result: EvaluationResult) -> Cause | None:
    part = result.slices.get("1 click before")
    share = part.predictions / result.predictions if part else 0.0
    if share < MANY_SHORT:
        return None
    return Cause(
        f"{share:.0%} of the next clicks follow a single click, but the advantage of a network comes from "
        "longer histories.",
        "Train with a longer session gap, so that earlier clicks of the same user are used.",
    )


def _unknown_items(training: Mapping[str, Any], result: EvaluationResult) -> Cause | None:
    part = result.slices.get("targets not in the catalogue")
    share = part.predictions / result.predictions if part else 0.0
    if share < MANY_UNKNOWN:
        return None
    settings = training.get("settings")
    least = recorded(settings, "dataset.min_item_count") if isinstance(settings, Mapping) else None
    lower = ", or lower `dataset.min_item_count` so that more items are in the catalogue"
    return Cause(
        f"{share:.0%} of the next clicks are on items outside the catalogue of the release.",
        f"Train more often{'' if least == 1 else lower}.",
    )


def _few_clicks_per_item(training: Mapping[str, Any], items: int) -> Cause | None:
    clicks = training.get("clicks")
    if not clicks or clicks / items >= FEW_CLICKS_PER_ITEM:
        return None
    return Cause(
        f"Items have only {clicks / items:.0f} training clicks on average, too few to learn much about them.",
        "Train on a longer period, or add item features.",
    )


def _unfinished(training: Mapping[str, Any], top: int) -> Cause | None:
    # The metric by which the training keeps an epoch. If several epochs are equal, it keeps the first.
    found = [epoch.get(f"mrr_at_{top}") for epoch in training.get("epochs", [])]
    values = [value for value in found if value is not None]
    if len(values) < 2 or max(values) in values[:-1] or online(training) is not None:
        return None
    return Cause(
        f"The last of {len(values)} training epochs was the best: the training stopped too early.",
        "Train for more epochs.",
    )


def online(training: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the facts about online training in a manifest; None if the training was not online."""
    return training.get("online")


def _few_sessions(result: EvaluationResult) -> Cause | None:
    if result.sessions >= FEW_SESSIONS:
        return None
    return Cause(
        f"Only {result.sessions:,} sessions were evaluated, so the results are imprecise.",
        "Evaluate more sessions: set --split-at to an earlier time and retrain on the clicks before it.",
    )
