"""Evaluation by replaying the hold-out through the worker's core.

Every click of a session except the first is a prediction. Its rank is the position of the clicked item in the
list that the worker would have shown after the previous click. All metrics are computed from these ranks
(`trainer.evaluation.metrics`). A target outside the catalogue is a miss. Clicks on items outside the
catalogue do not change the state. Before the first click on a known item, the list has popular items.

`walk` replays click by click with the worker's user states. `answers` is faster: it steps many sessions at
once, and returns the same ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.console import Progress
from trainer.dataset.holdout import HeldOut
from trainer.dataset.lists import popular_lists
from trainer.dataset.sessions import Sessions, sampled
from trainer.evaluation.metrics import Answers, answers_of, metrics
from worker.core.batch import Clicks
from worker.core.cells import Floats
from worker.core.listing import Listing
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.recent import RECENT_ITEMS
from worker.core.recommender import Recommender
from worker.core.release import Release
from worker.core.states import States
from worker.core.tables import Ranking, ServingTables

_SESSIONS_AT_ONCE: Final = 4096
"""Number of sessions that are stepped together; it limits the memory for their states."""

_CLICKS_AT_ONCE: Final = 1024

Prepare = Callable[[Listing], None]
"""Changes what lists may have, as items and rules do in a worker."""

EXACT_PREDICTIONS: Final = 20_000
"""Maximum number of predictions that are also ranked exactly if ranking is approximate, and of validation
predictions in each epoch over a large catalogue. With a million items, exact ranking takes 2 to 3 ms each.
"""


def measure(tables: ServingTables, sessions: Sessions, *, top: int, exclude_recent: int) -> dict[str, float]:
    """Return the metrics of `tables` and, with the prefix `popular_`, of its popularity list; K = `top`.

    Both leave out the items of the last `exclude_recent` clicks. The key `predictions` has the number of
    predictions. If `tables` rank approximately, the prefixes `exact_` and `sampled_` mark the metrics of
    exact and of approximate ranking on the same sample of `exact_predictions` predictions.
    """
    model = answers(tables, sessions, top=top, exclude_recent=exclude_recent)
    excluded = excluded_items(sessions, exclude_recent)
    targets = sessions.items[sessions.scored]
    shown = popular_lists(tables.popular, excluded, top)
    popular = answers_of(targets, shown, tables.items)
    return {
        **metrics(model.ranks, top),
        **metrics(popular.ranks, top, prefix="popular_"),
        "predictions": float(sessions.predictions),
        **_beside(tables, sessions, model, top, exclude_recent),
    }


def _beside(
    tables: ServingTables, sessions: Sessions, model: Answers, top: int, exclude_recent: int
) -> dict[str, float]:
    """Return the metrics of exact ranking on a sample, and of the answers `model` on the same sample."""
    if not tables.approximates("auto"):
        return {}
    scored = sampled(sessions, EXACT_PREDICTIONS)
    some = replace(sessions, scored=scored)
    exact = answers(tables, some, top=top, exclude_recent=exclude_recent, ranking="exact")
    return {
        **metrics(exact.ranks, top, prefix="exact_"),
        **metrics(model.ranks[scored[sessions.scored]], top, prefix="sampled_"),
        "exact_predictions": float(some.predictions),
    }


def answers(
    tables: ServingTables,
    sessions: Sessions,
    *,
    top: int,
    exclude_recent: int,
    at_once: int = _SESSIONS_AT_ONCE,
    ranking: Ranking = "auto",
) -> Answers:
    """Return the answers of `tables` to all predictions in `sessions`, stepping `at_once` sessions together.

    By default, they rank as a worker does by default: a large catalogue that has lists, approximately.

    The items excluded from a list, and the user's own items, may come from earlier sessions of the user if
    the sessions have a history.
    """
    items = tables.items
    ranks, shown = [], np.zeros(items, np.int64)
    for part in _parts(sessions, at_once):
        found = answers_of(part.items[part.scored], _lists(tables, part, top, exclude_recent, ranking), items)
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

    The worker's core starts new sessions itself, by the times of the clicks. It also applies the clicks of
    these users that are not in the sessions of `held`.
    """
    sessions = held.sessions(release.catalogue)
    lists = walked(release, held, top=top, exclude_recent=exclude_recent, progress=progress)
    return answers_of(sessions.items[sessions.scored], lists, len(release.catalogue))


def walked(
    release: Release,
    held: HeldOut,
    *,
    top: int,
    exclude_recent: int,
    prepare: Prepare = lambda _: None,
    progress: Progress = Progress(),  # noqa: B008  # silent, without state
) -> Indexes:
    """Return the list before each prediction, `[P, top]`, padded with `NO_ITEM`; see `walk`."""
    sessions = held.sessions(release.catalogue)
    assert sessions.history is not None  # noqa: S101  # a hold-out has one
    before = set((sessions.history.places[sessions.scored] - 1).tolist())
    lists = np.full((sessions.predictions, top), NO_ITEM, np.int32)
    found = published(release, held.history, top, exclude_recent, prepare)
    wanted = (
        items
        for click, items in enumerate(progress.through(found, len(held.history), "replaying"))
        if click in before
    )
    for row, items in zip(lists, wanted, strict=True):
        row[: len(items)] = release.catalogue.indexes(items)
    return lists


