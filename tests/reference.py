"""The walk of a batch, one click after the other: what applying and ranking are defined to do.

Written for the reader, from the design and not from the code that serves: lists, dictionaries, the
formula of one step, the formula of a score, a sort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
from safetensors.numpy import load

from tests.builders import all_scores, state_size, step_one
from worker.core.batch import Clicks
from worker.core.bought import DAY_MS
from worker.core.cells import Floats
from worker.core.event_types import EXCLUDE, STEP
from worker.core.manifest import Manifest
from worker.core.ranking import NO_ITEM
from worker.core.recent import MAX_RECENT_ITEMS, RECENT_ITEMS
from worker.core.states import States

STATE_TOLERANCE: Final = 1e-3
"""Half precision has steps of half of that below 1: sums that round differently may differ by one step."""


class OneClick(NamedTuple):
    """A click as it arrives."""

    partition: int
    offset: int
    user_id: str
    item_id: str
    timestamp_ms: int
    record_timestamp_ms: int
    kind: int = STEP
    """What its type makes of it, if it is not a click, or not a click alone."""


class Answer(NamedTuple):
    """The list for one click, and the scores of all items that could have stood in it."""

    items: list[str]
    reason: str
    scores: Mapping[str, float]


@dataclass
class User:
    """All that is known of one user."""

    hidden: np.ndarray[tuple[int], np.dtype[np.float16]]
    items: list[str] = field(default_factory=list)
    """Every item that was clicked since the user was new, last one last."""
    session: int = 0
    """The number of clicks in the current session."""
    warm: bool = False
    timestamp_ms: int | None = None
    offset: int = 0
    bought: dict[str, int] = field(default_factory=dict)
    """The last items that were bought, last one last, and the day of each."""


class Reference:
    """Applies one click after the other under one release."""

    def __init__(
        self,
        manifest: Manifest,
        blob: bytes,
        item_ids: tuple[str, ...],
        *,
        user_ttl_ms: int = 0,
        keeps_bought: int = 16,
        exclude_days: int = 0,
    ) -> None:
        self.manifest = manifest
        self.users: dict[tuple[int, str], User] = {}
        self._ttl_ms = user_ttl_ms
        self._keeps_bought, self._exclude_days = keeps_bought, exclude_days
        self._void_before: dict[tuple[int, str], int] = {}
        self._tensors: Mapping[str, Any] = load(blob)
        self._item_ids = item_ids

    def apply(self, click: OneClick) -> User:
        """Move the state of the event's user; a copy of it as it is now."""
        key = click.partition, click.user_id
        user = self._stepped_by(key, click) if click.kind & STEP else self.users.get(key)
        if click.kind & EXCLUDE and click.offset >= self._void_before.get(key, 0):
            user = self.users.setdefault(key, User(self._zeros()))
            day = max(click.timestamp_ms // DAY_MS, user.bought.pop(click.item_id, 0))
            user.bought[click.item_id] = day
            for item_id in [*user.bought][: -self._keeps_bought]:
                del user.bought[item_id]
            user.offset = max(user.offset, click.offset)
        user = user or User(self._zeros())
        return replace(user, items=[*user.items])

    def _stepped_by(self, key: tuple[int, str], click: OneClick) -> User:
        if self._expired(key, click.timestamp_ms):
            self.users[key] = User(self._zeros(), bought=self.users[key].bought)
        user = self.users.setdefault(key, User(self._zeros()))
        if self._session_ended(user, click.timestamp_ms):
            user.hidden, user.session, user.warm = self._zeros(), 0, False
        if click.item_id in self._item_ids:
            user.hidden = self._stepped(user.hidden, self._item_ids.index(click.item_id))
            user.warm = True
        user.items.append(click.item_id)
        user.session += 1
        user.timestamp_ms = max(user.timestamp_ms or 0, click.timestamp_ms)
        user.offset = click.offset
        if user.offset < self._void_before.get(key, 0):
            del self.users[key]
        return user

    def forget(self, partition: int, user_id: str, before: int) -> None:
        """As if the user had not made the clicks with offsets below `before`, be they past or to come."""
        key = partition, user_id
        self._void_before[key] = max(before, self._void_before.get(key, 0))
        if key in self.users and self.users[key].offset < before:
            del self.users[key]

    def rebuild(self, user: User, keeps: int) -> User:
        """A user of another release as this one takes them over, from the last `keeps` items."""
        user = replace(user, hidden=self._zeros(), warm=False)
        if not self.manifest.session_gap_seconds:
            user.session = len(user.items)
        for item_id in user.items[-min(user.session, keeps, RECENT_ITEMS) :]:
            if item_id in self._item_ids:
                user.hidden = self._stepped(user.hidden, self._item_ids.index(item_id))
                user.warm = True
        return user

    def answer(
        self, user: User, *, top: int, exclude_recent: int, keeps: int = MAX_RECENT_ITEMS, day: int = 0
    ) -> Answer:
        """The list of a day for a user of whose items the last `keeps` are at hand."""
        excluded = user.items[-exclude_recent:] if exclude_recent else []
        excluded += [item_id for item_id, at in user.bought.items() if at + self._exclude_days >= day]
        if not user.warm:
            kept = [item_id for item_id in self.manifest.popular if item_id not in excluded]
            return Answer(kept[:top], "cold", {})
        clicked = user.items[-min(user.session, keeps) :]
        scores = {
            item_id: s
            for item_id, s in self._scores(user.hidden, clicked, user.items[-keeps:]).items()
            if item_id not in excluded
        }
        return Answer(sorted(scores, key=lambda item_id: -scores[item_id])[:top], "model", scores)

    def _zeros(self) -> np.ndarray[tuple[int], np.dtype[np.float16]]:
        return np.zeros(state_size(self._tensors, self.manifest.cell), np.float16)

    def _expired(self, key: tuple[int, str], timestamp_ms: int) -> bool:
        user = self.users.get(key)
        if user is None or user.timestamp_ms is None or not self._ttl_ms:
            return False
        return timestamp_ms - user.timestamp_ms > self._ttl_ms

    def _session_ended(self, user: User, timestamp_ms: int) -> bool:
        if user.timestamp_ms is None or not self.manifest.session_gap_seconds:
            return False
        return timestamp_ms - user.timestamp_ms > self.manifest.session_gap_seconds * 1000

    def _stepped(
        self, hidden: np.ndarray[tuple[int], np.dtype[np.float16]], item: int
    ) -> np.ndarray[tuple[int], np.dtype[np.float16]]:
        after: Floats = step_one(self._tensors, self.manifest.cell, item, hidden.astype(np.float32))
        return after.astype(np.float16)

    def _scores(
        self,
        hidden: np.ndarray[tuple[int], np.dtype[np.float16]],
        clicked: Sequence[str],
        own: Sequence[str],
    ) -> dict[str, float]:
        manifest = self.manifest
        known = {item_id: index for index, item_id in enumerate(self._item_ids)}
        scores = all_scores(
            self._tensors,
            hidden.astype(np.float32),
            [known.get(item_id, NO_ITEM) for item_id in reversed(clicked)],
            normalize=manifest.normalize,
            scale=manifest.scale,
            co_occurrence_decay=manifest.co_occurrence_decay,
            repeat_bias=manifest.repeat_bias,
            own=[known.get(item_id, NO_ITEM) for item_id in reversed(own)],
            own_items=manifest.own_term,
        )
        return dict(zip(self._item_ids, scores.tolist(), strict=True))


def columns(clicks: Sequence[OneClick]) -> Clicks:
    """A batch as the worker has it."""
    return Clicks(
        partitions=np.array([click.partition for click in clicks], np.int32),
        offsets=np.array([click.offset for click in clicks], np.int64),
        user_ids=[click.user_id for click in clicks],
        item_ids=[click.item_id for click in clicks],
        timestamps_ms=np.array([click.timestamp_ms for click in clicks], np.int64),
        record_timestamps_ms=np.array([click.record_timestamp_ms for click in clicks], np.int64),
        kinds=np.array([click.kind for click in clicks], np.int8),
    )


def check_user(states: States, partition: int, user_id: str, expected: User) -> None:
    """The user's row is what the definition says: exactly, but for the rounding of the hidden state."""
    found = states.find(partition, user_id)
    assert found is not None, f"{user_id} of partition {partition} has no row"
    row = states.read(np.array([found]))
    ring = row.ring

    assert states.item_codes.ids(ring.oldest_first(0)) == expected.items[-ring.size :]
    assert row.clicks.tolist() == [len(expected.items)]
    assert row.session.tolist() == [min(expected.session, ring.session_size)]
    assert row.warm.tolist() == [expected.warm]
    assert row.timestamp_ms.tolist() == [expected.timestamp_ms or 0]
    assert row.offset.tolist() == [expected.offset]
    if states.bought is not None:
        (codes,), (days,) = states.bought.of(np.array([found]))
        ids = states.item_codes.ids(codes[codes != NO_ITEM])
        assert [*zip(ids, days[codes != NO_ITEM].tolist(), strict=True)] == [*expected.bought.items()]
    hidden = row.hidden[0, : len(expected.hidden)]
    # An LSTM's c is not bounded by 1: from there on the steps of half precision are as much larger.
    np.testing.assert_allclose(hidden, expected.hidden, rtol=STATE_TOLERANCE, atol=STATE_TOLERANCE)
