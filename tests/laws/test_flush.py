"""Laws of the saved states: whatever crashes, moves, is compacted or forgotten, no user state is lost.

The state topic and the offsets are modelled as what a transaction leaves of them: all of it or nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal, NamedTuple, get_args

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.builders import ITEMS, tiny_release_parts
from tests.reference import OneClick, Reference, check_user, columns
from worker.core import blocks, flush
from worker.core.flush import Flush, Ledger
from worker.core.manifest import Manifest
from worker.core.recommender import Recommender
from worker.core.release import verify
from worker.core.states import States
from worker.topics.states import Forget as Wish

GAP_MS: Final = 1_800_000
TTL_MS: Final = 3 * GAP_MS
PARTITIONS: Final = (0, 3)
USERS: Final = "abcdefgh"
RECENT_ITEMS: Final = 3

Key = str | int
"""Of a record of the state topic: a block's number, "replay" or, to be forgotten, "forget/<user>"."""
Fate = Literal["committed", "aborted", "killed before the commit", "killed after the commit"]
FATES: Final[tuple[Fate, ...]] = get_args(Fate)


class Clicked(NamedTuple):
    """Clicks arrive (partition, user, item, ms after the one before) and are walked at once."""

    clicks: list[tuple[int, str, str, int]]


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


partitions = st.sampled_from([0, 0, 3])
clicks = st.tuples(
    partitions,
    st.sampled_from(USERS + "aaab"),
    st.sampled_from([*ITEMS[:6], "unknown"]),
    st.sampled_from([1, 1, 1, 1, 1000, -5000, GAP_MS + 1, TTL_MS + 1]),
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
)


@cache
def release_parts(cell: str, gap_seconds: float) -> tuple[Manifest, bytes]:
    """The release of these rules."""
    return tiny_release_parts(cell=cell, session_gap_seconds=gap_seconds)


@dataclass
class Kafka:
    """What is durable of one partition."""

    clicks: list[OneClick] = field(default_factory=list)
    committed: int = 0
    """The offset from which an owner must answer."""
    log: list[tuple[Key, Any]] = field(default_factory=list)
    """The state topic's records; a value of None is a tombstone."""
    saved_in: dict[str, int] = field(default_factory=dict)
    """The block that holds each user's newest state, as the last owner to commit knew it."""
    sizes: dict[int, int] = field(default_factory=dict)
    """That owner's ledger."""
    void: dict[str, int] = field(default_factory=dict)
    """By user: the offset below which all was forgotten, as that owner obeyed it."""

    def latest(self) -> dict[Key, Any]:
        """The value of every key."""
        return dict(self.log)

    def between(self, begin: int, end: int) -> list[OneClick]:
        """The clicks with these offsets."""
        return [click for click in self.clicks if begin <= click.offset < end]

    @property
    def end(self) -> int:
        """The next click's offset, at least."""
        return self.clicks[-1].offset + 1 if self.clicks else 0

    def compact(self, until: int, *, tombstones: bool) -> None:
        """Of the first `until` records keep the newest of every key."""
        newest = {key: place for place, (key, _) in enumerate(self.log[:until])}
        self.log = [
            (key, value)
            for place, (key, value) in enumerate(self.log)
            if place >= until or (newest[key] == place and not (tombstones and value is None))
        ]


@dataclass
class Part:
    """What an owner knows of one partition."""

    ledger: Ledger
    position: int
    replay: int
    wishes: dict[str, Wish]
    void: dict[str, int]
    flush: Flush | None = None
    begun_at: int = 0
    sent: list[tuple[Key, Any]] = field(default_factory=list)
    """What is in the open transaction."""