def listed(
    listing: Listing,
    tables: ServingTables,
    sessions: Sessions,
    *,
    exclude_recent: int,
    placement: str = "",
    at_once: int = _SESSIONS_AT_ONCE,
) -> Indexes:
    """Return the list of `listing` before each prediction, `[P, K]`, padded with `NO_ITEM`.

    These are the lists from which `answers` has its ranks, but for the items and rules that `listing` knows.
    `tables`: those of the listing's release.
    """
    return np.concatenate(
        [
            listing.lists(_asked(tables, part, exclude_recent), placement=placement).indexes
            for part in _parts(sessions, at_once)
        ]
    )


def recent_items(sessions: Sessions, count: int) -> Indexes:
    """Return the session's last `count` items before each prediction, latest first, `[P, count]`.

    Rows are padded with `NO_ITEM`.
    """
    scored = np.flatnonzero(sessions.scored)
    begins = np.repeat(sessions.starts[:-1], sessions.lengths)[scored]
    clicks = scored[:, None] - 1 - np.arange(count)
    items = sessions.items[np.maximum(clicks, 0)]
    return np.where(clicks >= begins[:, None], items, NO_ITEM).astype(np.int32)


def last_items(sessions: Sessions, count: int) -> Indexes:
    """Return the user's last `count` items before each prediction, latest first, `[P, count]`.

    Rows are padded with `NO_ITEM`. Without a history, only the items of the same session are known.
    """
    if sessions.history is None:
        return recent_items(sessions, count)
    return sessions.history.before(np.flatnonzero(sessions.scored), count)


def excluded_items(sessions: Sessions, exclude_recent: int) -> Indexes:
    """Return the items to exclude from the list of each prediction, `[P, X]`, padded with `NO_ITEM`.

    They are those of the user's last `exclude_recent` clicks, at most `RECENT_ITEMS`, as in the worker.
    """
    return last_items(sessions, min(exclude_recent, RECENT_ITEMS))


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
    # Of sessions without a prediction, no state is needed.
    asked = np.zeros(len(sessions), np.bool_)
    asked[rows] = True
    for number, clicks in enumerate(_waves(np.flatnonzero(known & asked[session]), steps), start=1):
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


class _Asked(NamedTuple):
    """The input for lists, for P predictions; see `worker.core.listing.Asking`."""

    hidden: NDArray[np.float16]
    warm: NDArray[np.bool_]
    excluded: Indexes
    recent: Indexes
    own: Indexes
    last: Indexes


def _asked(tables: ServingTables, sessions: Sessions, exclude_recent: int) -> _Asked:
    hidden, warm = hidden_before(tables, sessions)
    return _Asked(
        hidden.astype(np.float16),
        warm,
        excluded_items(sessions, exclude_recent),
        recent_items(sessions, tables.recent_needed),
        last_items(sessions, tables.own_needed),
        last_items(sessions, 1)[:, 0],
    )


def _lists(
    tables: ServingTables, sessions: Sessions, top: int, exclude_recent: int, ranking: Ranking
) -> Indexes:
    hidden, warm, excluded, recent, own, _ = _asked(tables, sessions, exclude_recent)
    lists = popular_lists(tables.popular, excluded, top)
    found = tables.rank(
        hidden[warm].astype(np.float32),
        top,
        excluded[warm],
        recent[warm],
        own=own[warm],
        approximate=tables.approximates(ranking),
    )
    lists[warm] = found.indexes
    return lists


def _parts(sessions: Sessions, size: int) -> Iterator[Sessions]:
    for first in range(0, len(sessions), size):
        yield some_of(sessions, first, size)


def some_of(sessions: Sessions, first: int, size: int) -> Sessions:
    """Return at most `size` sessions from number `first` on, without their times."""
    starts = sessions.starts[first : first + size + 1]
    clicks = slice(starts[0], starts[-1])
    history = sessions.history.of(clicks) if sessions.history else None
    return replace(
        sessions,
        items=sessions.items[clicks],
        starts=starts - starts[0],
        scored=sessions.scored[clicks],
        times_ms=None,
        history=history,
    )


def published(
    release: Release,
    clicks: pl.DataFrame,
    top: int,
    exclude_recent: int,
    prepare: Prepare = lambda _: None,
) -> Iterator[list[str]]:
    """Yield the list that a worker would publish after each of `clicks`."""
    states = States(state_size=release.state_size, recent_items=max(RECENT_ITEMS, release.own_needed))
    recommender = Recommender(
        release,
        states,
        publish="every",
        publish_max_age_ms=0,
        exclude_recent=min(exclude_recent, RECENT_ITEMS),
        top=top,
    )
    prepare(recommender.listing)
    for first in range(0, len(clicks), _CLICKS_AT_ONCE):
        some = clicks[first : first + _CLICKS_AT_ONCE]
        times = some["timestamp_ms"].to_numpy()
        batch = Clicks(
            partitions=np.zeros(len(some), np.int32),
            offsets=np.arange(first, first + len(some)),
            user_ids=some["user_id"].to_list(),
            item_ids=some["item_id"].to_list(),
            timestamps_ms=times,
            record_timestamps_ms=times,
        )
        for shown in recommender.rank(recommender.apply(batch, now_ms=0)):
            yield shown.items
