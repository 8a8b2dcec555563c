"""Globo.com's G1 news: learn from all hours so far, rank the last click of the next hour's sessions.

As in Transformers4Rec (RecSys 2021): sessions belong to the hour in which they begin and are cut to 20
clicks, all items that are known compete, and the figures are means over the hours. There half of an hour's
sessions are for choosing and half for measuring; settings here were chosen on the sessions of even number
of the first 48 hours, the size of batches on those of hours 310 to 350 as well, and the halves are told
beside the whole. A session is known with its hour, also what of it was clicked in the next one; `strict`
counts nothing as popular before it was clicked. Items of the session itself are not recommended; the
published models may, and lose the places they take.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tests.quality.data import FOLDER, clicks_of
from trainer.clicks.timestamps import HOUR_MS
from trainer.config import Baselines, FitSettings
from trainer.console import Progress
from trainer.dataset.sessions import PastSessions, Sessions, catalogue_of, numbered, to_arrays
from trainer.evaluation import replay
from trainer.evaluation.baselines import Asked
from trainer.evaluation.benchmark import baseline_answers
from trainer.evaluation.metrics import metrics
from trainer.training.online import OnlineTraining
from worker.core.catalogue import Catalogue
from worker.core.release import Release

NAME: Final = "globo_g1_news"
BEGIN_MS: Final = 1_506_825_380_000
LONGEST: Final = 20
TOP: Final = 20
SETTINGS: Final = FitSettings.of(
    hidden_size=128,
    epochs=2,
    batch_clicks=128,
    learning_rate=4e-3,
    schedule="constant",
    popularity_half_lives=(540.0, 3600.0, 21600.0),
    transition_half_lives=(21600.0, 172800.0),
    repeat_lags=0,
    own_items=0,
    exclude_recent=LONGEST - 1,
    session_gap=0,
)

BASELINES: Final = ("recently popular", "markov", "vmis-knn")
BASELINE_HOURS: Final = 24
"""They learn from so many hours, popularity from the last of them alone: what is older is no news."""


def run(progress: Progress, *, hours: int | None = None, strict: bool = False) -> dict[str, Any]:
    """Go through the first `hours`, or all."""
    stream, found, seconds = OnlineTraining(SETTINGS), list[dict[str, float]](), list[float]()
    means: dict[str, float] = {}
    release: Release | None = None
    for number, (hour, clicks) in enumerate(windows()):
        if release is not None:
            found.append(_measured(release, clicks))
            means = _means(found)
            progress.say(f"{number} hours, {np.mean(seconds):.1f} s each: {_told(means)}")
        if hours is not None and number == hours:
            break
        began = time.monotonic()
        stream.apply(clicks if strict else clicks.with_columns(known_by(hour)), end_ms(hour))
        release = stream.release(end_ms(hour)).release
        seconds.append(time.monotonic() - began)
    return {
        "metrics": means,
        "configuration": SETTINGS.to_json(),
        "hours": len(found),
        "seconds": float(np.sum(seconds)),
        "seconds_an_hour": float(np.mean(seconds)),
    }


def baselines(progress: Progress, *, hours: int | None = None) -> dict[str, Any]:
    """The same of `BASELINES`, which learn anew from the last hours before each."""
    past, found = deque[pl.DataFrame](maxlen=BASELINE_HOURS), list[dict[str, float]]()
    began, settings = time.monotonic(), Baselines(recent=3_600)
    for number, (hour, clicks) in enumerate(windows()):
        if past:
            known = pl.concat(past)
            catalogue = catalogue_of(known)
            sessions = _last_clicks(clicks, catalogue)
            excluded = replay.recent_items(sessions, SETTINGS.evaluation.exclude_recent)
            times_ms, users = clicks["timestamp_ms"].to_numpy(), numbered(clicks["user_id"])
            asked = Asked(sessions, times_ms, excluded, users, np.zeros(len(clicks), np.bool_))
            answers = baseline_answers(
                PastSessions.of(known, catalogue), asked, top=TOP, names=BASELINES, settings=settings
            )
            found.append(
                {
                    f"{name} {metric}": value
                    for name, one in answers.items()
                    for metric, value in _figures(one.ranks).items()
                }
            )
            progress.say(f"{number} hours: {_told(_means(found))}")
        if number == hours:
            break
        past.append(clicks.with_columns(known_by(hour)))
    return {
        "metrics": _means(found),
        "hours": len(found),
        "baseline_hours": BASELINE_HOURS,
        "seconds": time.monotonic() - began,
    }


def windows() -> Iterator[tuple[int, pl.DataFrame]]:
    """The number of each hour that has clicks, and these, session by session."""
    clicks = clicks_of(NAME).rename({"session_id": "session"})
    clicks = clicks.sort("session", maintain_order=True)
    clicks = clicks.filter(pl.int_range(pl.len(), 0, -1).over("session") <= LONGEST)
    hours = pl.read_csv(FOLDER / f"{NAME}.hours.csv").filter(pl.col("sessions") > 0)
    begins = clicks["session"].search_sorted(hours["first_session_id"]).to_list()
    for hour, begin, end in zip(hours["hour"], begins, [*begins[1:], len(clicks)], strict=True):
        yield hour, clicks[begin:end]


def end_ms(hour: int) -> int:
    """The end of hour number `hour`."""
    return BEGIN_MS + (hour + 1) * HOUR_MS


def known_by(hour: int) -> pl.Expr:
    """The times of clicks where a session is known whole with its hour."""
    return pl.col("timestamp_ms").clip(upper_bound=end_ms(hour) - 1)


def _measured(release: Release, clicks: pl.DataFrame) -> dict[str, float]:
    sessions = _last_clicks(clicks, release.catalogue)
    answers = replay.answers(release, sessions, top=TOP, exclude_recent=SETTINGS.evaluation.exclude_recent)
    even = clicks.group_by("session", maintain_order=True).len()["session"].to_numpy() % 2 == 0
    parts = {"": slice(None), "choosing_": even, "measuring_": ~even}
    return {
        prefix + name: value
        for prefix, chosen in parts.items()
        for name, value in _figures(answers.ranks[chosen]).items()
    }


def _figures(ranks: NDArray[np.int64]) -> dict[str, float]:
    found = metrics(ranks, TOP)
    return {name: found[name] for name in (f"recall_at_{TOP}", f"ndcg_at_{TOP}")}


def _means(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def _told(means: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in means.items())


def _last_clicks(clicks: pl.DataFrame, catalogue: Catalogue) -> Sessions:
    """The sessions, of which the last click alone is to be predicted."""
    sessions = to_arrays(clicks, catalogue)
    scored = np.zeros_like(sessions.scored)
    scored[sessions.starts[1:] - 1] = True
    return Sessions(sessions.items, sessions.starts, scored)