class Owner:
    """A worker: recovers and serves partitions, and saves their states."""

    def __init__(self, rules: Rules) -> None:
        release = verify(*release_parts(rules.cell, rules.gap_seconds), number=5)
        self.states = States(state_size=release.state_size, recent_items=RECENT_ITEMS, slab_rows=8)
        self._recommender = Recommender(release, self.states, user_ttl_ms=rules.user_ttl_ms)
        self._at_once = rules.replayed_at_once
        self.parts: dict[int, Part] = {}
        self.unheard: list[tuple[int, str, Wish]] = []
        """Wishes that stand in the state topic already."""

    def recover(self, partition: int, kafka: Kafka) -> None:
        """Load the blocks, replay what they lack, walk again what was walked and not committed."""
        part = self.parts[partition] = Part(Ledger(), kafka.committed, 0, {}, {**kafka.void})
        for key, value in kafka.log:
            self._take(partition, part, key, value)
        assert part.ledger.sizes == kafka.sizes
        for key, wish in part.wishes.items():
            self._hear(partition, key, wish)
        lacking = kafka.between(part.replay, kafka.committed)
        for begin in range(0, len(lacking), self._at_once):
            self._recommender.replay(columns(lacking[begin : begin + self._at_once]))
        self.walk(kafka.between(kafka.committed, kafka.end))

    def walk(self, clicks: Sequence[OneClick]) -> None:
        """Apply clicks that are answered."""
        self.hear()
        if clicks:
            self._recommender.rank(self._recommender.apply(columns(clicks), now_ms=0))
        for click in clicks:
            self.parts[click.partition].position = click.offset + 1

    def hear(self) -> None:
        """Obey the wishes that were written since."""
        for wish in self.unheard:
            self._hear(*wish)
        self.unheard = []

    def save(self, partition: int, kafka: Kafka, *, begin: bool, blocks: int) -> None:
        """Step 1 of a checkpoint: add the next part of a flush."""
        part = self.parts[partition]
        if begin and part.flush is None:
            condemned = [
                number for number in part.ledger.sizes if holds_void(kafka.latest()[number], part.wishes)
            ]
            part.flush = Flush(self.states, part.ledger, partition=partition, condemned=condemned)
            part.begun_at = part.position
        if part.flush is not None:
            event(f"{min(len(part.flush.tombstones), 2)} tombstones, {min(part.flush.blocks_left, 3)} blocks")
            part.sent += part.flush.next_blocks(blocks)
            if part.flush.done:
                self._end_flush(partition, part, part.flush)

    def drop(self, partition: int) -> None:
        """Forget a partition."""
        self.unheard = [wish for wish in self.unheard if wish[0] != partition]
        self.states.drop(partition)
        del self.parts[partition]

    def saved_in(self, partition: int) -> dict[str, int]:
        """By user of a partition: the block that holds the newest state that is saved."""
        rows = self.states.owned(partition)
        found = zip(self.states.user_ids(rows), self.states.blocks(rows).tolist(), strict=True)
        return {user_id: block for user_id, block in found if block}

    def _take(self, partition: int, part: Part, key: Key, value: Any) -> None:
        if isinstance(key, int):
            if value is None:
                part.ledger.drop(self.states, partition, key)
            else:
                part.ledger.load(self.states, partition, key, blocks.decode(value))
        elif key == "replay":
            part.replay = value
        else:
            self._take_wish(partition, part, key, value)

    def _take_wish(self, partition: int, part: Part, key: str, wish: Wish | None) -> None:
        known = part.wishes.get(key)
        unheard = known is not None and not known.heard
        if known and unheard and (wish is None or (wish.heard and wish.before < known.before)):
            return
        if wish is None:
            part.wishes.pop(key, None)
            self.states.forgotten(partition, key.removeprefix("forget/"))
        else:
            part.wishes[key] = wish
            self.states.forget(partition, key.removeprefix("forget/"), wish.before)

    def _hear(self, partition: int, key: str, wish: Wish) -> None:
        """Obey who wants to be forgotten; that it was obeyed here stands in the next transaction."""
        part, user_id = self.parts[partition], key.removeprefix("forget/")
        part.wishes[key] = heard = wish.hear(part.position)
        part.void[user_id] = max(heard.before, part.void.get(user_id, 0))
        part.sent += [] if wish.heard else [(key, heard)]
        self.states.forget(partition, user_id, heard.before)

    def _end_flush(self, partition: int, part: Part, ended: Flush) -> None:
        part.sent += [(number, None) for number in ended.tombstones]
        part.sent.append(("replay", part.begun_at))
        part.flush = None


def holds_void(value: bytes, wishes: dict[str, Wish]) -> bool:
    """Whether a block holds what someone asked to be forgotten."""
    saved = blocks.decode(value)
    return any(
        offset < wishes.get(f"forget/{user_id}", Wish(0, 0)).before
        for user_id, offset in zip(saved.user_ids, saved.states.offset.tolist(), strict=True)
    )


