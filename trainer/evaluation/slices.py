"""Results of several models on the same predictions: metrics with intervals, overall and by slice.

>>> sessions = Predictions(np.array([0, 0, 1]), np.array([1, 2, 1]), np.array([True, True, True]), None)
>>> network = Answers(np.array([1, 2, 0]), np.array([2, 2]))
>>> one = EvaluationResult.of({"network": network}, sessions, top=2)
>>> round(one.models["network"]["mrr_at_2"].value, 3), one.slices["1 click before"].predictions
(0.5, 2)
>>> EvaluationResult.from_json(one.to_json()) == one
True
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.dataset.lists import by_count
from trainer.dataset.sessions import Sessions
from trainer.evaluation.metrics import (
    ROUNDS,
    Answers,
    Counts,
    Figure,
    Values,
    interval,
    list_metrics,
    resampled,
    sums_by,
)
from trainer.evaluation.metrics import values as values_of
from worker.core.ranking import NO_ITEM, Indexes

Flags = NDArray[np.bool_]
Figures = dict[str, Figure]

_LENGTHS: Final = (
    ("1 click before", 1, 1),
    ("2 to 3 clicks before", 2, 3),
    ("4 to 7 clicks before", 4, 7),
    ("8 or more clicks before", 8, np.inf),
)

_THIRDS: Final = ("popular targets", "middling targets", "rare targets")
"""Slices by the popularity of the target. With items ordered by clicks, each slice has items that together
have a third of all training clicks."""


class Predictions(NamedTuple):
    """Properties of P predictions that do not depend on a model, `[P]` each."""

    session: Counts
    """The session number, from 0."""
    before: Counts
    """The number of clicks in the session before the target."""
    known: Flags
    """Whether the target is in the network's catalogue."""
    third: Indexes | None
    """The index in `_THIRDS` of the target; -1 if it has no training clicks. None: the training clicks are
    not available."""

    @classmethod
    def of(cls, sessions: Sessions, third: Indexes | None = None) -> Predictions:
        """Return the properties of the predictions in `sessions`, which must use the network's catalogue."""
        session = np.repeat(np.arange(len(sessions)), sessions.lengths)
        before = np.arange(len(session)) - np.repeat(sessions.starts[:-1], sessions.lengths)
        scored = sessions.scored
        _, number = np.unique(session[scored], return_inverse=True)
        return cls(number, before[scored], sessions.items[scored] != NO_ITEM, third)

    def slices(self) -> dict[str, Flags]:
        """Return a mask `[P]` of the predictions in each slice, for the slices that are not empty."""
        found = {name: (self.before >= low) & (self.before <= high) for name, low, high in _LENGTHS}
        if self.third is not None:
            found |= {name: self.third == number for number, name in enumerate(_THIRDS)}
            found["new targets, not clicked in training"] = self.third < 0
        found["targets not in the catalogue"] = ~self.known
        return {name: chosen for name, chosen in found.items() if chosen.any()}


