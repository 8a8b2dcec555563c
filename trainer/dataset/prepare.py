"""Preparation of training data: from a table of clicks to sessions, with a report of all removed clicks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

import numpy as np
import polars as pl

from trainer.clicks.cleaning import Removal, added, clean, drop_bots, drop_repeats, report
from trainer.clicks.columns import SCHEMA
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset import cache, decisions
from trainer.dataset.dataset import Data, EveryItem, Learned, moment
from trainer.dataset.decisions import DECISIONS, Decision, open_keys, recorded
from trainer.dataset.features import (
    Features,
    build,
    columns_of,
    from_clicks,
    from_file,
    matching,
    never_clicked,
)
from trainer.dataset.history import PLACE, history_of
from trainer.dataset.sessions import (
    TEST,
    Divided,
    catalogue_of,
    cut,
    divide,
    drop_rare_items,
    drop_short,
    moment_before,
    numbered,
    to_arrays,
)
from trainer.dataset.span import doubts
from trainer.dataset.split import TestSplit, share_predicted
from trainer.errors import TooFewClicks
from worker.core.catalogue import Catalogue
from worker.core.ids import MAX_ID_BYTES
from worker.settings.fields import duration_text
from worker.settings.loading import replaced

_PART_CLICKS: Final = 2_000_000


@dataclass(slots=True)
class _Report:
    """The results of all cleaning steps, and the decisions; each is also printed."""

    progress: Progress
    removals: list[Removal] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def add(self, *removals: Removal) -> None:
        self.removals.extend(removals)
        report(removals, self.progress.say)

    def decided(self, settings: FitSettings, deciders: Mapping[str, Callable[[], Decision]]) -> FitSettings:
        """Return `settings` with a decision for each key of `deciders` that the user did not set."""
        found = [deciders[key]() for key in open_keys(settings, *deciders)]
        for decision in found:
            self.progress.say(str(decision))
        self.decisions.extend(found)
        return replaced(settings, {decision.key: decision.value for decision in found})


def prepare(
    clicks: pl.DataFrame | pl.LazyFrame, settings: FitSettings, progress: Progress, now: datetime
) -> Data:
    """Clean `clicks`, cut them into sessions and split the sessions by time. Raises TooFewClicks.

    If `clicks` has the column `TEST`, it marks the test split; otherwise, `settings` choose it.
    Sessions of one click are dropped from all splits. Rare items, repeats and bots are dropped only from the
    training split: the held-out splits stay as a worker would see them, and a click on an item outside the
    catalogue is a miss. With `settings.dataset.cache`, sessions are loaded from the cache if it has them.

    The summary of the data has the decisions about settings that the user did not set
    (`trainer.dataset.decisions.applied`).
    """
    if settings.dataset.cache is None:
        data = _prepared(clicks.lazy(), settings, progress, now)
    else:
        kept = cache.entry(settings.dataset.cache, clicks.lazy(), settings)
        if kept.is_dir():
            data = cache.load(kept)
            progress.say(f"loaded prepared sessions from {kept}")
        else:
            data = _prepared(clicks.lazy(), settings, progress, now)
            cache.save(kept, data)
    _tell(data, settings.evaluation.min_context, progress)
    return data


def _prepared(clicks: pl.LazyFrame, settings: FitSettings, progress: Progress, now: datetime) -> Data:
    report = _Report(progress)
    sessions, removals = sessionised(clicks, settings.dataset.session_gap, round(now.timestamp() * 1000))
    for doubt in doubts(sessions["timestamp_ms"].to_numpy()):
        progress.say(doubt)
    report.add(*removals)
    _require(len(sessions) > 0, f"no click is left after cleaning: {_worst(removals)}")
    users, items = (sessions[name].n_unique() for name in ("user_id", "item_id"))
    progress.say(f"after cleaning: {len(sessions):,} clicks of {users:,} users on {items:,} items")
    split = _test_split(sessions, settings)
    sessions, settings = _with_session_gap(sessions, split, settings, report)
    _tell_single(sessions, settings, progress)
    sessions = sessions.with_row_index(PLACE)
    everything = sessions.select("user_id", "item_id", PLACE)
    past, test = _past_and_test(sessions, split, settings)
    settings = report.decided(
        settings,
        {
            "dataset.min_item_count": partial(decisions.min_item_count, past),
            "dataset.validation_fraction": partial(decisions.validation_fraction, past, settings),
            "evaluation.exclude_recent": partial(decisions.exclude_recent, past),
        },
    )
    # Each of these tables is as large as all clicks: delete each as soon as possible.
    del sessions
    seen = _seen(clicks, past)
    train, validation = _train_and_validation(past, settings)
    history = history_of(everything, (validation, test))
    del everything
    progress.say(
        f"divided: {len(train):,} clicks to learn from, {_scored(validation):,} in the validation split, "
        f"{_scored(test):,} in the test split"
    )
    chosen = _described(split, test)
    test = split.predictions(test.with_columns(context=~pl.col("scored")))
    every_item = _every_item(past, test) if len(test) else None
    del past
    train = _clean_training(train.drop(PLACE), settings, report)
    clicked = catalogue_of(train)
    catalogue, features, described = _with_features(clicked, seen, settings, report)
    return Data(
        catalogue,
        train=to_arrays(train, catalogue),
        validation=to_arrays(_without_short(validation, "validation split", report), catalogue, history),
        test=to_arrays(_without_short(test, "test split", report), catalogue, history),
        summary=_summary(train, report) | chosen | described,
        features=features,
        never_clicked=len(catalogue) - len(clicked),
        every_item=every_item,
    )


def _with_session_gap(
    sessions: pl.DataFrame, split: TestSplit, settings: FitSettings, report: _Report
) -> tuple[pl.DataFrame, FitSettings]:
    """Decide whether sessions end; return the sessions cut so, and the settings with the decision."""
    key = "dataset.session_gap"
    settings = report.decided(settings, {key: partial(decisions.session_gap, split.seen(sessions), settings)})
    if settings.dataset.session_gap == 0:
        sessions = sessions.with_columns(session=pl.col("user_id"))
    return sessions, settings


def sessionised(clicks: pl.LazyFrame, gap_seconds: float, now_ms: int) -> tuple[pl.DataFrame, list[Removal]]:
    """Clean `clicks` and cut them into sessions; replace ids by numbers, which take a quarter of the memory.

    Users are processed in parts of about `_PART_CLICKS` clicks, to limit the memory for ids as text.
    """
    rows = clicks.select(pl.len()).collect(engine="streaming").item()
    parts, columns = max(1, -(-rows // _PART_CLICKS)), [*SCHEMA.keys(), *_marks(clicks)]
    frames, total, sessions, users = [], list[Removal](), 0, 0
    for part in range(parts):
        mine = pl.col("user_id").hash(0).fill_null(0) % parts == part
        of_users = clicks.select(columns) if parts == 1 else clicks.select(columns).filter(mine)
        cleaned, removals = clean(of_users.collect(engine="streaming"), now_ms=now_ms)
        total = added(total, removals)
        frame = _numbered(cut(cleaned, gap_seconds=gap_seconds), sessions, users)
        frames.append(frame)
        if len(frame):
            sessions, users = int(frame["session"][-1]) + 1, int(frame["user_id"][-1]) + 1
    return pl.concat(frames), total


def _numbered(sessions: pl.DataFrame, first_session: int, first_user: int) -> pl.DataFrame:
    return sessions.with_columns(
        pl.col("user_id").rle_id().cast(pl.UInt32) + first_user,
        pl.col("item_id").cast(pl.Categorical),
        (pl.col("session") + first_session).cast(pl.UInt32),
    )


def _with_features(
    clicked: Catalogue, clicks: pl.LazyFrame, settings: FitSettings, report: _Report
) -> tuple[Catalogue, Features | None, dict[str, Any]]:
    columns = columns_of(
        settings.features.categorical,
        settings.features.numeric,
        min_count=settings.features.min_value_count,
        separator=settings.features.value_separator,
    )
    if not columns:
        return clicked, None, {}
    file = settings.features.file
    table = from_file(file, columns) if file else from_clicks(clicks, columns)
    table = table.filter(pl.col("item_id").str.len_bytes().is_between(1, MAX_ID_BYTES))
    ids = clicked.ids(np.arange(len(clicked))).tolist()
    if file:
        for doubt in matching(ids, table["item_id"].to_list(), str(file)):
            report.progress.say(doubt)
    ids += never_clicked(ids, table, columns)
    features, described = build(ids, table, columns)
    for one in described:
        report.progress.say("feature " + ", ".join(f"{name} {value}" for name, value in one.items()))
    report.progress.say(f"{len(ids) - len(clicked):,} items have features but no training clicks")
    return Catalogue(ids), features, {"features": described, "never_clicked": len(ids) - len(clicked)}


def _marks(clicks: pl.LazyFrame) -> list[str]:
    """Return the name of the column that marks the clicks of the test split, if the table has it."""
    return [TEST] if TEST in clicks.collect_schema() else []


def _seen(clicks: pl.LazyFrame, past: pl.DataFrame) -> pl.LazyFrame:
    """Return the `clicks` that may describe items: no items, and no times, that only the test split has."""
    items = past.select(pl.col("item_id").unique().cast(pl.String)).lazy()
    early = clicks.filter(
        pl.col("timestamp_ms") <= past["timestamp_ms"].max(), *(~pl.col(name) for name in _marks(clicks))
    )
    return early.join(items, on="item_id", how="semi", maintain_order="left")


def _test_split(sessions: pl.DataFrame, settings: FitSettings) -> TestSplit:
    chosen, from_ms = settings.dataset, settings.dataset.split_at
    if from_ms is None and not chosen.leave_last:
        from_ms = moment_before(sessions, chosen.test_fraction)
    return TestSplit(from_ms, chosen.leave_last, settings.evaluation.min_context)


def _past_and_test(sessions: pl.DataFrame, split: TestSplit, settings: FitSettings) -> Divided:
    divided = split.of(sessions, endless=settings.dataset.session_gap == 0)
    if TEST in sessions.columns:
        _require(len(divided.before) > 0, "no click is left to learn from: all are in the test files")
        _require(
            len(divided.after) > 0,
            "no click of the test files is left; clicks that are in the other files, too, are removed",
        )
    elif split.from_ms is not None:
        problem = f"no session starts before {moment(split.from_ms)}, the start of the hold-out"
        _require(len(divided.before) > 0, problem)
    return divided


def _every_item(past: pl.DataFrame, test: pl.DataFrame) -> EveryItem:
    catalogue, test = catalogue_of(past), drop_short(test)[0]
    return EveryItem(
        to_arrays(past, catalogue),
        to_arrays(test, catalogue),
        numbered(past["user_id"]),
        numbered(test["user_id"]),
        test["context"].to_numpy(),
    )


def _train_and_validation(past: pl.DataFrame, settings: FitSettings) -> Divided:
    at_ms = moment_before(past, settings.dataset.validation_fraction)
    return divide(past, at_ms, endless=settings.dataset.session_gap == 0)


def _clean_training(sessions: pl.DataFrame, settings: FitSettings, report: _Report) -> pl.DataFrame:
    sessions, repeats = drop_repeats(sessions, settings.dataset.repeat_within)
    sessions, bots = drop_bots(
        sessions, per_hour=settings.dataset.max_clicks_per_hour, per_day=settings.dataset.max_clicks_per_day
    )
    report.add(*(removal for removal in (repeats, bots) if removal.removed))
    kept = _without_rare_and_short(sessions, settings, report)
    while settings.dataset.settle and len(kept) < len(sessions):
        sessions, kept = kept, _without_rare_and_short(kept, settings, report)
    items = kept["item_id"].n_unique()
    _require(items > 1, f"all clicks are on one item ({kept['item_id'][0]!r}); check the item column")
    return kept


def _without_rare_and_short(sessions: pl.DataFrame, settings: FitSettings, report: _Report) -> pl.DataFrame:
    common, rare = drop_rare_items(sessions, settings.dataset.min_item_count)
    report.add(rare)
    _require(
        len(common) > 0,
        f"none of the {sessions['item_id'].n_unique():,} items has {settings.dataset.min_item_count} clicks "
        "before the hold-out; lower dataset.min_item_count or use more clicks",
    )
    kept, short = drop_short(common)
    report.add(short)
    _require(
        len(kept) > 0,
        f"all {short.removed:,} sessions have one click, so there is no next click to learn; "
        "check the user column, or increase dataset.session_gap",
    )
    return kept


def _scored(held_out: pl.DataFrame) -> int:
    return int(held_out["scored"].sum())


def _without_short(held_out: pl.DataFrame, name: str, report: _Report) -> pl.DataFrame:
    kept, short = drop_short(held_out)
    if short.removed:
        report.add(short._replace(why=f"{short.why}, in the {name}"))
    return kept


def _tell_single(sessions: pl.DataFrame, settings: FitSettings, progress: Progress) -> None:
    """Warn if most sessions have one click: the most frequent cause of a useless training."""
    lengths = sessions.group_by("session").len()["len"]
    single = int((lengths == 1).sum())
    if 2 * single > len(lengths):
        progress.say(
            f"{single / len(lengths):.0%} of the sessions have one click: nothing can be learned from them. "
            "Check the user column and "
            f"dataset.session_gap ({duration_text(settings.dataset.session_gap)})."
        )


def _summary(train: pl.DataFrame, report: _Report) -> dict[str, Any]:
    return {
        **Learned.of(train).summary(),
        "cleaning": [removal._asdict() for removal in report.removals],
        DECISIONS: recorded(report.decisions),
    }


def _described(split: TestSplit, test: pl.DataFrame) -> dict[str, Any]:
    """Return the test split for the manifest. The first scored click may be one that is not predicted."""
    found: dict[str, Any] = {"test_from": None, "test_clicks": _scored(test)}
    if TEST in test.columns:
        return {**found, "test_files": True}
    if split.leave_last:
        return {**found, "leave_last": split.leave_last}
    begin = test.filter("scored")["timestamp_ms"].min()
    return {**found, "test_from": moment(begin)} if isinstance(begin, int) else found


def _tell(data: Data, min_context: int, progress: Progress) -> None:
    summary = data.summary
    progress.say(
        f"training on {summary['clicks']:,} clicks in {summary['sessions']:,} sessions, with "
        f"{len(data.catalogue):,} items, from {summary['first_click']} to {summary['last_click']}"
    )
    progress.say(
        f"held out: {data.validation.predictions:,} validation clicks (to choose the best epoch), "
        f"{data.test.predictions:,} test clicks"
    )
    if data.test.predictions:
        progress.say(share_predicted(data.test.predictions, summary["test_clicks"], min_context))


def _worst(removals: list[Removal]) -> Removal:
    return max(removals, key=lambda removal: removal.removed)


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise TooFewClicks(problem)
