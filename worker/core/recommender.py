"""The processing of a batch: apply its clicks to the user states, then rank items for the lists to publish.

The clicks of a batch are applied in *waves*: the first click of every user, then the second click of every
user, and so on. So a batch takes a few matrix products, and the result is the same as from applying one click
at a time.

Events that only exclude an item move nothing and get no list. They take effect after the clicks of their
batch and before its lists are ranked.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.core import sequences
from worker.core.batch import Clicks, Places, UserOrder
from worker.core.event_types import EXCLUDE, STEP
from worker.core.exclusions import exclude_bought, exclusions, rows_of
from worker.core.fatigue import HOUR_MS
from worker.core.items import CatalogueCodes, ItemIndexes
from worker.core.listing import Listed, Listing
from worker.core.quality import Quality
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.release import Release
from worker.core.slabs import Rows
from worker.core.states import States
from worker.core.tables import Ranking
from worker.core.tag_filter import TagFilter
from worker.core.user_states import UserStates

Publish = Literal["latest", "every"]
Halves = NDArray[np.float16]
Flags = NDArray[np.bool_]

MODEL: Final = "model"
"""The reason of a list that the network ranked."""
RECENT: Final = "recent"
"""The reason to leave out an item that the user clicked lately (`recommend.exclude_recent`)."""
COLD: Final = "cold"
"""The reason of a list of the release's popular items, for a session without a known item."""

_NO_SCORES: Final = np.empty(0, np.float32)
_NO_TIMES: Final = np.empty(0, np.int64)


class Applied(NamedTuple):
    """The input for ranking, for the `A` clicks that get a list, in order of arrival."""

    clicks: Places
    """`[A]`: the positions of the clicks in the batch."""
    hidden: Halves
    """`[A, S]`: the state after each click."""
    warm: Flags
    """`[A]` mask: which clicks are in a session with a known item."""
    excluded: Indexes
    """`[A, X]`: the items to exclude from each list: recent, bought, or shown too often."""
    recent: Indexes
    """`[A, recent_needed]`: the session's most recent items for `Release.rank`, the click's own item first.
    """
    own: Indexes
    """`[A, own_needed]`: the user's most recent items, whatever their session, the click's own item first."""
    rows: Rows
    """`[A]`: the rows of the users; negative if the user has a later click in the same batch."""
    last: Indexes
    """`[A]`: the click's own item; `NO_ITEM` if the release does not know it."""
    too_old: int = 0
    """The number of clicks that would be answered if their records were not too old."""
    times_ms: NDArray[np.int64] = _NO_TIMES
    """`[A]`: the times of the clicks. Not needed if no row is positive."""


class Recommendations(NamedTuple):
    """The list of `items`, best first, for one click of a batch.

    `click` is the click's position in the batch, `release` the number of the release that made the list.
    `scores` are parallel to `items`, or empty if the `reason` is `COLD`.
    """

    click: int
    items: list[str]
    scores: NDArray[np.float32]
    reason: str
    release: int


