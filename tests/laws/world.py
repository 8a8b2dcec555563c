"""Two workers, what is durable, and the definition next to them: one click after the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from tests.builders import ITEMS
from tests.laws.histories import PARTITIONS, Checkpoint, Clicked, Compact, Forget, Free, Move, Rules
from tests.laws.owner import BOUGHT, Kafka, Owner, holds_void, release_parts
from tests.reference import OneClick, Reference, check_user
from worker.core import blocks
from worker.topics.states import Forget as Request


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
        for partition, user_id, item_id, after_ms, kind in action.clicks:
            self._time_ms += after_ms
            offset = self.kafka[partition].end + (after_ms % 2)
            click = OneClick(partition, offset, user_id, item_id, self._time_ms, -1)
            if self._rules.exclude_days is not None:
                click = click._replace(kind=kind)
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
        """The deletion request stands in the state topic at once, outside of any transaction."""
        kafka, key = self.kafka[action.partition], f"forget/{action.user_id}"
        latest = kafka.latest().get(key)
        request = Request(max(0, kafka.end + action.ahead, latest.before if latest else 0), asked_at=0)
        kafka.log.append((key, request))
        self._owner(action.partition).unheard.append((action.partition, key, request))

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
        expected = Reference(*parts, ITEMS, user_ttl_ms=self._rules.user_ttl_ms, keeps_bought=BOUGHT)
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
        """Strike out requests of which nothing is left, in the blocks or in what would be replayed."""
        kafka, part = self.kafka[partition], owner.parts[partition]
        latest = kafka.latest()
        for key, request in [*part.requests.items()]:
            held = any(holds_void(latest[number], {key: request}) for number in part.ledger.sizes)
            # Though another request of the same person may stand in the log that the owner has not heard.
            if not held and request.before <= latest.get("replay", 0):
                kafka.log.append((key, None))
                owner.states.forgotten(partition, key.removeprefix("forget/"))
                del part.requests[key]

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


def lived(history: Sequence[Any], rules: Rules) -> World:
    """A world in which all of this happened."""
    world = World(rules)
    for action in history:
        getattr(world, type(action).__name__.lower())(action)
    return world
