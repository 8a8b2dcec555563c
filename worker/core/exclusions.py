"""The items that a user's lists leave out because of earlier events, and the rows of the users of a batch.

>>> states = States(state_size=4)
>>> states.keep_bought(30)
>>> ada, lamp = states.rows(0, ["ada"]), states.item_codes.codes(["lamp"])
>>> states.buy(ada, lamp, days=np.array([19_000]), offsets=np.array([0]))
>>> [exclusions(states, ada, np.array([day * DAY_MS]))["bought"].tolist() for day in (19_030, 19_031)]
[[[0]], [[]]]
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.core.batch import Clicks
from worker.core.bought import DAY_MS
from worker.core.fatigue import HOUR_MS
from worker.core.quality import Quality
from worker.core.ranking import Indexes
from worker.core.slabs import Rows
from worker.core.states import States

BOUGHT: Final = "bought"
"""The user bought the item (`events.exclude`)."""
SHOWN_OFTEN: Final = "shown_often"
"""The item was shown too often without a click (`events.fatigue`)."""


def exclusions(states: States, rows: Rows, times_ms: NDArray[np.int64]) -> dict[str, Indexes]:
    """Return the codes of items to leave out of the users' lists at these times, by reason, `[B, X]` each.

    Padded with `NO_ITEM`. A negative row stands for a user without any. Reasons that are not in use are left
    out.
    """
    found = dict[str, Indexes]()
    if states.bought is not None and states.bought.users:
        found[BOUGHT] = states.bought.excluded(rows, times_ms // DAY_MS)
    if states.fatigue is not None:
        found[SHOWN_OFTEN] = states.fatigue.excluded(rows, times_ms // HOUR_MS)
    return found


def exclude_bought(states: States, quality: Quality | None, events: Clicks, rows: Rows) -> None:
    """Keep the items of `events`, of the users of `rows`, unless a deletion request covers the events."""
    kept = events.offsets >= states.void_before(events.partitions, events.user_ids)
    users = np.unique(rows[kept])
    before = states.read_column("offset", users)
    states.buy(
        rows[kept],
        states.item_codes.codes(events.item_ids)[kept],
        events.timestamps_ms[kept] // DAY_MS,
        events.offsets[kept],
    )
    if quality:
        quality.passed(users, before, states.read_column("offset", users))
    new = np.unique(rows[~kept])
    states.free(new[~states.in_use(new)])


def rows_of(states: States, clicks: Clicks) -> Rows:
    """Return the row of the user of each click; a user without a row gets a new one."""
    partitions = np.unique(clicks.partitions).tolist()
    if len(partitions) == 1:
        return states.rows(partitions[0], clicks.user_ids)
    rows = np.empty(len(clicks), np.int64)
    for partition in partitions:
        places = np.flatnonzero(clicks.partitions == partition)
        rows[places] = states.rows(partition, [clicks.user_ids[place] for place in places.tolist()])
    return rows