class Recommender:
    """Applies clicks and ranks items under one release.

    `publish`: whether the `latest` click of each user in a batch gets a list, or `every` click. A click whose
    record is older than `publish_max_age_ms` (0: no limit) gets no list. `exclude_recent`: the number of a
    user's most recent items that are not recommended again; None: as the release says. `top`: the number of
    items in a list. `ranking`: whether it is exact (`ServingTables.approximates`). After a gap of more than
    `user_ttl_ms` between clicks (0: no limit), the user starts with an empty state. `quality` receives the
    lists that are shown and the clicks that follow.
    """

    def __init__(
        self,
        release: Release,
        states: States,
        *,
        publish: Publish = "latest",
        publish_max_age_ms: int = 60_000,
        user_ttl_ms: int = 0,
        exclude_recent: int | None = None,
        top: int = 20,
        ranking: Ranking = "auto",
        quality: Quality | None = None,
    ) -> None:
        self.release = release
        self._states = states
        self._indexes = ItemIndexes(release.catalogue, states.item_codes)
        self._publish = publish
        self._max_age_ms = publish_max_age_ms
        self._ttl_ms = user_ttl_ms
        self._exclude = release.manifest.exclude_recent if exclude_recent is None else exclude_recent
        needed = max(1, self._exclude, release.recent_needed, release.own_needed)
        self._lags = np.arange(min(needed, states.recent_items))
        approximate = release.approximates(ranking)
        self.recall = release.manifest.list_recall if approximate else 1.0
        self.listing = Listing(release, top=top, approximate=approximate)
        self.tag_filter = TagFilter(release.catalogue)
        self._codes = CatalogueCodes(release.catalogue, states.item_codes)
        self._quality = quality
        if quality:
            popular = release.catalogue.ids(release.popular).tolist()
            quality.introduce(release.number, popular, exclude_recent=self._exclude)
        self.rebuilt = 0
        """The number of rows rebuilt because the user clicked and the state came from another release."""
        self.short = 0
        """The number of lists with fewer than `top` items."""

    def apply(self, clicks: Clicks, *, now_ms: int) -> Applied:
        """Apply `clicks` to the states of their users, and return the input for ranking."""
        steps = np.flatnonzero(clicks.kinds & STEP)
        if len(steps) == len(clicks):
            return self._apply(clicks, clicks, now_ms=now_ms)
        applied = self._apply(clicks.taken(steps), clicks, now_ms=now_ms)
        return applied._replace(clicks=steps[applied.clicks])

    def _apply(self, clicks: Clicks, events: Clicks, *, now_ms: int) -> Applied:
        """Apply `clicks`, then the exclusions among `events`; return the input for ranking the clicks."""
        order = UserOrder(rows_of(self._states, clicks))
        codes = self._states.item_codes.codes(clicks.item_ids)[order.arrival]
        indexes = self._indexes(codes)
        users = self._read(order.rows)
        offsets = clicks.offsets[order.arrival]
        void_before = self._states.void_before(clicks.partitions, clicks.user_ids)[order.arrival]
        # Deleted clicks get time 0, so that they neither start nor bridge a gap between other clicks.
        times = np.where(offsets < void_before, 0, clicks.timestamps_ms[order.arrival])
        if self._quality:
            first = order.first[order.last]
            partitions = clicks.partitions[order.arrival[first]]
            self._quality.judge(order.rows, users, partitions, codes[first])
        idle_ms = sequences.idle(order, users, times)
        afresh = sequences.afresh(
            order, users, idle_ms, ttl_ms=self._ttl_ms, offsets=offsets, void_before=void_before
        )
        gap_ms = self.release.session_gap_ms
        starts = afresh | (idle_ms > gap_ms) if gap_ms else afresh
        numbers, since = sequences.numbers(order, users, afresh)
        self.rebuilt += self._rebuild(users)
        answered, too_old = self._answered(order, clicks, now_ms)
        recent = self._indexes(
            sequences.recent(order, users, codes, answered, self._lags, numbers=numbers, since=since)
        )
        hidden = self._step(order, users.hidden, indexes, starts)
        session, warm = sequences.sessions(order, users, starts, indexes != NO_ITEM)

        last = order.last
        users.hidden = hidden[last]
        users.session = np.minimum(session[last], users.ring.session_size).astype(np.int8)
        users.warm = warm[last]
        users.offset = offsets[last]
        users.release[:] = self.release.number
        users.ring.put(order.user, numbers, codes)
        users.clicks = (numbers[last] + 1).astype(np.int32)
        self._states.write(order.rows, users)
        void = users.offset < void_before[last]
        self._states.free(order.rows[void])
        self._exclude_bought(events)
        kept = np.where(void, -1, order.rows)
        if self._states.fatigue is not None:
            self._states.fatigue.click(kept[order.user], codes)
        newest = order.last[order.user[answered]] == answered
        of, times_ms = kept[order.user[answered]], clicks.timestamps_ms[order.arrival[answered]]
        return Applied(
            order.arrival[answered],
            hidden[answered],
            warm[answered],
            self._excluded(recent, of, times_ms),
            self._needed(recent, session[answered]),
            sequences.padded(recent, self.release.own_needed),
            np.where(newest, of, -1),
            indexes[answered],
            too_old,
            times_ms,
        )

    def _exclude_bought(self, events: Clicks) -> None:
        if self._states.bought is None:
            return
        places = np.flatnonzero(events.kinds & EXCLUDE)
        if len(places):
            events = events.taken(places)
            exclude_bought(self._states, self._quality, events, rows_of(self._states, events))

    def _exclusions(self, recent: Indexes, rows: Rows, times_ms: NDArray[np.int64]) -> dict[str, Indexes]:
        more = exclusions(self._states, rows, times_ms)
        return {RECENT: recent[:, : self._exclude], **{why: self._indexes(one) for why, one in more.items()}}

    def _excluded(self, recent: Indexes, rows: Rows, times_ms: NDArray[np.int64]) -> Indexes:
        first, *more = self._exclusions(recent, rows, times_ms).values()
        return np.hstack([first, *more]) if more else first

    def replay(self, clicks: Clicks) -> int:
        """Apply the `clicks` that the states do not include yet, without ranking; return their number."""
        rows = rows_of(self._states, clicks)
        held = self._states.in_use(rows)
        missing = np.flatnonzero(~held | (clicks.offsets > self._states.read_column("offset", rows)))
        if len(missing):
            self.apply(clicks.taken(missing), now_ms=0)
        return len(missing)

    def rank(self, applied: Applied) -> list[Recommendations]:
        """Return one list for each click of `applied`, in the same order."""
        listed = self.listing.lists(applied)
        self.short += int(np.count_nonzero(listed.indexes[:, -1] == NO_ITEM))
        self.listing.compare(applied)
        self._show(applied, listed)
        return self._named(applied, listed)

    def _named(self, applied: Applied, listed: Listed) -> list[Recommendations]:
        number, counts = self.release.number, np.count_nonzero(listed.indexes != NO_ITEM, axis=1)
        return [
            Recommendations(click, items[:count], scores[:count], MODEL, number)
            if is_warm
            else Recommendations(click, items[:count], _NO_SCORES, COLD, number)
            for click, items, scores, count, is_warm in zip(
                applied.clicks.tolist(),
                self.release.catalogue.ids(listed.indexes).tolist(),
                listed.scores,
                counts.tolist(),
                applied.warm.tolist(),
                strict=True,
            )
        ]

    def _show(self, applied: Applied, listed: Listed) -> None:
        """Note the lists that users see, for live quality and fatigue."""
        fatigue = self._states.fatigue
        if not self._quality and fatigue is None:
            return
        shown = applied.rows >= 0
        rows = applied.rows[shown]
        if self._quality:
            cold = int(np.count_nonzero(shown & ~applied.warm))
            self._quality.show(self.release.number, rows, self._codes(listed.judged[shown]), cold=cold)
        if fatigue is not None and len(rows):
            fatigue.show(rows, self._codes(listed.indexes[shown]), applied.times_ms[shown] // HOUR_MS)

    def current(self, rows: Rows, now_ms: int | None = None) -> Applied:
        """Return the input for ranking of the users of `rows`, which may have duplicates, without a step.

        `now_ms`: the time of the lists; None: that of each user's last click. A user who would start afresh
        with a click now (`user_ttl_ms`) is as one without clicks. No state changes, and nothing that is
        ranked from the result is judged.
        """
        users = self._read(rows)
        self._rebuild(users)
        recent, times_ms, afresh = self._at(users, now_ms)
        users.warm[afresh] = False
        return Applied(
            np.arange(len(rows)),
            users.hidden,
            users.warm,
            self._excluded(recent, rows, times_ms),
            self._needed(recent, users.session),
            sequences.padded(recent, self.release.own_needed),
            np.full(len(rows), -1),
            recent[:, 0],
        )

    def left_out(self, rows: Rows, now_ms: int | None = None) -> dict[str, Indexes]:
        """Return the items that lists of the users of `rows` leave out, by reason; see `current`."""
        recent, times_ms, _ = self._at(self._read(rows), now_ms)
        return self._exclusions(recent, rows, times_ms)

    def _at(self, users: UserStates, now_ms: int | None) -> tuple[Indexes, NDArray[np.int64], Flags]:
        """Return recent items and times for lists at `now_ms`, and which users would start afresh."""
        recent, times_ms = self._indexes(users.ring.latest(self._lags)), users.timestamp_ms
        if now_ms is None:
            return recent, times_ms, np.zeros(len(users), np.bool_)
        afresh = times_ms < now_ms - self._ttl_ms if self._ttl_ms else np.zeros(len(users), np.bool_)
        recent[afresh] = NO_ITEM
        return recent, np.full(len(users), now_ms), afresh

    def recommend(self, row: int, now_ms: int | None = None) -> Recommendations:
        """Return the list for the user of `row` at `now_ms` (see `current`), without changing the state.

        The `click` of the result is meaningless.
        """
        applied = self.current(np.array([row]), now_ms)
        return self._named(applied, self.listing.lists(applied))[0]

    def rebuild(self, rows: Rows) -> int:
        """Rebuild the rows among `rows` whose states come from another release; return their number.

        Rebuilt rows are not marked as changed, because a worker that loads the saved rows rebuilds them, too.
        """
        rows = rows[self._states.read_column("release", rows) != self.release.number]
        if len(rows):
            users = self._read(rows)
            self._rebuild(users)
            users.release[:] = self.release.number
            self._states.write_rebuilt(rows, users)
        return len(rows)

    def _needed(self, recent: Indexes, session: NDArray[np.integer[Any]]) -> Indexes:
        """Return the session's recent items for `Release.rank`, newest first, padded with `NO_ITEM`."""
        needed = sequences.padded(recent, self.release.recent_needed)
        return np.where(np.arange(needed.shape[1]) < session[:, None], needed, np.int32(NO_ITEM))

    def _read(self, rows: Rows) -> UserStates:
        users = self._states.read(rows)
        # Another release in service may have larger states, or a session gap that this release lacks.
        users.hidden = users.hidden[:, : self.release.state_size]
        if not self.release.session_gap_ms:
            users.session = np.minimum(users.ring.kept, users.ring.session_size).astype(np.int8)
        return users

    def _answered(self, order: UserOrder, clicks: Clicks, now_ms: int) -> tuple[Places, int]:
        """Return the positions in `order` of the clicks to answer, by arrival; and how many are too old."""
        # A user's last click in a batch always ends an event: all clicks of a record are in one batch.
        every = self._publish == "every"
        places = np.flatnonzero(clicks.ends_event[order.arrival]) if every else order.last
        wanted = len(places)
        if self._max_age_ms:
            times = clicks.record_timestamps_ms[order.arrival[places]]
            places = places[(times < 0) | (times >= now_ms - self._max_age_ms)]
        return places[np.argsort(order.arrival[places])], wanted - len(places)

    def _step(self, order: UserOrder, hidden: Halves, indexes: Indexes, starts: Flags) -> Halves:
        """Return the hidden state after every click, given the users' states before the batch."""
        # Hot path: the loop runs once per wave, and if one user clicks a lot, most waves have only a few
        # clicks. In wave order the loop needs only slices; selecting rows by index took a third longer.
        release = self.release
        places, sizes = order.waves()
        starts, unknown = starts[places], indexes[places] == NO_ITEM
        inputs = release.inputs(indexes[places])
        begins = np.cumsum(sizes) - sizes
        any_start, any_unknown = (np.logical_or.reduceat(one, begins).tolist() for one in (starts, unknown))
        before = hidden[order.user[places[: len(hidden)]]]
        after = np.empty((len(places), release.state_size), np.float16)
        for begin, size, some_start, some_unknown in zip(
            begins.tolist(), sizes.tolist(), any_start, any_unknown, strict=True
        ):
            wave = slice(begin, begin + size)
            state = before[:size].astype(np.float32)
            if some_start:
                state[starts[wave]] = 0
            stepped = release.step(inputs[:, wave], state)
            if some_unknown:
                stepped[unknown[wave]] = state[unknown[wave]]
            before = after[wave]
            before[:] = stepped
        in_order = np.empty_like(after)
        in_order[places] = after
        return in_order

    def _rebuild(self, users: UserStates) -> int:
        """Rebuild the hidden states that other releases computed, from the items of the current session.

        Return the number of rebuilt states.
        """
        stale = np.flatnonzero((users.release != self.release.number) & (users.clicks > 0))
        if not len(stale):
            return 0
        users.hidden[stale], users.warm[stale] = 0, False
        for indexes in self._indexes(users.ring.of(stale).session(users.session[stale])).T:
            known = indexes != NO_ITEM
            here = stale[known]
            before = users.hidden[here].astype(np.float32)
            inputs = self.release.inputs(indexes[known])
            users.hidden[here] = self.release.step(inputs, before)
            users.warm[here] = True
        return len(stale)