@dataclass(frozen=True, slots=True)
class Slice:
    """The metrics of each model on one slice of the predictions."""

    predictions: int
    models: dict[str, Figures]


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """The metrics of all models, as model -> metric -> figure: on all predictions, and by slice.

    The metrics are those of `metrics.values`; `models` also has the metrics of `metrics.list_metrics`.
    """

    top: int
    sessions: int
    predictions: int
    models: dict[str, Figures]
    slices: dict[str, Slice]
    leads: dict[str, Figures] = field(default_factory=dict)
    """The first model's lead, as other model -> metric -> first model's value minus other model's value.

    The intervals are paired: both models are measured on the same resampled sessions.
    """
    smaller_tops: tuple[int, ...] = ()
    """Further K, all below `top`, for which the metrics are also given."""
    test_clicks: int | None = None
    """The number of clicks in the test split, of which `predictions` could be predicted; None: unknown."""

    @classmethod
    def of(
        cls,
        answers: Mapping[str, Answers],
        predictions: Predictions,
        *,
        top: int,
        smaller_tops: Collection[int] = (),
        clicks: Mapping[str, Counts] | None = None,
        test_clicks: int | None = None,
        rounds: int = ROUNDS,
        seed: int = 0,
    ) -> EvaluationResult:
        """Return the metrics of all models from their `answers` to the same `predictions`.

        `clicks`: by model, the training clicks on each item of the model's catalogue.
        """
        tops = sorted({*smaller_tops, top})
        slices = predictions.slices()
        chosen = [np.ones(len(predictions.session), np.bool_), *slices.values()]
        models, resamples = {}, {}
        for name, found in answers.items():
            models[name], resamples[name] = _figures(
                found, predictions.session, chosen, tops, rounds=rounds, seed=seed
            )
        leads = _leads({name: figures[0] for name, figures in models.items()}, resamples)
        for name, found in answers.items():
            lists = list_metrics(found.shown, (clicks or {}).get(name))
            models[name][0].update({metric: Figure(value) for metric, value in lists.items()})
        return cls(
            top=top,
            sessions=len(np.unique(predictions.session)),
            predictions=len(predictions.session),
            models={name: figures[0] for name, figures in models.items()},
            slices={
                name: Slice(int(flags.sum()), {model: figures[number] for model, figures in models.items()})
                for number, (name, flags) in enumerate(slices.items(), start=1)
            },
            leads=leads,
            smaller_tops=tuple(tops[:-1]),
            test_clicks=test_clicks,
        )

    def best_baseline(self, metric: str) -> str | None:
        """Return the baseline with the best `metric`; None if there is no baseline."""
        others = list(self.models)[1:]
        return max(others, key=lambda name: self.models[name][metric].value, default=None)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values; a figure is [value, low, high]."""
        slices = {
            name: {"predictions": one.predictions, "models": _models_to(one.models)}
            for name, one in self.slices.items()
        }
        return {
            "top": self.top,
            "sessions": self.sessions,
            "predictions": self.predictions,
            "models": _models_to(self.models),
            "slices": slices,
            "leads": _models_to(self.leads),
            "smaller_tops": list(self.smaller_tops),
            "test_clicks": self.test_clicks,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> EvaluationResult:
        """Return the result from the JSON values of `to_json`."""
        slices = {
            name: Slice(one["predictions"], _models_from(one["models"]))
            for name, one in stored["slices"].items()
        }
        models, leads = _models_from(stored["models"]), _models_from(stored.get("leads", {}))
        smaller = tuple(stored.get("smaller_tops", ()))
        changed = {"models": models, "slices": slices, "leads": leads, "smaller_tops": smaller}
        return cls(**{**stored, **changed})


def thirds(clicks: Counts, targets: Indexes) -> Indexes:
    """Return the index in `_THIRDS` of each of `targets`; -1 for items without clicks. `clicks` is `[N]`."""
    order = by_count(clicks)
    before = np.cumsum(clicks[order]) - clicks[order]
    third = np.empty(len(clicks) + 1, np.int32)
    third[order] = np.minimum(len(_THIRDS) * before // max(1, clicks.sum()), len(_THIRDS) - 1)
    third[:-1][clicks == 0] = -1
    third[-1] = -1
    return third[targets]


def _figures(
    found: Answers, session: Counts, chosen: list[Flags], tops: list[int], *, rounds: int, seed: int
) -> tuple[list[Figures], Values]:
    """Return one model's metrics on each of the `chosen` masks, and the resampled metrics on the first mask.

    The resampled metrics are `[rounds, metrics]`. The same seed draws the same sessions for every model.
    """
    metrics = values_of(found.ranks, *tops)
    values = np.stack([*metrics.values(), np.ones(len(session))], axis=1)
    columns = np.concatenate([values * flags[:, None] for flags in chosen], axis=1)
    sums = sums_by(session, columns)
    value = _means(sums.sum(axis=0)[None], len(chosen))[0]
    resamples = _means(resampled(sums, rounds=rounds, seed=seed), len(chosen))
    low, high = interval(resamples)
    figures = np.stack([value, low, high], axis=-1).tolist()
    named = [{name: Figure(*one) for name, one in zip(metrics, part, strict=True)} for part in figures]
    return named, resamples[:, 0]


def _leads(models: Mapping[str, Figures], resamples: Mapping[str, Values]) -> dict[str, Figures]:
    """Return the lead of the first of `models` over each other model, with paired intervals."""
    first, *others = models
    leads = {}
    for other in others:
        low, high = interval(resamples[first] - resamples[other])
        leads[other] = {
            metric: Figure(models[first][metric].value - models[other][metric].value, below, above)
            for metric, below, above in zip(models[first], low.tolist(), high.tolist(), strict=True)
        }
    return leads


def _means(totals: Values, parts: int) -> Values:
    """Return the means `[R, parts, metrics]` from `totals`.

    In `totals`, each part has a column per metric, then one with the number of predictions.
    """
    by_part = totals.reshape(len(totals), parts, -1)
    with np.errstate(invalid="ignore"):
        return by_part[:, :, :-1] / by_part[:, :, -1:]


def _models_to(models: Mapping[str, Figures]) -> dict[str, dict[str, list[float | None]]]:
    return {
        model: {metric: list(figure) for metric, figure in metrics.items()}
        for model, metrics in models.items()
    }


def _models_from(stored: Mapping[str, Any]) -> dict[str, Figures]:
    return {
        model: {metric: Figure(*figure) for metric, figure in metrics.items()}
        for model, metrics in stored.items()
    }
