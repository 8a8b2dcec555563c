"""The verdict on a release, in sentences."""

from __future__ import annotations

from typing import Final

from trainer.evaluation.metrics import Figure
from trainer.evaluation.report.charts import percent
from trainer.evaluation.slices import EvaluationResult, Slice

_ENOUGH: Final = 50
"""Slices of fewer predictions are too small to be called weak."""


def best_baseline(result: EvaluationResult, metric: str) -> str | None:
    """Return the model that is best in `metric` apart from the release, which comes first; None if alone."""
    others = list(result.models)[1:]
    return max(others, key=lambda name: result.models[name][metric].value, default=None)


def verdict(result: EvaluationResult) -> list[str]:
    """Return sentences: is the release good, compared with what, and where is it weak."""
    recall, mrr = f"recall_at_{result.top}", f"mrr_at_{result.top}"
    own = next(iter(result.models.values()))[recall]
    first = (
        f"In {percent(own.value)} of {result.predictions:,} held-out cases the item that the user clicked "
        f"next is among the {result.top} that the release shows{between(own)}."
    )
    sentences = [
        _against(result, recall, "by this measure"),
        _against(result, mrr, "by how high in the list that item stands"),
        *_weak(result, recall),
    ]
    return [first, *filter(None, sentences)]


def between(figure: Figure) -> str:
    """Return the interval of `figure` in brackets, after a space; "" if there is none."""
    if figure.low is None or figure.high is None:
        return ""
    return f" (95 % interval {percent(figure.low)} to {percent(figure.high)})"


def _against(result: EvaluationResult, metric: str, measured: str) -> str:
    rival = best_baseline(result, metric)
    if rival is None:
        return ""
    own, other = next(iter(result.models.values()))[metric], result.models[rival][metric]
    among = f"the best of the {len(result.models) - 1} simple methods compared with it"
    if len(result.models) == 2:
        among = "the simple method compared with it"
    values = f"{percent(own.value)} against {percent(other.value)}"
    if None in (own.low, own.high, other.low, other.high):
        outcome = "better than" if own.value > other.value else "not better than"
    else:
        outcome = _outcome(own, other)
    return f"It is {outcome} {rival}, {among}, {measured}: {values}."


def _outcome(own: Figure, other: Figure) -> str:
    """Return how two figures compare; if their intervals overlap, neither is called better."""
    if own.low is not None and other.high is not None and own.low > other.high:
        return "clearly better than"
    if own.high is not None and other.low is not None and own.high < other.low:
        return "clearly worse than"
    return "not clearly different from"


def _weak(result: EvaluationResult, metric: str) -> list[str]:
    slices = {name: one for name, one in result.slices.items() if one.predictions >= _ENOUGH}
    if not slices:
        return []
    network = next(iter(result.models))
    name, one = min(slices.items(), key=lambda item: item[1].models[network][metric].value)
    weakest = (
        f"It is weakest on {name}: {percent(one.models[network][metric].value)} of {one.predictions:,} cases."
    )
    rivals = {name: _beaten_by(one, network, metric) for name, one in slices.items()}
    beaten = [f"{name} ({rival})" for name, rival in rivals.items() if rival]
    return [weakest, f"A simple method does better on {', '.join(beaten)}."] if beaten else [weakest]


def _beaten_by(part: Slice, network: str, metric: str) -> str:
    """Return the model that is best on `part` if the interval of the release excludes its figure; else ""."""
    name = max(part.models, key=lambda model: part.models[model][metric].value)
    own = part.models[network][metric]
    return name if part.models[name][metric].value > max(own.value, own.high or 0.0) else ""
