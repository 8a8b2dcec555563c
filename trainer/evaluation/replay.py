"""How good a release is: held-out clicks walked through the worker's own core.

For every click of a session but its first: at which place of the list that the worker would have
shown after the click before it does it stand? Everything else is arithmetic on these places
(`trainer.evaluation.metrics`). A target that the catalogue lacks is a miss; an unknown item on the way is no
step; before any known item the popular items are shown.

`walk` does so click after click with the worker's own user states; `answers` steps many sessions at
once and comes to the same places.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.console import Progress
from trainer.dataset.holdout import HeldOut
from trainer.dataset.sessions import Sessions
from trainer.evaluation.baselines import popular_lists
from trainer.evaluation.metrics import Answers, answers_of, metrics
from worker.core.batch import Clicks
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.recent import RECENT_ITEMS
from worker.core.recommender import Recommender
from worker.core.release import Release
from worker.core.states import States

_SESSIONS_AT_ONCE: Final = 4096
"""So many are stepped together: it bounds the memory for their hidden states."""

_CLICKS_AT_ONCE: Final = 1024


class _Part(NamedTuple):
    """Some of the sessions, and what their predictions must not have in their lists."""

    sessions: Sessions
    excluded: Indexes


def measure(release: Release, sessions: Sessions, *, top: int, exclude_recent: int) -> dict[str, float]:
    """The metrics of `release` and of its popularity list on the same `predictions`; K = `top`.

    Neither gets the last `exclude_recent` clicked items recommended back.
    """
    model = answers(release, sessions, top=top, exclude_recent=exclude_recent)
    excluded = recent_items(sessions, exclude_recent)
    targets = sessions.items[sessions.scored]
    shown = popular_lists(release.popular, excluded, top)
    popular = answers_of(targets, shown, len(release.catalogue))
    return {
        **metrics(model.places, top),
        **metrics(popular.places, top, prefix="popular_"),
        "predictions": float(sessions.predictions),
    }


def answers(
    release: Release,
    sessions: Sessions,
    *,
    top: int,
    exclude_recent: int,
    user_begins: NDArray[np.int64] | None = None,
    at_once: int = _SESSIONS_AT_ONCE,
) -> Answers:
    """What `release` answers to every prediction in `sessions`, many sessions stepped together.

    `user_begins` `[C]`: where the clicks of the same user begin, as what a user clicked in the session
    before is not recommended back either; without it every session is a user's only one.
    """
    items = len(release.catalogue)
    places, shown = [], np.zeros(items, np.int64)
    excluded = recent_items(sessions, exclude_recent, user_begins)
    for part in _parts(sessions, excluded, at_once):
        found = answers_of(part.sessions.items[part.sessions.scored], _lists(release, part, top), items)
        places.append(found.places)
        shown += found.shown
    return Answers(np.concatenate(places), shown)


def walk(
    release: Release,
    held: HeldOut,
    *,
    top: int,
    exclude_recent: int,
    progress: Progress = Progress(),  # noqa: B008  # silent, without state
) -> Answers:
    """The same as `answers`, by applying the clicks of `held` one after the other as a worker does.

    Session gaps are found by the clicks' times, and everything else comes from the user states.
    """
    sessions = held.sessions(release.catalogue)
    shown = np.zeros(len(release.catalogue), np.int64)
    places = np.zeros(sessions.predictions, np.int64)
    scored = np.flatnonzero(sessions.scored)
    item_ids, found = held.clicks["item_id"].to_list(), published(release, held, top, exclude_recent)
    lists = list(progress.through(found, len(item_ids), "walking"))
    for number, click in enumerate(scored.tolist()):
        before = lists[click - 1]
        shown[release.catalogue.indexes(before)] += 1
        places[number] = before.index(item_ids[click]) + 1 if item_ids[click] in before else 0
    return Answers(places, shown)


def recent_items(sessions: Sessions, count: int, begins: NDArray[np.int64] | None = None) -> Indexes:
    """The last `count` clicks before each prediction, latest first, `[P, count]`; `NO_ITEM` where none.

    Nothing from before `begins` `[C]`, by default where the session begins; and never more than a
    user state keeps.
    """
    if begins is None:
        begins = np.repeat(sessions.starts[:-1], sessions.lengths)
    scored = np.flatnonzero(sessions.scored)
    clicks = scored[:, None] - 1 - np.arange(min(count, RECENT_ITEMS))
    items = sessions.items[np.maximum(clicks, 0)]
    return np.where(clicks >= begins[scored, None], items, NO_ITEM).astype(np.int32)


def hidden_before(release: Release, sessions: Sessions) -> tuple[Floats, NDArray[np.bool_]]:
    """The user's state before each prediction, `[P, S]`, and whether a known item is in it, `[P]`.

    Stored in half precision between the steps, as the worker does.
    """
    known = sessions.items != NO_ITEM
    session = np.repeat(np.arange(len(sessions)), sessions.lengths)
    steps = np.cumsum(known) - known
    steps -= steps[sessions.starts[:-1]][session]
    wanted, rows = steps[sessions.scored], session[sessions.scored]
    states = np.zeros((len(sessions), release.state_size), np.float16)
    hidden = np.zeros((len(wanted), release.state_size), np.float32)
    for number, clicks in enumerate(_waves(np.flatnonzero(known), steps), start=1):
        users = session[clicks]
        before = states[users].astype(np.float32)
        states[users] = release.step(release.inputs(sessions.items[clicks]), before)
        due = wanted == number
        hidden[due] = states[rows[due]]
    return hidden, wanted > 0


def _waves(clicks: NDArray[np.int64], steps: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """`clicks` divided by the number of the step that each is in its session."""
    if not len(clicks):
        return []
    ordered = clicks[np.argsort(steps[clicks], kind="stable")]
    return np.split(ordered, np.flatnonzero(np.diff(steps[ordered])) + 1)


def _lists(release: Release, part: _Part, top: int) -> Indexes:
    lists = popular_lists(release.popular, part.excluded, top)
    hidden, warm = hidden_before(release, part.sessions)
    recent = recent_items(part.sessions, release.recent_needed)
    lists[warm] = release.rank(hidden[warm], top, part.excluded[warm], recent[warm]).indexes
    return lists


def _parts(sessions: Sessions, excluded: Indexes, size: int) -> Iterator[_Part]:
    before = np.append(0, np.cumsum(sessions.scored))
    for first in range(0, len(sessions), size):
        starts = sessions.starts[first : first + size + 1]
        clicks = slice(starts[0], starts[-1])
        part = Sessions(sessions.items[clicks], starts - starts[0], sessions.scored[clicks])
        yield _Part(part, excluded[before[clicks.start] : before[clicks.stop]])


def published(release: Release, held: HeldOut, top: int, exclude_recent: int) -> Iterator[list[str]]:
    """The list that a worker publishes after each click."""
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