class World:
    """Two owners, what is durable, and the definition beside them."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.kafka = {partition: Kafka() for partition in PARTITIONS}
        self.owners = [Owner(rules), Owner(rules)]
        self.freed: set[tuple[int, str]] = set()
        self._time_ms = 10**12
        for partition in PARTITIONS:
            self.owners[0].recover(partition, self.kafka[partition])

    def clicked(self, action: Clicked) -> None:
        """Clicks arrive, in every partition at rising offsets with holes between them."""
        arrived: dict[int, list[OneClick]] = defaultdict(list)
        for partition, user_id, item_id, after_ms in action.clicks:
            self._time_ms += after_ms
            offset = self.kafka[partition].end + (after_ms % 2)
            click = OneClick(partition, offset, user_id, item_id, self._time_ms, -1)
            self.kafka[partition].clicks.append(click)
            arrived[self.owners.index(self._owner(partition))].append(click)
        for number, some in arrived.items():
            self.owners[number].walk(some)

    def checkpoint(self, action: Checkpoint) -> None:
        """All owners make one, with the same fate."""
        for number, owner in enumerate(self.owners):
            for partition in owner.parts:
                begin = partition in action.begin
                owner.save(partition, self.kafka[partition], begin=begin, blocks=action.blocks)
            if action.fate in ("committed", "killed after the commit"):
                self._commit(owner, [*owner.parts])
            if action.fate.startswith("killed"):
                self.kill(number)
            elif action.fate == "aborted":
                self._abort(owner)

    def move(self, action: Move) -> None:
        """Commit while the partition is still held, then let it go."""
        old = self._owner(action.partition)
        new = self.owners[1 - self.owners.index(old)]
        kafka = self.kafka[action.partition]
        if action.blocks:
            old.save(action.partition, kafka, begin=True, blocks=action.blocks)
        self._commit(old, [action.partition])
        old.drop(action.partition)
        new.recover(action.partition, kafka)
        self._check_blocks(new, action.partition)

    def compact(self, action: Compact) -> None:
        """Clean the log of one partition."""
        kafka = self.kafka[action.partition]
        kafka.compact(int(len(kafka.log) * action.share), tombstones=action.tombstones)

    def free(self, action: Free) -> None:
        """Of these users nothing is promised."""
        for owner in self.owners:
            rows = owner.states.longest_idle(action.users)
            partitions = owner.states.partitions(rows).tolist()
            self.freed |= {*zip(partitions, owner.states.user_ids(rows), strict=True)}
            owner.states.free(rows)

    def forget(self, action: Forget) -> None:
        """The wish stands in the state topic at once, outside of any transaction."""
        kafka, key = self.kafka[action.partition], f"forget/{action.user_id}"
        latest = kafka.latest().get(key)
        wish = Wish(max(0, kafka.end + action.ahead, latest.before if latest else 0), asked_at=0)
        kafka.log.append((key, wish))
        self._owner(action.partition).unheard.append((action.partition, key, wish))

    def kill(self, number: int) -> None:
        """Nothing of an owner is left but what it committed; another one takes its place."""
        partitions = [*self.owners[number].parts]
        self.owners[number] = Owner(self._rules)
        for partition in partitions:
            self.owners[number].recover(partition, self.kafka[partition])
            self._check_blocks(self.owners[number], partition)

    def check(self) -> None:
        """Every user is as if nothing had happened but their clicks."""
        for owner in self.owners:
            owner.hear()
        wanted = {key: user for key, user in self._expected().users.items() if key not in self.freed}
        for (partition, user_id), user in wanted.items():
            check_user(self._owner(partition).states, partition, user_id, user)
        for partition in PARTITIONS:
            states = self._owner(partition).states
            held = {(partition, user_id) for user_id in states.user_ids(states.owned(partition))}
            assert held - self.freed == {key for key in wanted if key[0] == partition}

    def _expected(self) -> Reference:
        """The definition: one click after the other, without those that were forgotten."""
        parts = release_parts(self._rules.cell, self._rules.gap_seconds)
        expected = Reference(*parts, ITEMS, user_ttl_ms=self._rules.user_ttl_ms)
        for partition, kafka in self.kafka.items():
            for user_id, before in self._owner(partition).parts[partition].void.items():
                expected.forget(partition, user_id, before)
            for click in kafka.clicks:
                expected.apply(click)
        return expected

    def _owner(self, partition: int) -> Owner:
        (owner,) = (one for one in self.owners if partition in one.parts)
        return owner

    def _commit(self, owner: Owner, partitions: Collection[int]) -> None:
        """Steps 2 to 4 of a checkpoint: all of it, or nothing of what follows."""
        for partition in partitions:
            kafka, part = self.kafka[partition], owner.parts[partition]
            if not kafka.committed and part.position:
                kafka.log.append(("replay", 0))
            for key, value in part.sent:
                # A number stands for one block at a time.
                assert not isinstance(key, int) or (value is None) != (kafka.latest().get(key) is None)
                kafka.log.append((key, value))
            part.sent = []
            kafka.committed = part.position
            kafka.sizes = dict(part.ledger.sizes)
            kafka.saved_in = owner.saved_in(partition)
            kafka.void = {**part.void}
            self._check_saved(owner, partition)
            self._fulfil(owner, partition)

    def _fulfil(self, owner: Owner, partition: int) -> None:
        """Wishes of which nothing is left, in the blocks or in what would be replayed, are struck out."""
        kafka, part = self.kafka[partition], owner.parts[partition]
        latest = kafka.latest()
        for key, wish in [*part.wishes.items()]:
            held = any(holds_void(latest[number], {key: wish}) for number in part.ledger.sizes)
            # Though another wish of the same person may stand in the log that the owner has not heard.
            if not held and wish.before <= latest.get("replay", 0):
                kafka.log.append((key, None))
                owner.states.forgotten(partition, key.removeprefix("forget/"))
                del part.wishes[key]

    def _abort(self, owner: Owner) -> None:
        """An abort is a crash of the partitions in it; the others stay as they are."""
        for partition in [*owner.parts]:
            if (
                owner.parts[partition].sent
                or owner.parts[partition].position > self.kafka[partition].committed
            ):
                owner.drop(partition)
                owner.recover(partition, self.kafka[partition])
                self._check_blocks(owner, partition)

    def _check_saved(self, owner: Owner, partition: int) -> None:
        """What counts as saved is in the block where it is looked for."""
        states, latest = owner.states, self.kafka[partition].latest()
        live = {key: blocks.decode(value) for key, value in latest.items() if isinstance(key, int) and value}
        rows = states.owned(partition)
        unchanged = rows[~states.are_changed(rows)]
        offsets = states.read_column("offset", unchanged).tolist()
        places = zip(states.user_ids(unchanged), states.blocks(unchanged).tolist(), offsets, strict=True)

        assert owner.parts[partition].ledger.sizes == {key: len(one.user_ids) for key, one in live.items()}
        for user_id, number, offset in places:
            assert live[number].states.offset[live[number].user_ids.index(user_id)] == offset

    def _check_blocks(self, owner: Owner, partition: int) -> None:
        """Whoever recovers knows of every user which block holds them, as the one before did."""
        found, before = owner.saved_in(partition), self.kafka[partition].saved_in
        sure = {user for user in found.keys() & before.keys() if (partition, user) not in self.freed}
        assert {user: found[user] for user in sure} == {user: before[user] for user in sure}


@contextmanager
def block_limits(rules: Rules) -> Iterator[None]:
    """Blocks so small that a handful of users fill several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "MAX_ROWS", rules.max_rows)
        patch.setattr(blocks, "MAX_BYTES", rules.max_bytes)
        patch.setattr(flush, "SMALL_BLOCKS", rules.small_blocks)
        yield


