"""The user states that must be there in the end: those of one process that nothing ever happened to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from tests.records import Record
from worker.core import blocks
from worker.core.batch import Clicks
from worker.core.bought import Items
from worker.core.click import Click
from worker.core.ranking import NO_ITEM
from worker.core.recommender import Recommender
from worker.core.release import Release
from worker.core.states import States
from worker.core.user_states import NO_RELEASE, UserStates

HIDDEN_TOLERANCE: Final = 1e-3
"""Two steps of half precision near 1; of values beyond 1, this part of them.

A batch of another shape sums in another order (1e-7), which now and then rounds to the neighbour: over
20,000 clicks of 3,000 users, walked in batches of 2,000 or of 5, GRU and LSTM states of 32 differed by half
a step at the most. One click too many moved each user's hidden state by 0.06 or more.
"""


class PlacedClick(NamedTuple):
    """A click and where it stands."""

    partition: int
    offset: int
    click: Click


class Owner(NamedTuple):
    """Whose state it is: a user has one in every partition that has clicks of theirs."""

    partition: int
    user_id: str


@dataclass(frozen=True)
class State:
    """What is kept of a user."""

    offset: int
    clicks: int
    recent: tuple[str, ...]
    session: int
    warm: bool
    timestamp_ms: int
    release: int
    bought: tuple[tuple[str, int], ...]
    """The bought items and their days, oldest first."""
    hidden: NDArray[np.float32] = field(compare=False)


def expected(
    clicks: Iterable[PlacedClick], release: Release, *, batch: int = 1_000, exclude_days: int = 0
) -> dict[Owner, State]:
    """The states after `clicks`, which are in order within a partition, walked in batches of one size.

    `exclude_days`: for how long bought items are left out of lists; 0: they are not kept.
    """
    states = States(state_size=release.state_size)
    if exclude_days:
        states.keep_bought(exclude_days)
    recommender = Recommender(release, states)
    by_partition: dict[int, list[PlacedClick]] = defaultdict(list)
    for one in clicks:
        by_partition[one.partition].append(one)
    for its in by_partition.values():
        for begin in range(0, len(its), batch):
            recommender.apply(columns(its[begin : begin + batch]), now_ms=0)
    found: dict[Owner, State] = {}
    for partition, its in by_partition.items():
        users = sorted({one.click.user_id for one in its})
        at = states.rows(partition, users)
        rows, bought = states.read(at), states.bought.of(at) if states.bought else None
        for place, user_id in enumerate(users):
            recent = states.item_codes.ids(rows.ring.oldest_first(place))
            codes, days = _bought(bought, place)
            kept = zip(states.item_codes.ids(codes), days, strict=True)
            found[Owner(partition, user_id)] = _state(rows, place, recent, kept)
    return found


def saved(records: Iterable[Record]) -> dict[Owner, State]:
    """The states that a committed reader finds in a state topic: of each user the copy that is ahead."""
    latest = {(record.partition or 0, record.key or b""): record.value for record in records}
    found: dict[Owner, State] = {}
    for (partition, key), value in latest.items():
        if value is None or not key.startswith(b"block/"):
            continue
        block = blocks.decode(value)
        for place, user_id in enumerate(block.user_ids):
            owner = Owner(partition, user_id)
            codes, days = _bought(block.bought, place)
            bought = zip([block.item_ids[code] for code in codes], days, strict=True)
            state = _state(block.states, place, blocks.recent_items(block, place), bought)
            if owner not in found or state.offset >= found[owner].offset:
                found[owner] = state
    return found


def replay_offsets(records: Iterable[Record]) -> dict[int, int]:
    """By partition: the offset of the clicks up to which, as the state topic says, all is in its blocks."""
    latest = {record.partition or 0: record.value for record in records if record.key == b"replay"}
    return {partition: msgpack.unpackb(value)["offset"] for partition, value in latest.items() if value}


def differences(expected: Mapping[Owner, State], found: Mapping[Owner, State]) -> list[str]:
    """A line for each user whose state is missing, surplus or not what is expected."""
    lines = [f"{owner}: no state" for owner in expected.keys() - found.keys()]
    lines += [f"{owner}: has a state without a click" for owner in found.keys() - expected.keys()]
    for owner in sorted(expected.keys() & found.keys()):
        wanted, got = expected[owner], found[owner]
        if wanted != got:
            lines.append(f"{owner}: {_told_apart(wanted, got)}")
        elif (distance := hidden_distance(wanted.hidden, got.hidden)) > HIDDEN_TOLERANCE:
            lines.append(f"{owner}: the hidden state is {distance:.2g} away, all else is equal")
    return lines


def hidden_distance(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """How far apart two hidden states are: the largest difference, of values beyond 1 the relative one."""
    if expected.shape != found.shape:
        return np.inf
    return float((np.abs(expected - found) / np.maximum(1, np.abs(expected))).max(initial=0))


def columns(clicks: Sequence[PlacedClick]) -> Clicks:
    """A batch as the core takes it."""
    return Clicks(
        partitions=np.array([one.partition for one in clicks], np.int32),
        offsets=np.array([one.offset for one in clicks], np.int64),
        user_ids=[one.click.user_id for one in clicks],
        item_ids=[one.click.item_id for one in clicks],
        timestamps_ms=np.array([one.click.timestamp_ms for one in clicks], np.int64),
        record_timestamps_ms=np.zeros(len(clicks), np.int64),
        kinds=np.array([one.click.kind for one in clicks], np.int8),
    )


def _bought(items: Items | None, place: int) -> tuple[NDArray[np.int32], list[int]]:
    """The codes of a user's bought items, and their days."""
    if items is None:
        return np.empty(0, np.int32), []
    kept = items.codes[place] != NO_ITEM
    return items.codes[place][kept], items.days[place][kept].tolist()


def _state(rows: UserStates, place: int, recent: Iterable[str], bought: Iterable[tuple[str, int]]) -> State:
    return State(
        offset=int(rows.offset[place]),
        clicks=int(rows.clicks[place]),
        recent=tuple(recent),
        session=int(rows.session[place]),
        warm=bool(rows.warm[place]),
        timestamp_ms=int(rows.timestamp_ms[place]),
        # Without a click there is nothing to rebuild: it does not matter which release looked at the state.
        release=int(rows.release[place]) if rows.clicks[place] else NO_RELEASE,
        bought=tuple(bought),
        hidden=rows.hidden[place].astype(np.float32),
    )


def _told_apart(expected: State, found: State) -> str:
    names = [one.name for one in fields(State) if one.compare]
    pairs = [(name, getattr(expected, name), getattr(found, name)) for name in names]
    return ", ".join(f"{name} is {is_}, not {wanted}" for name, wanted, is_ in pairs if wanted != is_)
