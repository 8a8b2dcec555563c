"""Evaluation by replaying the hold-out through the worker's core.

Every click of a session except the first is a prediction. Its rank is the position of the clicked item in the
list that the worker would have shown after the previous click. All metrics are computed from these ranks
(`trainer.evaluation.metrics`). A target outside the catalogue is a miss. Clicks on items outside the
catalogue do not change the state. Before the first click on a known item, the list has popular items.

`walk` replays click by click with the worker's user states. `answers` is faster: it steps many sessions at
once, and returns the same ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.console import Progress
from trainer.dataset.holdout import HeldOut
from trainer.dataset.lists import popular_lists
from trainer.dataset.sessions import Sessions
from trainer.evaluation.metrics import Answers, answers_of, metrics
from worker.core.batch import Clicks
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.recent import RECENT_ITEMS
from worker.core.recommender import Recommender
from worker.core.release import Release
from worker.core.states import States
from worker.core.tables import ServingTables

_SESSIONS_AT_ONCE: Final = 4096
"""Number of sessions that are stepped together; it limits the memory for their states."""

_CLICKS_AT_ONCE: Final = 1024


class _Part(NamedTuple):
    """A part of the sessions, and the items excluded from the list of each prediction, `[P, X]`."""

    sessions: Sessions
    excluded: Indexes


def measure(tables: ServingTables, sessions: Sessions, *, top: int, exclude_recent: int) -> dict[str, float]:
    """Return the metrics of `tables` and, with the prefix `popular_`, of its popularity list; K = `top`.

    Both leave out the items of the last `exclude_recent` clicks. The key `predictions` has the number of
    predictions.
    """
    model = answers(tables, sessions, top=top, exclude_recent=exclude_recent)
    excluded = recent_items(sessions, exclude_recent)
    targets = sessions.items[sessions.scored]
    shown = popular_lists(tables.popular, excluded, top)
    popular = answers_of(targets, shown, tables.items)
    return {
        **metrics(model.ranks, top),
        **metrics(popular.ranks, top, prefix="popular_"),
        "predictions": float(sessions.predictions),
    }


def answers(
    tables: ServingTables,
    sessions: Sessions,
    *,
    top: int,
    exclude_recent: int,
    user_begins: NDArray[np.int64] | None = None,
    at_once: int = _SESSIONS_AT_ONCE,
) -> Answers:
    """Return the answers of `tables` to all predictions in `sessions`, stepping `at_once` sessions together.

    `user_begins` `[C]`: for each click, the index of its user's first click. If given, the recent items
    excluded from a list may come from earlier sessions of the user; otherwise, only from the same session.
    """
    items = tables.items
    ranks, shown = [], np.zeros(items, np.int64)
    excluded = recent_items(sessions, exclude_recent, user_begins)
    for part in _parts(sessions, excluded, at_once):
        found = answers_of(part.sessions.items[part.sessions.scored], _lists(tables, part, top), items)
        ranks.append(found.ranks)
        shown += found.shown
    return Answers(np.concatenate(ranks), shown)


def walk(
    release: Release,
    held: HeldOut,
    *,
    top: int,
    exclude_recent: int,
    progress: Progress = Progress(),  # noqa: B008  # silent, without state
) -> Answers:
    """Return the same ranks as `answers`, but apply the clicks of `held` one by one, as a worker does.

    The worker's core starts new sessions itself, by the times of the clicks.
    """
    sessions = held.sessions(release.catalogue)
    shown = np.zeros(len(release.catalogue), np.int64)
    ranks = np.zeros(sessions.predictions, np.int64)
    scored = np.flatnonzero(sessions.scored)
    item_ids, found = held.clicks["item_id"].to_list(), published(release, held, top, exclude_recent)
    lists = list(progress.through(found, len(item_ids), "replaying"))
    for number, click in enumerate(scored.tolist()):
        before = lists[click - 1]
        shown[release.catalogue.indexes(before)] += 1
        ranks[number] = before.index(item_ids[click]) + 1 if item_ids[click] in before else 0
    return Answers(ranks, shown)


def recent_items(sessions: Sessions, count: int, begins: NDArray[np.int64] | None = None) -> Indexes:
    """Return the items of the last `count` clicks before each prediction, latest first, `[P, count]`.

    Rows are padded with `NO_ITEM`. `begins` `[C]`: for each click, the index of the earliest click to use; by
    default, the first of its session. `count` is limited to `RECENT_ITEMS`, as in a user state.
    """
    if begins is None:
        begins = np.repeat(sessions.starts[:-1], sessions.lengths)
    scored = np.flatnonzero(sessions.scored)
    clicks = scored[:, None] - 1 - np.arange(min(count, RECENT_ITEMS))
    items = sessions.items[np.maximum(clicks, 0)]
    return np.where(clicks >= begins[scored, None], items, NO_ITEM).astype(np.int32)


def hidden_before(tables: ServingTables, sessions: Sessions) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the state before each prediction, `[P, S]`, and whether it follows a known item, `[P]`.

    States are rounded to half precision between steps, as in the worker.
    """
    known = sessions.items != NO_ITEM
    session = np.repeat(np.arange(len(sessions)), sessions.lengths)
    steps = np.cumsum(known) - known
    steps -= steps[sessions.starts[:-1]][session]
    wanted, rows = steps[sessions.scored], session[sessions.scored]
    states = np.zeros((len(sessions), tables.state_size), np.float16)
    hidden = np.zeros((len(wanted), tables.state_size), np.float32)
    for number, clicks in enumerate(_waves(np.flatnonzero(known), steps), start=1):
        users = session[clicks]
        before = states[users].astype(np.float32)
        states[users] = tables.step(tables.inputs(sessions.items[clicks]), before)
        due = wanted == number
        hidden[due] = states[rows[due]]
    return hidden, wanted > 0


