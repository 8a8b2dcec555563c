"""A worker as far as its states go, and what of its doing is durable: all of a transaction or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from hypothesis import event

from tests.builders import tiny_release_parts
from tests.laws.histories import Rules
from tests.reference import OneClick, columns
from worker.core import blocks
from worker.core.flush import Flush, Ledger
from worker.core.manifest import Manifest
from worker.core.recommender import Recommender
from worker.core.release import verify
from worker.core.states import States
from worker.topics.states import Forget

RECENT_ITEMS: Final = 3
BOUGHT: Final = 2

Key = str | int
"""Of a record of the state topic: a block's number, "replay" or, to be forgotten, "forget/<user>"."""


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
    requests: dict[str, Forget]
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
        if rules.exclude_days is not None:
            self.states.keep_bought(rules.exclude_days, items=BOUGHT)
        self._recommender = Recommender(release, self.states, user_ttl_ms=rules.user_ttl_ms)
        self._at_once = rules.replayed_at_once
        self.parts: dict[int, Part] = {}
        self.unheard: list[tuple[int, str, Forget]] = []
        """Deletion requests that stand in the state topic already."""

    def recover(self, partition: int, kafka: Kafka) -> None:
        """Load the blocks, replay what they lack, walk again what was walked and not committed."""
        part = self.parts[partition] = Part(Ledger(), kafka.committed, 0, {}, {**kafka.void})
        for key, value in kafka.log:
            self._take(partition, part, key, value)
        assert part.ledger.sizes == kafka.sizes
        for key, request in part.requests.items():
            self._hear(partition, key, request)
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
        """Obey the deletion requests that were written since."""
        for request in self.unheard:
            self._hear(*request)
        self.unheard = []

    def save(self, partition: int, kafka: Kafka, *, begin: bool, blocks: int) -> None:
        """Step 1 of a checkpoint: add the next part of a flush."""
        part = self.parts[partition]
        if begin and part.flush is None:
            condemned = [
                number for number in part.ledger.sizes if holds_void(kafka.latest()[number], part.requests)
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
        self.unheard = [request for request in self.unheard if request[0] != partition]
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
            self._take_request(partition, part, key, value)

    def _take_request(self, partition: int, part: Part, key: str, request: Forget | None) -> None:
        known = part.requests.get(key)
        unheard = known is not None and not known.heard
        if known and unheard and (request is None or (request.heard and request.before < known.before)):
            return
        if request is None:
            part.requests.pop(key, None)
            self.states.forgotten(partition, key.removeprefix("forget/"))
        else:
            part.requests[key] = request
            self.states.forget(partition, key.removeprefix("forget/"), request.before)

    def _hear(self, partition: int, key: str, request: Forget) -> None:
        """Obey who wants to be forgotten; that it was obeyed here stands in the next transaction."""
        part, user_id = self.parts[partition], key.removeprefix("forget/")
        part.requests[key] = heard = request.hear(part.position)
        part.void[user_id] = max(heard.before, part.void.get(user_id, 0))
        part.sent += [] if request.heard else [(key, heard)]
        self.states.forget(partition, user_id, heard.before)

    def _end_flush(self, partition: int, part: Part, ended: Flush) -> None:
        part.sent += [(number, None) for number in ended.tombstones]
        part.sent.append(("replay", part.begun_at))
        part.flush = None


def holds_void(value: bytes, requests: dict[str, Forget]) -> bool:
    """Whether a block holds what someone asked to be forgotten."""
    saved = blocks.decode(value)
    return any(
        offset < requests.get(f"forget/{user_id}", Forget(0, 0)).before
        for user_id, offset in zip(saved.user_ids, saved.states.offset.tolist(), strict=True)
    )
