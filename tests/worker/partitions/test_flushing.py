"""Saving: what is due when, and who is let go of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from worker.core.flush import Ledger
from worker.core.states import States
from worker.errors import CheckpointFailed
from worker.metrics import Metrics
from worker.partitions.flushing import Saving
from worker.partitions.follower import StateFollower
from worker.topics.states import Forget, StateWriter

HOUR_MS = 3_600_000
NOW_MS = 1_700_000_000_000


class Writer:
    """Keeps no record but wishes, only that there was one."""

    def __init__(self) -> None:
        self.wishes: dict[str, Forget] = {}

    def heard(self, partition: int, user_id: str, wish: Forget) -> int:
        """A wish as it is obeyed."""
        self.wishes[user_id] = wish
        return 1

    def replay(self, partition: int, replay: Any) -> int:
        """Where replay begins."""
        return 1

    def block(self, partition: int, number: int, value: bytes | None) -> int:
        """A block."""
        return 1


class Unwritable(Writer):
    """A transaction that has failed."""

    def replay(self, partition: int, replay: Any) -> int:
        """Nothing is sent."""
        raise CheckpointFailed("send")

    def block(self, partition: int, number: int, value: bytes | None) -> int:
        """Ditto."""
        raise CheckpointFailed("send")


class Follower:
    """Notes what is searched for."""

    def __init__(self) -> None:
        self.sought: dict[str, int] = {}

    def search(self, partition: int, sought: dict[str, int]) -> None:
        """Look through a partition."""
        self.sought = sought


def saving(states: States, follower: Follower | None = None, writer: Writer | None = None) -> Saving:
    """Of partition 0, served from offset 0; who was away for ten hours starts afresh."""
    one = Saving(
        states,
        cast("StateWriter", writer or Writer()),
        cast("StateFollower", follower or Follower()),
        flush_interval_seconds=1e-9,
        user_ttl_ms=10 * HOUR_MS,
        max_users=0,
        metrics=Metrics(),
        steady=iter(range(1_000)).__next__,
        wall_ms=lambda: NOW_MS,
    )
    one.begin(0, Ledger(), None, {}, 0)
    return one


def clicked(states: States, **timestamps_ms: int) -> None:
    """One click of each user, the offsets counting from 0."""
    states.item_codes.codes(["lamp"])
    rows = states.rows(0, list(timestamps_ms))
    times, count = np.array([*timestamps_ms.values()]), len(timestamps_ms)
    row = replace(states.read(rows), clicks=np.ones(count, np.int32), timestamp_ms=times)
    states.write(rows, replace(row, offset=np.arange(count, dtype=np.int64)))


@pytest.mark.parametrize("how", ["parts", "missing", "everything"])
def test_whoever_cannot_send_knows_of_which_partition(how: str) -> None:
    """A flush believes that its blocks are written: without the partition its memory would not be dropped."""
    states, noted = States(state_size=4), list[int]()
    clicked(states, ada=NOW_MS)
    one = saving(states, writer=Unwritable())
    ways = {
        "parts": one.parts({0: 3}, release=1),
        "missing": one.missing({0}, release=1),
        "everything": one.everything([0], {0: 3}, release=1, seconds=1_000),
    }

    with pytest.raises(CheckpointFailed):
        noted.extend(ways[how])
    assert noted == [0]


def test_users_who_would_start_afresh_anyway_are_freed() -> None:
    """By the time of the newest click, an hour later than their time to live ends."""
    states = States(state_size=4)
    clicked(states, ada=NOW_MS - 12 * HOUR_MS, bob=NOW_MS - 10 * HOUR_MS, eve=NOW_MS)

    list(saving(states).parts({0: 3}, release=1))

    assert [states.find(0, user_id) is None for user_id in ("ada", "bob", "eve")] == [True, False, False]


def test_a_click_from_the_future_frees_nobody() -> None:
    """A producer whose clock is wrong dates its records, too: one such click must not cost all others."""
    states = States(state_size=4)
    clicked(states, ada=NOW_MS, bob=NOW_MS, eve=NOW_MS + 1_000_000 * HOUR_MS)

    list(saving(states).parts({0: 3}, release=1))

    assert len(states) == 3


def test_a_click_after_the_wish_does_not_save_what_came_before() -> None:
    """The wish is raised to where its owner hears it, and stands so in the transaction before the search."""
    states, follower, writer = States(state_size=4), Follower(), Writer()
    clicked(states, ada=NOW_MS, bob=NOW_MS, eve=NOW_MS)
    one = saving(states, follower, writer)

    one.wish(0, "eve", Forget(1, NOW_MS), position=3)
    added = list(one.missing(set(), release=1))
    one.committed()

    assert states.find(0, "eve") is None
    assert added == [0]
    assert writer.wishes == {"eve": Forget(3, NOW_MS, heard=True)}
    assert follower.sought == {"eve": 3}