def _waves(clicks: NDArray[np.int64], steps: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return `clicks` grouped by their step number within the session."""
    if not len(clicks):
        return []
    ordered = clicks[np.argsort(steps[clicks], kind="stable")]
    return np.split(ordered, np.flatnonzero(np.diff(steps[ordered])) + 1)


def _lists(tables: ServingTables, part: _Part, top: int) -> Indexes:
    lists = popular_lists(tables.popular, part.excluded, top)
    hidden, warm = hidden_before(tables, part.sessions)
    recent = recent_items(part.sessions, tables.recent_needed)
    lists[warm] = tables.rank(hidden[warm], top, part.excluded[warm], recent[warm]).indexes
    return lists


def _parts(sessions: Sessions, excluded: Indexes, size: int) -> Iterator[_Part]:
    before = np.append(0, np.cumsum(sessions.scored))
    for first in range(0, len(sessions), size):
        starts = sessions.starts[first : first + size + 1]
        clicks = slice(starts[0], starts[-1])
        part = Sessions(sessions.items[clicks], starts - starts[0], sessions.scored[clicks])
        yield _Part(part, excluded[before[clicks.start] : before[clicks.stop]])


def published(release: Release, held: HeldOut, top: int, exclude_recent: int) -> Iterator[list[str]]:
    """Yield the list that a worker would publish after each click."""
    states = States(state_size=release.state_size)
    recommender = Recommender(
        release, states, publish="every", publish_max_age_ms=0, exclude_recent=exclude_recent, top=top
    )
    for first in range(0, len(held.clicks), _CLICKS_AT_ONCE):
        clicks = held.clicks[first : first + _CLICKS_AT_ONCE]
        times = clicks["timestamp_ms"].to_numpy()
        batch = Clicks(
            partitions=np.zeros(len(clicks), np.int32),
            offsets=np.arange(first, first + len(clicks)),
            user_ids=clicks["user_id"].to_list(),
            item_ids=clicks["item_id"].to_list(),
            timestamps_ms=times,
            record_timestamps_ms=times,
        )
        for shown in recommender.rank(recommender.apply(batch, now_ms=0)):
            yield shown.items
