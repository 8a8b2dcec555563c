"""The verdict on a release, in sentences: comparison with simple methods, likely causes, next step."""

from __future__ import annotations

from typing import Final, NamedTuple

from trainer.evaluation.benchmark import NETWORK
from trainer.evaluation.metrics import Figure
from trainer.evaluation.report.baselines import model, part
from trainer.evaluation.report.causes import MIN_SESSIONS, causes
from trainer.evaluation.report.charts import percent
from trainer.evaluation.slices import EvaluationResult, Slice
from worker.core.manifest import Manifest
from worker.topics.findings import amount
from worker.topics.releases import CANDIDATE, CHAMPION

ABOVE: Final = "above"
LEVEL: Final = "level"
BELOW: Final = "below"
UNKNOWN: Final = "unknown"

_ENOUGH: Final = 50
"""Minimum number of predictions of a slice that the verdict mentions."""

_OF: Final = (100, 1_000, 10_000)
"""Shares are shown as counts out of one of these totals: the first at which different shares give different
counts."""

_HEADLINES: Final = {
    ABOVE: "Better than the simple methods: try it on live users",
    LEVEL: "No better than a simple method: do not use it yet",
    BELOW: "Worse than a simple method: do not use it yet",
    UNKNOWN: "Inconclusive: do not base a decision on these results",
}

_BESTSELLERS: Final = "popular"


class Verdict(NamedTuple):
    """The verdict on a release; `outcome` says how it compares with the best baseline."""

    outcome: str
    headline: str
    shares: str
    """A sentence with the number of next clicks that each model predicted."""
    judgement: str
    """The comparison with the best baseline, in sentences."""
    causes: list[str]
    """Likely reasons why the release is not better; empty for a better release."""
    next_step: str
    details: list[str]
    """Confidence intervals, and the slices where the release is weak."""


def verdict(manifest: Manifest, result: EvaluationResult, *, caution: str = "", role: str = "") -> Verdict:
    """Return the verdict on a release by its `result`.

    `caution`: a warning if the release was trained on the clicks that it is measured on; else empty.
    `role`: the pointer that names the release; else empty.
    """
    recall = f"recall_at_{result.top}"
    rival = result.best_baseline(recall)
    known = not caution and result.sessions >= MIN_SESSIONS
    outcome = _outcome(lead(result, rival, recall)) if rival and known else UNKNOWN
    found = causes(manifest, result, certain=outcome == BELOW) if outcome in {LEVEL, BELOW} else []
    return Verdict(
        outcome=outcome,
        headline=_HEADLINES[outcome],
        shares=_shares(result, recall, rival),
        judgement=_judgement(result, recall, rival, outcome, caution),
        causes=[cause.text for cause in found],
        next_step=_next_step(outcome, [cause.remedy for cause in found], caution, role),
        details=[*_certainty(result, recall, rival), *_weak(result, recall)],
    )


_IN_SERVICE: Final = {
    CHAMPION: "It is already the champion: `nextclick-trainer releases` shows its live hit rate.",
    CANDIDATE: "It is already the candidate: `nextclick-trainer watch` decides on it by its users' clicks.",
}
"""The next step for a release that is better than the simple methods, by the pointer that names it."""


def lead(result: EvaluationResult, rival: str, metric: str) -> Figure:
    """Return the lead of the release over `rival` in `metric`.

    The interval is the paired interval if the result has it; otherwise, the widest interval that the
    intervals of the two models allow.
    """
    if rival in result.leads:
        return result.leads[rival][metric]
    own, other = result.models[NETWORK][metric], result.models[rival][metric]
    if own.low is None or own.high is None or other.low is None or other.high is None:
        return Figure(own.value - other.value)
    return Figure(own.value - other.value, own.low - other.high, own.high - other.low)


def between(figure: Figure) -> str:
    """Return the interval of `figure` as text in brackets, with a leading space; empty if there is none."""
    if figure.low is None or figure.high is None:
        return ""
    return f" (95 % interval {percent(figure.low)} to {percent(figure.high)})"


def _outcome(ahead: Figure) -> str:
    if ahead.low is None or ahead.high is None:
        return UNKNOWN
    return ABOVE if ahead.low > 0 else BELOW if ahead.high < 0 else LEVEL


