"""Comparison of two releases: the difference in each metric, with a confidence interval.

Both releases answer exactly the same predictions. A paired bootstrap over sessions (Efron & Tibshirani 1993)
gives the interval of their difference.

    >>> a, b = (Answers(np.array(ranks), np.zeros(1, np.int64)) for ranks in ([0, 0, 2, 0], [1, 1, 2, 1]))
    >>> found = paired(a, b, np.arange(4), top=20)["recall_at_20"]
    >>> found.difference, found.better, found.sessions
    (0.75, True, 4)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from trainer.console import Progress
from trainer.dataset.holdout import HeldOut, hold_out
from trainer.errors import TooFewClicks
from trainer.evaluation.metrics import ROUNDS, Answers, Counts, interval, resampled, sums_by, values
from trainer.evaluation.replay import answers
from worker.core.release import Release


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between releases A and B in one metric, on the same predictions."""

    metric: str
    a: float
    b: float
    low: float
    high: float
    """`low` and `high`: the 95 % confidence interval of `difference`."""
    probability: float
    """The share of bootstrap resamples in which B is better; ties count half."""
    predictions: int
    sessions: int

    @property
    def difference(self) -> float:
        """The metric of B minus the metric of A."""
        return self.b - self.a

    @property
    def better(self) -> bool:
        """Whether B is significantly better than A."""
        return self.low > 0

    @property
    def worse(self) -> bool:
        """Whether B is significantly worse than A."""
        return self.high < 0

    def sentence(self, a: str = "A", b: str = "B") -> str:
        """Return the result as a sentence for display; `a` and `b` are the names of the releases."""
        name = title(self.metric)
        if not (self.better or self.worse):
            return (
                f"no significant difference: {name} of {b} minus that of {a} is "
                f"{100 * self.difference:+.2f} percentage points "
                f"(95 % interval {100 * self.low:+.2f} to {100 * self.high:+.2f})"
            )
        size, word = abs(self.difference), "better" if self.better else "worse"
        low, high = sorted((abs(self.low), abs(self.high)))
        return (
            f"{b} is {word} than {a} by {100 * size:.2f} percentage points of {name} "
            f"(95 % interval {100 * low:.2f} to {100 * high:.2f})"
        )


class Aligned(NamedTuple):
    """The answers of two releases to their common predictions."""

    a: Answers
    b: Answers
    session: Counts
    """`[P]`: the session number of each prediction, by the longer of the two session gaps."""
    only_a: int
    only_b: int
    """`only_a` and `only_b`: the number of predictions that only one of the releases has."""


def title(metric: str) -> str:
    """Return the display name of a metric: NDCG@20 for `ndcg_at_20`."""
    name, at, top = metric.partition("_at_")
    written = name.upper() if name in {"mrr", "ndcg", "f1"} else name.capitalize()
    return f"{written}@{top}" if at else written


def paired(
    a: Answers,
    b: Answers,
    session: Counts,
    *,
    top: int,
    smaller_tops: Collection[int] = (),
    rounds: int = ROUNDS,
    seed: int = 0,
) -> dict[str, Difference]:
    """Return the difference in each metric between two models' answers to the same predictions.

    The metrics are those for `top` and each of `smaller_tops`.

    `session` `[P]`: the session number of each prediction. Bootstrap: `rounds` times, sessions are drawn with
    replacement, and both models are measured on the same drawn sessions.
    """
    values_a, values_b = (values(one.ranks, *{*smaller_tops, top}) for one in (a, b))
    differences = [values_b[metric] - values_a[metric] for metric in values_a]
    sums = sums_by(session, np.stack([*differences, np.ones(len(session))], axis=1))
    # Drop session numbers without a common prediction.
    sums = sums[sums[:, -1] > 0]
    totals = resampled(sums, rounds=rounds, seed=seed)
    drawn = totals[:, :-1] / totals[:, -1:]
    low, high = interval(drawn)
    better = (1 + np.sign(drawn)).mean(axis=0) / 2
    return {
        metric: Difference(
            metric=metric,
            a=float(values_a[metric].mean()),
            b=float(values_b[metric].mean()),
            low=float(low[at]),
            high=float(high[at]),
            probability=float(better[at]),
            predictions=len(session),
            sessions=len(sums),
        )
        for at, metric in enumerate(values_a)
    }


def to_json(found: Mapping[str, Difference], by: str, *, a: str = "A", b: str = "B") -> dict[str, Any]:
    """Return the differences `found` and the verdict on the metric `by`, as JSON values.

    `a` and `b`: the names in the verdict.
    """
    names = ("a", "b", "difference", "low", "high", "probability")
    decisive = found[by]
    return {
        "by": by,
        "verdict": decisive.sentence(a, b),
        "predictions": decisive.predictions,
        "sessions": decisive.sessions,
        "metrics": {metric: {name: getattr(one, name) for name in names} for metric, one in found.items()},
    }


def align(
    a: Release,
    b: Release,
    clicks: pl.DataFrame,
    *,
    from_ms: int | None,
    leave_last: int = 0,
    min_context: int = 1,
    top: int,
    exclude_recent: int | None,
    progress: Progress = Progress(),  # noqa: B008  # silent, without state
) -> Aligned:
    """Return the answers of `a` and `b` to their common predictions in `clicks` (from `holdout.cleaned`).

    A prediction is a click that is not the first of its session. If the session gaps of the releases differ,
    some clicks are predictions for only one release, and are left out. `from_ms`, `leave_last` and
    `min_context` choose the test split (`TestSplit`). `exclude_recent`: None for what each release says.
    Raises TooFewClicks if there are no common predictions.
    """
    gaps = [release.manifest.session_gap_seconds for release in (a, b)]
    held_out = partial(
        hold_out, clicks, from_ms=from_ms, leave_last=leave_last, min_context=min_context, progress=progress
    )
    held = {gap: held_out(gap_seconds=gap) for gap in set(gaps)}
    longer = held[0.0 if 0.0 in gaps else max(gaps)]
    found, rows = [], []
    for release, name, gap in zip((a, b), "AB", gaps, strict=True):
        sessions, its = held[gap].sessions(release.catalogue), held[gap]
        if caution := its.caution(release.manifest, name):
            progress.say(caution)
        excluded = release.manifest.exclude_recent if exclude_recent is None else exclude_recent
        found.append(answers(release, sessions, top=top, exclude_recent=excluded))
        rows.append(its.rows[sessions.scored])
    common, in_a, in_b = np.intersect1d(rows[0], rows[1], assume_unique=True, return_indices=True)
    if not len(common):
        raise TooFewClicks("the two releases have no predictions in common, so they cannot be compared")
    return Aligned(
        a=found[0]._replace(ranks=found[0].ranks[in_a]),
        b=found[1]._replace(ranks=found[1].ranks[in_b]),
        session=_session_of(longer, common),
        only_a=len(rows[0]) - len(common),
        only_b=len(rows[1]) - len(common),
    )


def _session_of(held: HeldOut, rows: Counts) -> Counts:
    """Return the session number in `held` of each click of `rows`."""
    order = np.argsort(held.rows)
    at = order[np.searchsorted(held.rows, rows, sorter=order)]
    return held.clicks["session"].to_numpy()[at]
