"""The verdict on a release: its comparison with the best baseline, by paired bootstrap over sessions.

>>> import numpy as np
>>> network, other = (Answers(np.array(ranks), np.zeros(1, np.int64)) for ranks in ([1, 1, 2], [0, 0, 2]))
>>> alone = Predictions(np.arange(3), np.ones(3, np.int64), np.ones(3, np.bool_), None)
>>> result = EvaluationResult.of({"network": network, "popular": other}, alone, top=2)
>>> found = comparison(result, "mrr_at_2")
>>> found.name, found.outcome, round(found.lead.value, 3)
('popular', 'no difference', 0.667)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from trainer.config import Baselines, FitSettings
from trainer.console import Progress
from trainer.dataset.dataset import Data
from trainer.dataset.sessions import PastSessions, sampled
from trainer.evaluation import replay
from trainer.evaluation.baselines import Asked
from trainer.evaluation.benchmark import NETWORK, baseline_answers
from trainer.evaluation.compare import title
from trainer.evaluation.metrics import Answers, Figure
from trainer.evaluation.report.causes import MIN_SESSIONS, causes
from trainer.evaluation.slices import EvaluationResult, Predictions, thirds
from worker.core.manifest import Manifest
from worker.core.tables import ServingTables
from worker.topics.findings import amount

ABOVE: Final = "above"
LEVEL: Final = "no difference"
BELOW: Final = "below"
UNKNOWN: Final = "unknown"

METRICS: Final = ("recall", "mrr", "ndcg")
"""The metrics of the verdict, each at K."""

MOST_PREDICTIONS: Final = 20_000
"""Maximum number of predictions on which `fit` measures the baselines, whose cost grows with it."""

_MOST_CAUSES: Final = 2

_WORDS: Final = {ABOVE: "above", LEVEL: "no significant difference from", BELOW: "below"}


class Comparison(NamedTuple):
    """The release and the best baseline by one metric, on the same predictions."""

    metric: str
    network: float
    name: str
    """The name of the best baseline."""
    baseline: float
    lead: Figure
    """The lead of the release, with its paired 95 % interval."""
    of: int
    """The number of baselines that were measured."""

    @property
    def outcome(self) -> str:
        """Whether the release is significantly above or below the baseline."""
        _, low, high = self.lead
        if low is None or high is None:
            return LEVEL
        return ABOVE if low > 0 else BELOW if high < 0 else LEVEL

    @property
    def sentence(self) -> str:
        """The comparison as text."""
        points = [100 * value for value in self.lead if value is not None]
        which = f"the best of {self.of} baselines" if self.of > 1 else "the only baseline"
        return (
            f"{_WORDS[self.outcome]} {which} by {title(self.metric)}: {self.network:.4f} against "
            f"{self.baseline:.4f} ({self.name}), {points[0]:+.2f} percentage points "
            f"(95 % interval {points[1]:+.2f} to {points[2]:+.2f})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values; `lead` is [value, low, high]."""
        return {**self._asdict(), "lead": list(self.lead), "outcome": self.outcome}


def comparison(result: EvaluationResult, metric: str) -> Comparison | None:
    """Return the comparison of the first model of `result` with the best other; None if there is no other."""
    best = result.best_baseline(metric)
    if best is None:
        return None
    own, other = (result.models[name][metric].value for name in (next(iter(result.models)), best))
    lead, of = result.leads[best][metric], len(result.models) - 1
    return Comparison(metric=metric, network=own, name=best, baseline=other, lead=lead, of=of)


def verdict(manifest: Manifest, result: EvaluationResult) -> dict[str, Any] | None:
    """Return the verdict by each of `METRICS` as JSON values; None if `result` has no baseline.

    `sentences` has a sentence for each metric. If the release is below by any of them, `causes` has the most
    likely causes that the facts show. With fewer than `MIN_SESSIONS` sessions, every outcome is `UNKNOWN`,
    and the only sentence says so.
    """
    found = [comparison(result, f"{name}_at_{result.top}") for name in METRICS]
    compared = [one for one in found if one]
    if not compared:
        return None
    if result.sessions < MIN_SESSIONS:
        few = (
            f"no verdict: these are too few sessions, {MIN_SESSIONS} are needed. Use the clicks of more "
            "users or of a longer time, or raise dataset.test_fraction"
        )
        return {
            "predictions": result.predictions,
            "sessions": result.sessions,
            "metrics": [one.to_json() | {"outcome": UNKNOWN} for one in compared],
            "sentences": [few],
            "causes": [],
        }
    below = [one for one in compared if one.outcome == BELOW]
    reasons = causes(manifest, result, certain=True, rival=below[0].name) if below else []
    return {
        "predictions": result.predictions,
        "sessions": result.sessions,
        "metrics": [one.to_json() for one in compared],
        "sentences": [one.sentence for one in compared],
        "causes": [f"{cause.text} {cause.remedy}" for cause in reasons[:_MOST_CAUSES]],
    }


def lines(found: Mapping[str, Any] | None) -> list[str]:
    """Return the lines of text of a verdict; none without one."""
    if not found:
        return []
    sessions = amount(found["sessions"], "session")
    heading = f"on {found['predictions']:,} predictions in {sessions} of the test split:"
    return [
        heading,
        *found["sentences"],
        *(f"likely cause: {cause.replace('`', '')}" for cause in found["causes"]),
    ]


def compared(
    tables: ServingTables, data: Data, settings: FitSettings, baselines: Baselines, progress: Progress
) -> EvaluationResult | None:
    """Measure a model and all baselines on the test split of `data`; None if it has no predictions."""
    found = answered(tables, data, settings, baselines, progress)
    return EvaluationResult.of(*found, top=settings.evaluation.top) if found else None


def answered(
    tables: ServingTables, data: Data, settings: FitSettings, baselines: Baselines, progress: Progress
) -> tuple[dict[str, Answers], Predictions] | None:
    """Return the answers that `compared` measures, and their predictions; None if there are none.

    The baselines count all clicks before the test split, also on items that are not in the catalogue. If the
    split is large, a random sample of its sessions, with about `MOST_PREDICTIONS` predictions, is answered.
    The model ranks as a worker does by default: approximately, if it has lists of a large catalogue.
    """
    every = data.every_item
    if every is None or not every.test.predictions:
        return None
    scored = sampled(data.test, MOST_PREDICTIONS)
    own, test = replace(data.test, scored=scored), replace(every.test, scored=scored)
    top, exclude_recent = settings.evaluation.top, settings.evaluation.exclude_recent
    past = PastSessions(
        every.past, every.past.known_times_ms, int(every.past.items.max()) + 1, every.past_users
    )
    asked = Asked(
        test,
        test.known_times_ms,
        replay.excluded_items(test, exclude_recent),
        users=every.test_users,
        context=every.context,
    )
    found: dict[str, Answers] = {
        NETWORK: replay.answers(tables, own, top=top, exclude_recent=exclude_recent),
        **baseline_answers(past, asked, top=top, settings=baselines, progress=progress),
    }
    third = thirds(past.clicks, test.items[scored])
    return found, Predictions.of(own, third)