def _shares(result: EvaluationResult, metric: str, rival: str | None) -> str:
    named = [name for name in dict.fromkeys((_BESTSELLERS, rival)) if name and name in result.models]
    values = [result.models[name][metric].value for name in (NETWORK, *named)]
    of = next((of for of in _OF if _distinguishable(values, of)), _OF[-1])
    own, *others = (f"{round(of * value):,}" for value in values)
    first = f"Of {of:,} next clicks, this release predicted {own}"
    rest = [f"{model(name).spoken} {number}" for name, number in zip(named, others, strict=True)]
    return "; ".join([first, *rest]) + "."


def _distinguishable(values: list[float], of: int) -> bool:
    """Return whether different values stay different as counts out of `of`, and only 0 becomes 0."""
    rounded = [round(of * value) for value in values]
    return len(set(rounded)) == len(set(values)) and all(map(bool, rounded)) == all(map(bool, values))


def _judgement(result: EvaluationResult, metric: str, rival: str | None, outcome: str, caution: str) -> str:
    if caution:
        return "The release was trained on clicks that it is measured on here, so its results are too good."
    if rival is None:
        return "No simple method was measured on the same clicks, so there is nothing to compare with."
    name, ahead = model(rival).spoken, lead(result, rival, metric)
    if outcome == UNKNOWN:
        few = f"{amount(result.sessions, 'session')} cannot decide, {MIN_SESSIONS} are needed"
        why = few if result.sessions < MIN_SESSIONS else "The results have no confidence intervals"
        return f"{why}, so the difference from {name} may be chance."
    points = f"{100 * abs(ahead.value):.1f} percentage points"
    if outcome == ABOVE:
        return (
            f"It is better than {name}, the best simple method here, by {points}. "
            "The difference is statistically significant."
        )
    if outcome == BELOW:
        return (
            f"Do not use this release yet: {name}, a much simpler method, is better by {points}. "
            "The difference is statistically significant."
        )
    return (
        f"Do not use this release yet: its difference from {name} ({points}) is "
        "not statistically significant."
    )


def _next_step(outcome: str, remedies: list[str], caution: str, role: str) -> str:
    if role and outcome == ABOVE:
        return _IN_SERVICE[role]
    if outcome == ABOVE:
        return (
            "Publish it as a candidate for a share of your users with "
            "`nextclick-trainer publish --candidate`; `nextclick-trainer watch` then decides by their clicks."
        )
    if caution:
        return "Measure it on newer clicks: set --split-at to a time after its training clicks."
    if outcome == UNKNOWN:
        return "Measure it on more clicks, with --split-at: the simple methods are trained on earlier clicks."
    remedy = (
        remedies[0]
        if remedies
        else "Train on more clicks, or search for better settings with `nextclick-trainer tune`."
    )
    return f"{remedy} Then create this report again."


def _certainty(result: EvaluationResult, metric: str, rival: str | None) -> list[str]:
    own = result.models[NETWORK][metric]
    first = (
        f"In {percent(own.value)} of {result.predictions:,} held-out cases the next click "
        f"was among the {result.top} recommended items{between(own)}."
    )
    if rival is None:
        return [first]
    ahead = lead(result, rival, metric)
    points = [100 * value for value in (ahead.value, ahead.low, ahead.high) if value is not None]
    second = f"Lead over {model(rival).spoken}: {points[0]:+.2f} percentage points"
    if len(points) == len(ahead):
        second += f" (95 % interval {points[1]:+.2f} to {points[2]:+.2f})"
    return [first, f"{second}."]


def _weak(result: EvaluationResult, metric: str) -> list[str]:
    # Slices where no model predicts anything, such as items outside the catalogue, are left out.
    slices = {
        part(name): one
        for name, one in result.slices.items()
        if one.predictions >= _ENOUGH and any(figures[metric].value for figures in one.models.values())
    }
    if not slices:
        return []
    name, one = min(slices.items(), key=lambda item: item[1].models[NETWORK][metric].value)
    share = percent(one.models[NETWORK][metric].value)
    weakest = f"It is weakest on {name}: it predicted {share} of {one.predictions:,}."
    rivals = {name: _beaten_by(one, metric) for name, one in slices.items()}
    beaten = [f"{name} ({model(rival).spoken})" for name, rival in rivals.items() if rival]
    return [weakest, f"A simple method is better on {', '.join(beaten)}."] if beaten else [weakest]


def _beaten_by(one: Slice, metric: str) -> str:
    """Return the best model on the slice `one` if the model is above the release's interval; else ""."""
    name = max(one.models, key=lambda name: one.models[name][metric].value)
    own = one.models[NETWORK][metric]
    return name if one.models[name][metric].value > max(own.value, own.high or 0.0) else ""
