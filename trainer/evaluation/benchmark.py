"""The benchmark: evaluation of a release and the baselines on the same held-out clicks."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Final

from trainer.config import Baselines
from trainer.console import Progress
from trainer.dataset.holdout import HeldOut
from trainer.dataset.lists import counted, popular_lists
from trainer.dataset.sessions import PastSessions, catalogue_of, to_arrays
from trainer.evaluation.baselines import (
    Asked,
    Baseline,
    CoOccurring,
    LivePopular,
    Markov,
    OwnItems,
    Popular,
    RecentlyPopular,
)
from trainer.evaluation.knn import S_KNN, VMIS_KNN, VS_KNN, Neighbours, NeighbourSettings
from trainer.evaluation.metrics import Answers, Counts, answers_of
from trainer.evaluation.replay import answers, excluded_items, walk
from trainer.evaluation.slices import EvaluationResult, Predictions, thirds
from worker.core.release import Release

NETWORK: Final = "network"
"""The name of the release in the results."""


def _neighbours(published: NeighbourSettings, settings: Baselines) -> NeighbourSettings:
    """Return the `published` settings of a kNN model, overridden by `settings`."""
    return replace(
        published,
        sample=settings.knn_sample or published.sample,
        neighbours=settings.knn_neighbours or published.neighbours,
    )


BASELINES: Final[dict[str, Callable[[PastSessions, Baselines, Progress], Baseline]]] = {
    "popular": lambda past, *_: Popular(past),
    "recently popular": lambda past, settings, _: RecentlyPopular(past, settings.recent / 3_600),
    "live popular": lambda past, settings, _: LivePopular(past, settings.recent / 3_600),
    "own items": lambda past, *_: OwnItems(past),
    "markov": lambda past, *_: Markov(past),
    "co-occurrence": lambda past, *_: CoOccurring(past),
    "s-knn": lambda past, settings, progress: Neighbours(past, _neighbours(S_KNN, settings), progress),
    "vs-knn": lambda past, settings, progress: Neighbours(past, _neighbours(VS_KNN, settings), progress),
    "vmis-knn": lambda past, settings, progress: Neighbours(past, _neighbours(VMIS_KNN, settings), progress),
}
"""The baselines by name, cheapest first."""


def baseline_answers(
    past: PastSessions,
    asked: Asked,
    *,
    top: int,
    names: Collection[str] = tuple(BASELINES),
    settings: Baselines = Baselines(),  # noqa: B008  # frozen
    progress: Progress = Progress(),  # noqa: B008  # silent, without state
) -> dict[str, Answers]:
    """Return the answers of the named baselines, trained on `past`. `past` and `asked` share a catalogue."""
    targets, found = asked.sessions.items[asked.sessions.scored], {}
    for name in names:
        began = time.monotonic()
        lists = BASELINES[name](past, settings, progress).lists(asked, top)
        found[name] = answers_of(targets, lists, past.items)
        seconds = time.monotonic() - began
        if seconds >= 1:
            progress.say(f"{name}: {len(targets):,} predictions in {seconds:.0f} s")
    return found


def score(
    release: Release,
    held: HeldOut,
    *,
    top: int,
    smaller_tops: Collection[int] = (),
    exclude_recent: int,
    exact: bool = False,
    names: Collection[str] = tuple(BASELINES),
    settings: Baselines = Baselines(),  # noqa: B008  # frozen
    progress: Progress = Progress(),  # noqa: B008  # silent, without state
) -> EvaluationResult:
    """Measure `release` and the named baselines on `held.clicks`, with the metrics for all given K.

    The baselines are trained on all items in `held.before`, independently of the release's catalogue. If
    `held.before` is empty, the only baseline is `popular`, with the popularity list of the release.
    """
    sessions = held.sessions(release.catalogue)
    result = partial(EvaluationResult.of, top=top, smaller_tops=smaller_tops, test_clicks=held.test_clicks)
    found = {NETWORK: _network(release, held, top, exclude_recent, exact=exact, progress=progress)}
    if held.before.is_empty():
        if "popular" in names:
            excluded = excluded_items(sessions, exclude_recent)
            lists = popular_lists(release.popular, excluded, top)
            found["popular"] = answers_of(sessions.items[sessions.scored], lists, len(release.catalogue))
        return result(found, Predictions.of(sessions))
    catalogue = catalogue_of(held.before)
    past, same = PastSessions.of(held.before, catalogue), held.sessions(catalogue)
    excluded = excluded_items(same, exclude_recent)
    asked = Asked(same, held.times_ms, excluded, held.users, held.context)
    found |= baseline_answers(past, asked, top=top, names=names, settings=settings, progress=progress)
    clicks: dict[str, Counts] = dict.fromkeys(found, past.clicks)
    clicks[NETWORK] = counted(to_arrays(held.before, release.catalogue).items, len(release.catalogue))
    third = thirds(past.clicks, same.items[same.scored])
    return result(found, Predictions.of(sessions, third), clicks=clicks)


def _network(
    release: Release, held: HeldOut, top: int, exclude_recent: int, *, exact: bool, progress: Progress
) -> Answers:
    if exact:
        return walk(release, held, top=top, exclude_recent=exclude_recent, progress=progress)
    return answers(release, held.sessions(release.catalogue), top=top, exclude_recent=exclude_recent)
