"""Releases that are renewed while the clicks go on, with default settings, and the nine baselines.

Where fashion changes within hours or days, users publish a new release as often (`nextclick-trainer run`).
The baselines learn again as often, too; `live popular` counts the clicks of every full hour at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import polars as pl

from tests.quality import news
from trainer.config import Baselines, FitSettings, Run
from trainer.console import Progress
from trainer.dataset.decisions import applied, exclude_recent
from trainer.dataset.prepare import prepare
from trainer.dataset.sessions import PastSessions, catalogue_of, moment_before, numbered, to_arrays
from trainer.evaluation import replay
from trainer.evaluation import verdict as verdicts
from trainer.evaluation.baselines import Asked
from trainer.evaluation.benchmark import NETWORK, baseline_answers
from trainer.evaluation.metrics import Answers
from trainer.evaluation.slices import EvaluationResult, Predictions
from trainer.training.decisions import of_online_training
from trainer.training.fit import fit
from trainer.training.online import OnlineTraining
from worker.settings.loading import replaced

MEASURED_EVERY: Final = 12
"""Of the hours of news, each of this number is measured: the nearest neighbours take most of the time."""

Part = tuple[dict[str, Answers], Predictions]


def by_fit(clicks: pl.DataFrame, every_ms: int, progress: Progress) -> EvaluationResult:
    """Renew the release every `every_ms` over the last tenth of `clicks`, each time by `fit`."""
    begin_ms, end_ms = moment_before(clicks, 0.1), int(clicks["timestamp_ms"].to_numpy().max())
    parts, now = list[Part](), datetime.now(UTC)
    for at_ms in range(begin_ms, end_ms, every_ms):
        until = clicks.filter(pl.col("timestamp_ms") < at_ms + every_ms)
        settings = FitSettings.of(split_at=at_ms)
        fitted = fit(until, settings, progress)
        # The final training's data: its catalogue is that of the release.
        settings = applied(settings, fitted.manifest.training).replaced(validation_fraction=0.0)
        data = prepare(until, settings, Progress(), now)
        answered = verdicts.answered(fitted.release, data, settings, Baselines(), progress)
        parts += [answered] if answered else []
    return _pooled(parts, FitSettings().evaluation.top)


def news_online(progress: Progress, *, hours: int | None = None) -> EvaluationResult:
    """Renew the release every hour of globo.com's news, by online training with default settings.

    Unlike in `run`, no hour is held out for a gate, so each release has learned all hours before.
    As in `news`, sessions belong to the hour in which they begin. All clicks but the first are predicted. The
    baselines learn from the 24 hours before, and popularity from the last one.
    """
    settings, release = FitSettings.of(epochs=Run().warm_epochs), None
    settings = replaced(settings, of_online_training(settings, every=3_600.0))
    training, parts = None, list[Part]()
    past = deque[pl.DataFrame](maxlen=news.BASELINE_HOURS)
    for number, (hour, clicks) in enumerate(news.windows()):
        if training is None:
            settings = replaced(settings, dict([exclude_recent(clicks)[:2]]))
            training = OnlineTraining(settings)
        if hours is not None and number > hours:
            break
        if release is not None and number % MEASURED_EVERY == 0:
            top, excluded = settings.evaluation.top, settings.evaluation.exclude_recent
            own = to_arrays(clicks, release.catalogue)
            found = {NETWORK: replay.answers(release, own, top=top, exclude_recent=excluded)}
            found |= _baselines(pl.concat(past), clicks, settings)
            parts.append((found, Predictions.of(own)))
            progress.say(f"{number} hours, {sum(len(one.session) for _, one in parts):,} predictions")
        known = clicks.with_columns(news.known_by(hour))
        past.append(known)
        training.apply(known, news.end_ms(hour))
        release = training.release(news.end_ms(hour)).release
    return _pooled(parts, settings.evaluation.top)


def _baselines(past: pl.DataFrame, clicks: pl.DataFrame, settings: FitSettings) -> dict[str, Answers]:
    catalogue = catalogue_of(past)
    sessions = to_arrays(clicks, catalogue)
    excluded = replay.recent_items(sessions, settings.evaluation.exclude_recent)
    times_ms, users = clicks["timestamp_ms"].to_numpy(), numbered(clicks["user_id"])
    asked = Asked(sessions, times_ms, excluded, users, np.zeros(len(clicks), np.bool_))
    return baseline_answers(
        PastSessions.of(past, catalogue), asked, top=settings.evaluation.top, settings=Baselines(recent=3_600)
    )


def _pooled(parts: Iterable[Part], top: int) -> EvaluationResult:
    """Return the result over all predictions of `parts`; no session is in two of them."""
    parts, none = [*parts], np.zeros(0, np.int64)
    names = parts[0][0]
    answers = {name: Answers(np.concatenate([one[name].ranks for one, _ in parts]), none) for name in names}
    sessions = np.cumsum([0, *(int(one.session.max()) + 1 for _, one in parts)])
    session = np.concatenate([one.session + first for (_, one), first in zip(parts, sessions, strict=False)])
    before, known = (np.concatenate([getattr(one, name) for _, one in parts]) for name in ("before", "known"))
    return EvaluationResult.of(answers, Predictions(session, before, known, None), top=top)


def figures(result: EvaluationResult) -> dict[str, Any]:
    """Return each metric of the release, with that of the best baseline."""
    metrics = [f"{name}_at_{result.top}" for name in verdicts.METRICS]
    found = [one for one in (verdicts.comparison(result, metric) for metric in metrics) if one]
    return {
        **{one.metric: one.network for one in found},
        "best_baseline": {
            one.metric: {
                "name": one.name,
                "baseline": one.baseline,
                "lead": list(one.lead),
                "outcome": one.outcome,
            }
            for one in found
        },
        "predictions": result.predictions,
        "sessions": result.sessions,
    }
