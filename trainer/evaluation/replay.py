"""Evaluation by replay: the hold-out goes through the worker's own core.

For every click of a session but its first: at which rank of the list that the worker would have
shown after the click before it does it stand? Everything else is arithmetic on these ranks
(`trainer.evaluation.metrics`). A target that the catalogue lacks is a miss; an unknown item on the way is no
step; before any known item the popular items are shown.

`walk` does so click after click with the worker's own user states; `answers` steps many sessions at
once and comes to the same ranks.
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
"""The number of sessions stepped together: it bounds the memory for their hidden states."""

_CLICKS_AT_ONCE: Final = 1024


class _Part(NamedTuple):
    """Some of the sessions, and what their predictions must not have in their lists."""

    sessions: Sessions
    excluded: Indexes


def measure(tables: ServingTables, sessions: Sessions, *, top: int, exclude_recent: int) -> dict[str, float]:
    """Return the metrics of `tables` and of their popularity list on the same `predictions`; K = `top`.

    Neither gets the last `exclude_recent` clicked items recommended back.
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
    """Return what `tables` answer to every prediction in `sessions`, many sessions stepped together.

    `user_begins` `[C]`: where the clicks of the same user begin, as what a user clicked in the session
    before is not recommended back either; without it every session is a user's only one.
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
    """Return the same as `answers`, by applying the clicks of `held` one after the other as a worker does.

    Session gaps are found by the clicks' times, and everything else comes from the user states.
    """
    sessions = held.sessions(release.catalogue)
    shown = np.zeros(len(release.catalogue), np.int64)
    ranks = np.zeros(sessions.predictions, np.int64)
    scored = np.flatnonzero(sessions.scored)
    item_ids, found = held.clicks["item_id"].to_list(), published(release, held, top, exclude_recent)
    lists = list(progress.through(found, len(item_ids), "walking"))
    for number, click in enumerate(scored.tolist()):
        before = lists[click - 1]
        shown[release.catalogue.indexes(before)] += 1
        ranks[number] = before.index(item_ids[click]) + 1 if item_ids[click] in before else 0
    return Answers(ranks, shown)


def recent_items(sessions: Sessions, count: int, begins: NDArray[np.int64] | None = None) -> Indexes:
    """Return the last `count` clicks before each prediction, latest first, `[P, count]`; `NO_ITEM` if none.

    Nothing from before `begins` `[C]`, by default where the session begins; and never more than a
    user state keeps.
    """
    if begins is None:
        begins = np.repeat(sessions.starts[:-1], sessions.lengths)
    scored = np.flatnonzero(sessions.scored)
    clicks = scored[:, None] - 1 - np.arange(min(count, RECENT_ITEMS))
    items = sessions.items[np.maximum(clicks, 0)]
    return np.where(clicks >= begins[scored, None], items, NO_ITEM).astype(np.int32)


def hidden_before(tables: ServingTables, sessions: Sessions) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the state before each prediction, `[P, S]`, and whether a known item went into it, `[P]`.

    Stored in half precision between the steps, as the worker does.
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
    """Return `clicks` divided by the number of the step that each is in its session."""
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
    """Yield the list that a worker publishes after each click."""
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
