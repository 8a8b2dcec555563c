"""Lists of items for approximate ranking, measured on held-out states before a release is packed."""

from __future__ import annotations

from typing import Final

import numpy as np

from trainer.console import Progress
from trainer.dataset.dataset import Data
from trainer.dataset.sessions import Sessions
from trainer.evaluation import replay
from trainer.release.lists import (
    SESSIONS,
    STATES,
    TOP,
    ItemLists,
    divided,
    margin_for,
    share_found,
    wanted_recall,
)
from trainer.release.package import Model
from worker.core.ranking import Indexes
from worker.core.tables import EXACT_NUMBERS, ServingTables

_MOST: Final = 0.25
"""If approximate ranking scored more than this share of the items, it would hardly be faster."""


def with_lists(model: Model, data: Data, progress: Progress) -> Model:
    """Return the model with lists of items, if its catalogue is large and approximate ranking is worth it."""
    tables = model.tables(data)
    if tables.items * tables.vectors.shape[1] <= EXACT_NUMBERS:
        return model
    held = next(part for part in (data.test, data.validation, data.train) if part.predictions)
    asked = _Asked(tables, replay.some_of(held, max(0, len(held) - SESSIONS), SESSIONS))
    hidden = tables.hidden(asked.states)
    lists = divided(tables.vectors, hidden)
    listed = model._replace(lists=ItemLists(lists, 0.0, 0.0)).tables(data)
    widest = 2 * float(np.abs(hidden[:100] @ tables.vectors.T).max())
    exact = asked.top(tables, approximate=False)

    def recall_of(margin: float) -> float:
        # Above `_MOST`, ranking takes longer than exact ranking, and the answer is known: no lists.
        return 1.0 if share(margin) > _MOST else asked.recall(listed, exact, margin, half=0)

    def share(margin: float) -> float:
        assert listed.lists is not None  # noqa: S101  # the model has lists
        listed.lists.margin = margin
        return listed.lists.scored_share(hidden)

    margin = margin_for(recall_of, wanted_recall(tables.items), widest)
    if margin is None or share(margin) > _MOST:
        progress.say("no lists for approximate ranking: they would not make it faster; ranking is exact")
        return model
    recall = asked.recall(listed, exact, margin, half=1)
    progress.say(
        f"for approximate ranking, {lists.max() + 1:,} lists of items: it scores "
        f"{share(margin):.1%} of the items, and finds {recall:.1%} of the exact top {TOP}"
    )
    return model._replace(lists=ItemLists(lists, margin, recall))


class _Asked:
    """Some held-out predictions, as a worker would rank them."""

    def __init__(self, tables: ServingTables, held: Sessions) -> None:
        states, warm = replay.hidden_before(tables, held)
        chosen = np.random.default_rng(0).permutation(np.flatnonzero(warm))[:STATES]
        self.states = states[chosen]
        self._recent = replay.recent_items(held, tables.recent_needed)[chosen]
        self._own = replay.last_items(held, tables.own_needed)[chosen]

    def top(self, tables: ServingTables, *, approximate: bool) -> Indexes:
        """Return the top items of all predictions."""
        return tables.rank(
            self.states, TOP, recent=self._recent, own=self._own, approximate=approximate
        ).indexes

    def recall(self, tables: ServingTables, exact: Indexes, margin: float, *, half: int) -> float:
        """Return the share of the `exact` top items that ranking with `margin` finds, in one half."""
        assert tables.lists is not None  # noqa: S101  # called with lists only
        tables.lists.margin = margin
        part = slice(half, None, 2)
        found = tables.rank(
            self.states[part], TOP, recent=self._recent[part], own=self._own[part], approximate=True
        )
        return share_found(exact[part], found.indexes)
