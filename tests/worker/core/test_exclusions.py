"""The items that lists leave out because of earlier events, by reason."""

from __future__ import annotations

import numpy as np

from worker.core.batch import Clicks
from worker.core.bought import DAY_MS
from worker.core.exclusions import BOUGHT, SHOWN_OFTEN, exclude_bought, exclusions, rows_of
from worker.core.fatigue import HOUR_MS
from worker.core.states import States

DAY = 20_000


def _events(*users: str, partitions: tuple[int, ...] = (0, 0, 0), offset: int = 0) -> Clicks:
    count = len(users)
    return Clicks(
        partitions=np.array(partitions[:count], np.int32),
        offsets=np.arange(count, dtype=np.int64) + offset,
        user_ids=list(users),
        item_ids=[f"item-{at}" for at in range(count)],
        timestamps_ms=np.full(count, DAY * DAY_MS),
        record_timestamps_ms=np.full(count, DAY * DAY_MS),
    )


def test_without_these_settings_nothing_is_left_out() -> None:
    """And nothing costs anything."""
    states = States(state_size=4)

    assert exclusions(states, states.rows(0, ["ada"]), np.array([0])) == {}


def test_each_reason_has_its_items() -> None:
    """Bought ones and those shown too often, each for their time."""
    states = States(state_size=4)
    states.keep_bought(30)
    states.keep_shown(times=1, hours=24)
    events = _events("ada")
    ada = rows_of(states, events)
    exclude_bought(states, None, events, ada)
    assert states.fatigue is not None
    lamp = states.item_codes.codes(["lamp"])
    states.fatigue.show(ada, lamp[None], np.array([DAY * 24]))
    item = states.item_codes.codes(["item-0"])

    found = exclusions(states, ada, np.array([DAY * DAY_MS + HOUR_MS]))
    later = exclusions(states, ada, np.array([(DAY + 2) * DAY_MS]))

    assert found[BOUGHT].tolist() == later[BOUGHT].tolist() == [item.tolist()]
    assert found[SHOWN_OFTEN].tolist() == [lamp.tolist()]
    assert later[SHOWN_OFTEN].tolist() == [[]]


def test_a_purchase_that_a_deletion_covers_leaves_nothing() -> None:
    """Neither an item nor a user."""
    states = States(state_size=4)
    states.keep_bought(30)
    states.forget(0, "ada", before=1)
    events = _events("ada", "eve")
    exclude_bought(states, None, events, rows_of(states, events))

    assert states.find(0, "ada") is None
    assert states.find(0, "eve") is not None


def test_users_are_found_in_their_partitions() -> None:
    """The same name in two of them is two users."""
    states = States(state_size=4)

    rows = rows_of(states, _events("ada", "ada", "eve", partitions=(0, 1, 0)))

    assert states.partitions(rows).tolist() == [0, 1, 0]
    assert states.user_ids(rows) == ["ada", "ada", "eve"]
    assert len(set(rows.tolist())) == 3
