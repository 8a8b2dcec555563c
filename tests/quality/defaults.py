"""Default settings only, as a new user runs `fit`: on the public data sets, and on simulated catalogues.

Nothing is set but the time at which the test split starts, where a protocol has one. The release is compared
with the best of all baselines by a paired bootstrap over sessions, as `fit` does.
"""

from __future__ import annotations

import time
from typing import Any, Final

import polars as pl

from tests.quality import news, renewed, sessions, simulated, small
from tests.quality.data import BUILD, begin_of, clicks_of
from trainer.clicks.columns import SCHEMA
from trainer.config import Baselines, FitSettings
from trainer.console import Progress
from trainer.training import checkpoints
from trainer.training.fit import fit

NAMES: Final = (*small.NAMES, *sessions.PROTOCOLS)

ONE_RELEASE: Final = f"{news.NAME}_one_release"
"""News, with one release for the last tenth of the clicks, which is never renewed."""


def run(name: str, progress: Progress) -> dict[str, Any]:
    """Fit on a public data set with default settings; return each figure with the best baseline."""
    name = news.NAME if name == ONE_RELEASE else name
    clicks, split_at_ms = split(name)
    return _measured(name, clicks, split_at_ms, progress)


def run_simulated(progress: Progress) -> dict[str, Any]:
    """Fit on every simulated catalogue with default settings; return the figures by catalogue."""
    found = {}
    for name in simulated.WORLDS:
        progress.say(f"simulated catalogue: {name}")
        clicks, every_ms = simulated.clicks_of(name), simulated.WORLDS[name].renewed_every_ms
        if every_ms:
            found[name] = renewed.figures(renewed.by_fit(clicks, every_ms, progress))
        else:
            found[name] = _measured(name, clicks, None, progress)
    return found


def run_news(progress: Progress, *, hours: int | None = None) -> dict[str, Any]:
    """Train online on the news with default settings, hour by hour; return figures with the best baseline."""
    began = time.monotonic()
    found = renewed.figures(renewed.news_online(progress, hours=hours))
    return found | {"seconds": time.monotonic() - began}


def split(name: str) -> tuple[pl.DataFrame, int | None]:
    """Return the clicks of a data set, and the start of its test split; None: as `fit` splits by itself."""
    if name in small.NAMES:
        return small.split(name)
    clicks = clicks_of(name)
    protocol = sessions.PROTOCOLS.get(name)
    split_at_ms = begin_of(clicks, protocol.first_test_session) if protocol else None
    return clicks.select(*SCHEMA), split_at_ms


def _measured(name: str, clicks: pl.DataFrame, split_at_ms: int | None, progress: Progress) -> dict[str, Any]:
    settings = FitSettings() if split_at_ms is None else FitSettings.of(split_at=split_at_ms)
    work, began, cpu = BUILD / f"{name}_default", time.monotonic(), time.process_time()
    fitted = fit(clicks, settings, progress, work=work, baselines=Baselines())
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu
    checkpoints.remove(work)
    training = fitted.manifest.training
    compared = training["comparison"]
    return {
        **{one["metric"]: one["network"] for one in compared["metrics"]},
        "best_baseline": {
            one["metric"]: {key: one[key] for key in ("name", "baseline", "lead", "outcome")}
            for one in compared["metrics"]
        },
        "predictions": compared["predictions"],
        "sessions": compared["sessions"],
        "causes": compared["causes"],
        "decisions": {one["key"]: [one["value"], one["fact"]] for one in training["decisions"]},
        "blend": training.get("blend"),
        "final_training": training.get("final_training"),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
    }


def lines(found: dict[str, Any]) -> list[str]:
    """Return a line for each metric of a run, with the lead over the best baseline."""
    return [
        f"  {metric:14} {100 * found[metric]:6.2f}   {best['name']:16} {100 * best['baseline']:6.2f}   "
        f"{_signed(best['lead'])}   {best['outcome']}"
        for metric, best in found["best_baseline"].items()
    ]


def _signed(lead: list[float]) -> str:
    value, low, high = (100 * one for one in lead)
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
