"""Copies of user states, outside of the rows that hold them (`worker.core.states`).

>>> users = UserStates(*np.zeros((8, 3), np.int64))
>>> len(users), len(users.taken(np.array([0, 2])))
(3, 2)
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worker.core.bought import Items
from worker.core.recent import Ring
from worker.core.slabs import Rows

NO_OFFSET: Final = -1
"""The offset of a state to which no record of the current clicks topic was applied."""

NO_RELEASE: Final = 0
"""Takes the place of a release number if the hidden state is not valid under any release."""


@dataclass(slots=True)
class UserStates:
    """A copy of the states of `B` users; `States.read` returns it, `States.write` accepts it."""

    hidden: NDArray[np.float16]
    """`[B, S]`: the recurrent state; zeros if no known item was clicked since the session began."""
    recent: NDArray[np.int32]
    """`[B, R]`: codes of the recent items, in the order of `ring`."""
    clicks: NDArray[np.int32]
    """The total number of clicks applied; 0 for a new user, and for one who only bought items."""
    session: NDArray[np.int8]
    """The number of recent items in the current session, at most `ring.session_size`."""
    warm: NDArray[np.bool_]
    """Whether a known item was clicked since the session began."""
    timestamp_ms: NDArray[np.int64]
    """The time of the latest click."""
    offset: NDArray[np.int64]
    """The offset of the last record applied."""
    release: NDArray[np.int32]
    """The number of the release that computed `hidden`."""

    def __len__(self) -> int:
        return len(self.clicks)

    def taken(self, places: NDArray[Any]) -> UserStates:
        """Return a copy of the states of some users: `places` are their positions, or a mask."""
        columns: dict[str, Any] = {field.name: getattr(self, field.name)[places] for field in fields(self)}
        return UserStates(**columns)

    @property
    def ring(self) -> Ring:
        """The recent items, as a view of `recent`."""
        return Ring(self.recent, self.clicks)


@dataclass(slots=True)
class Saved:
    """The user states in one block. `recent` holds positions in `item_ids`; -1 means no item."""

    user_ids: list[str]
    item_ids: list[str]
    states: UserStates
    size_bytes: int = 0
    """The length of the block's value."""
    bought: Items | None = None
    """The items that users bought, as positions in `item_ids`; None if there are none."""

    def taken(self, places: Rows) -> Saved:
        """Return only the users at the positions `places`."""
        return Saved(
            [self.user_ids[at] for at in places.tolist()],
            self.item_ids,
            self.states.taken(places),
            bought=self.bought and self.bought.taken(places),
        )
