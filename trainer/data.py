"""From a table of clicks to the sessions that a training works on, with a word on everything left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from trainer.config import FitSettings
from trainer.errors import TooFewClicks
from trainer.events import Removal, clean
from trainer.progress import Progress
from trainer.sessions import (
    Sessions,
    catalogue_of,
    cut,
    divide,
    drop_rare_items,
    drop_short,
    moment_before,
    to_arrays,
)
from worker.core.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Data:
    """Training, validation and test sessions in the order of time, over the catalogue of the first.

    `summary` is what a manifest tells of them: counts, windows, and what cleaning removed.
    """

    catalogue: Catalogue
    train: Sessions
    validation: Sessions
    test: Sessions
    summary: dict[str, Any]


@dataclass(slots=True)
class _Report:
    """Collects what was removed, and tells it."""

    progress: Progress
    removals: list[Removal] = field(default_factory=list)

    def add(self, *removals: Removal) -> None:
        self.removals.extend(removals)
        for removal in removals:
            self.progress.say(str(removal))


def prepare(clicks: pl.DataFrame, settings: FitSettings, progress: Progress, now: datetime) -> Data:
    """Clean `clicks`, cut them into sessions and divide these by time. Raises TooFewClicks.

    Rare items and short sessions are dropped from the training part alone: what is held out stays
    as a worker would meet it, and an item that training did not know is a miss.
    """
    report = _Report(progress)
    clicks, removals = clean(clicks, now_ms=round(now.timestamp() * 1000))
    report.add(*removals)
    _require(len(clicks) > 0, "no click is left after cleaning")
    sessions = cut(clicks, gap_seconds=settings.session_gap_seconds)
    train, validation, test = by_time(sessions, settings)
    train = _clean_training(train, settings, report)
    catalogue = catalogue_of(train)
    data = Data(
        catalogue,
        train=to_arrays(train, catalogue),
        validation=to_arrays(drop_short(validation)[0], catalogue),
        test=to_arrays(drop_short(test)[0], catalogue),
        summary=_summary(train, test, report.removals),
    )
    _tell(data, progress)
    return data


def by_time(sessions: pl.DataFrame, settings: FitSettings) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """`sessions` divided into those to train with, to choose the best epoch with, and to measure with."""
    endless = settings.session_gap_seconds == 0
    test_from = settings.split_at_ms
    if test_from is None:
        test_from = moment_before(sessions, settings.test_fraction)
    past, test = divide(sessions, test_from, endless=endless)
    _require(len(past) > 0, f"no session begins before {_moment(test_from)}, where the held-out end begins")
    train, validation = divide(past, moment_before(past, settings.validation_fraction), endless=endless)
    return train, validation, test


def _clean_training(sessions: pl.DataFrame, settings: FitSettings, report: _Report) -> pl.DataFrame:
    common, rare = drop_rare_items(sessions, settings.min_item_count)
    report.add(rare)
    _require(
        len(common) > 0,
        f"none of the {sessions['item_id'].n_unique():,} items has {settings.min_item_count} clicks "
        "before the held-out end; lower --min-item-count or bring more clicks",
    )
    kept, short = drop_short(common)
    report.add(short)
    _require(
        len(kept) > 0,
        f"all {short.removed:,} sessions have one click: there is no next click to learn; "
        "is the user column the right one, is --session-gap-minutes too small?",
    )
    items = kept["item_id"].n_unique()
    _require(
        items > 1, f"all clicks are on one item ({kept['item_id'][0]!r}); is the item column the right one?"
    )
    return kept


def _summary(train: pl.DataFrame, test: pl.DataFrame, removals: list[Removal]) -> dict[str, Any]:
    return {
        "clicks": len(train),
        "sessions": train["session"].n_unique(),
        "first_click": _moment(train["timestamp_ms"].min()),
        "last_click": _moment(train["timestamp_ms"].max()),
        "test_from": _moment(test.filter("scored")["timestamp_ms"].min()) if len(test) else None,
        "cleaning": [removal._asdict() for removal in removals],
    }


def _tell(data: Data, progress: Progress) -> None:
    summary = data.summary
    progress.say(
        f"training on {summary['clicks']:,} clicks in {summary['sessions']:,} sessions "
        f"on {len(data.catalogue):,} items, {summary['first_click']} to {summary['last_click']}"
    )
    progress.say(
        f"held out: {data.validation.predictions:,} clicks to choose the best epoch with, "
        f"the last {data.test.predictions:,} to measure with"
    )


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise TooFewClicks(problem)


def _moment(time_ms: Any) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")
