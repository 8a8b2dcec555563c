"""Histories of workers that save states: what may happen in them, and under which rules they run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, Literal, NamedTuple, get_args

from hypothesis import strategies as st

from tests.builders import ITEMS
from worker.core.bought import DAY_MS
from worker.core.event_types import EXCLUDE, STEP

GAP_MS: Final = 1_800_000
TTL_MS: Final = 3 * GAP_MS
PARTITIONS: Final = (0, 3)
USERS: Final = "abcdefgh"

Fate = Literal["committed", "aborted", "killed before the commit", "killed after the commit"]
FATES: Final[tuple[Fate, ...]] = get_args(Fate)


class Clicked(NamedTuple):
    """Events arrive (partition, user, item, ms after the one before, kind) and are walked at once."""

    clicks: list[tuple[int, str, str, int, int]]


class Checkpoint(NamedTuple):
    """Both owners write so many blocks of the flushes that are under way or begin, and commit or not."""

    begin: Collection[int]
    blocks: int
    fate: Fate


class Move(NamedTuple):
    """A partition goes to the other owner, its last flush having come so many blocks far."""

    partition: int
    blocks: int


class Compact(NamedTuple):
    """The broker cleans so much of the log from its begin, of tombstones too or not."""

    partition: int
    share: float
    tombstones: bool


class Free(NamedTuple):
    """The owner frees the memory of the users who were away longest."""

    users: int


class Forget(NamedTuple):
    """Someone asks to be forgotten, with all clicks until so many after the newest that was walked.

    Or before it: where they click again before the owner hears of it.
    """

    partition: int
    user_id: str
    ahead: int


class Rules(NamedTuple):
    """Under what a history runs."""

    cell: str
    gap_seconds: float
    user_ttl_ms: int
    max_rows: int
    max_bytes: int
    small_blocks: int
    replayed_at_once: int
    exclude_days: int | None = None
    """For how many days bought items are left out; if None, nobody buys."""


partitions = st.sampled_from([0, 0, 3])
clicks = st.tuples(
    partitions,
    st.sampled_from(USERS + "aaab"),
    st.sampled_from([*ITEMS[:6], "unknown"]),
    st.sampled_from([1, 1, 1, 1, 1000, -5000, GAP_MS + 1, TTL_MS + 1, DAY_MS]),
    st.sampled_from([STEP, STEP, STEP, STEP, EXCLUDE, STEP | EXCLUDE]),
)
# Many that commit all, so that there is much to lose when something else happens.
fates = st.sampled_from([*FATES, *["committed"] * 5])
checkpoints = st.builds(
    Checkpoint, st.sampled_from([PARTITIONS, PARTITIONS, (0,), ()]), st.sampled_from([9, 9, 1, 2]), fates
)
clicked = st.builds(Clicked, st.lists(clicks, min_size=1, max_size=15))
rarer = st.one_of(
    st.builds(Move, partitions, st.sampled_from([9, 0, 1])),
    st.builds(Compact, partitions, st.sampled_from([0.5, 0.9, 1.0]), st.booleans()),
)
forgets = st.builds(Forget, partitions, st.sampled_from(USERS), st.integers(-9, 5))
frees = st.builds(Free, st.integers(0, 6))


def histories(*others: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Of what every history has, and of others."""
    some = st.one_of(clicked, clicked, checkpoints, checkpoints, rarer, *others)
    return st.lists(some, min_size=10, max_size=40)


rules = st.builds(
    Rules,
    cell=st.sampled_from(["gru", "lstm"]),
    gap_seconds=st.sampled_from([0.0, GAP_MS / 1000]),
    user_ttl_ms=st.sampled_from([0, TTL_MS]),
    max_rows=st.sampled_from([1, 2, 3, 1024]),
    max_bytes=st.sampled_from([300, 600, 1 << 20]),
    small_blocks=st.sampled_from([1, 3, 16]),
    replayed_at_once=st.sampled_from([1, 4, 1000]),
    exclude_days=st.sampled_from([None, 1]),
)
