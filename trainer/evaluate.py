"""How good a release is: held-out clicks walked through the worker's own core.

For every click of a session but its first: at which place of the list that the worker would have
shown after the click before it does it stand? Everything else is arithmetic on these places. Equal
scores rank by catalogue order, as in the worker. A target that the catalogue lacks is a miss; an
unknown item on the way is no step; before any known item the popular items are shown.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trainer.baselines import popular_lists
from trainer.sessions import Sessions
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.release import Release

Places = NDArray[np.int64]
"""For each prediction the place of the target in its list, from 1; 0: not in it."""


def measure(
    release: Release, sessions: Sessions, *, top: int, exclude_recent: int, at_once: int = 4096
) -> dict[str, float]:
    """Recall@K and MRR@K (K = `top`) of `release` and of its popularity list on the same `predictions`.

    Neither gets the last `exclude_recent` clicked items recommended back. So many sessions are walked
    `at_once`: it bounds the memory for their hidden states.
    """
    model, popular = [], []
    for part in _parts(sessions, at_once):
        excluded = recent_items(part, exclude_recent)
        targets = part.items[part.scored]
        shown = popular_lists(release.popular, excluded, top)
        popular.append(places_of(targets, shown))
        model.append(places_of(targets, _lists(release, part, excluded, shown)))
    return {
        **metrics(np.concatenate(model), top),
        **metrics(np.concatenate(popular), top, prefix="popular_"),
        "predictions": float(sessions.predictions),
    }


def metrics(places: Places, top: int, *, prefix: str = "") -> dict[str, float]:
    """Recall@K (the share of hits; with one target the hit rate) and MRR@K (misses count 0)."""
    hits = places[places > 0]
    count = max(1, len(places))
    return {
        f"{prefix}recall_at_{top}": len(hits) / count,
        f"{prefix}mrr_at_{top}": float(np.sum(1 / hits)) / count,
    }


def places_of(targets: Indexes, lists: Indexes) -> Places:
    """The place of each of `targets` `[P]` in its row of `lists` `[P, K]`, 0 where it is not there."""
    found = (lists == targets[:, None]) & (targets != NO_ITEM)[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)


def recent_items(sessions: Sessions, count: int) -> Indexes:
    """The last `count` clicks of the session before each prediction, `[P, count]`; `NO_ITEM` where none."""
    scored = np.flatnonzero(sessions.scored)
    begin = np.repeat(sessions.starts[:-1], sessions.lengths)[scored]
    clicks = scored[:, None] - 1 - np.arange(count)
    return np.where(clicks >= begin[:, None], sessions.items[clicks], NO_ITEM).astype(np.int32)


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


def _lists(release: Release, sessions: Sessions, excluded: Indexes, cold: Indexes) -> Indexes:
    hidden, warm = hidden_before(release, sessions)
    lists = cold.copy()
    lists[warm] = release.rank(hidden[warm], lists.shape[1], excluded[warm]).indexes
    return lists


def _parts(sessions: Sessions, size: int) -> Iterator[Sessions]:
    for first in range(0, len(sessions), size):
        starts = sessions.starts[first : first + size + 1]
        clicks = slice(starts[0], starts[-1])
        yield Sessions(sessions.items[clicks], starts - starts[0], sessions.scored[clicks])