def lived(history: Sequence[Any], rules: Rules) -> World:
    """A world in which all of this happened."""
    world = World(rules)
    for action in history:
        getattr(world, type(action).__name__.lower())(action)
    return world


@given(histories(), rules)
@settings(max_examples=150)
def test_no_crash_is_seen_in_the_states(history: list[Any], rules: Rules) -> None:
    """After any crashes, moves and compactions: the same users, offsets, items, sessions; hidden to rounding.

    Before another crash and after it.
    """
    with block_limits(rules):
        world = lived(history, rules)
        world.check()
        for number in range(2):
            world.kill(number)

        world.check()


@given(histories(frees), rules)
@settings(max_examples=60)
def test_freeing_users_harms_no_others(history: list[Any], rules: Rules) -> None:
    """Whoever was not freed is as if nothing had happened; those who were may come back older."""
    with block_limits(rules):
        world = lived(history, rules)
        world.check()
        for number in range(2):
            world.kill(number)

        world.check()


@given(histories(forgets, forgets), rules)
@settings(max_examples=100)
def test_who_is_forgotten_is_as_if_they_had_not_clicked(history: list[Any], rules: Rules) -> None:
    """Wherever the limit falls within a batch, a replay or the blocks, and after the wish is struck out."""
    with block_limits(rules):
        world = lived(history, rules)
        world.check()
        for number in range(2):
            world.kill(number)

        world.check()
