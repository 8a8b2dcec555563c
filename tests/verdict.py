"""What a committed reader holds a group of workers to, judged from what stands in its topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

from tests import oracle
from tests.oracle import PlacedClick
from tests.records import Record
from worker.core.click import Click, Request
from worker.core.event import Decoder, Fields
from worker.core.event_types import STEP, EventTypes
from worker.core.reasons import Skipped
from worker.core.release import Release

UNAVAILABLE: Final = "which had been unavailable for"
"""What the problems say of a list with an item that had been unavailable for too long."""


@dataclass
class Verdict:
    """What was found of one round, or the sum of several. `problems` says all that is not as wanted."""

    clicks: int = 0
    lost: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    states_equal: bool = True
    purchases: int = 0
    bought_shown: int = 0
    """Lists with an item that the user had bought (`tests.shown`)."""
    removals: int = 0
    """How often an item was made unavailable that was in lists just before."""
    removed_shown: int = 0
    """Lists with an item that had been unavailable for too long."""
    removed_in_outage: int = 0
    """The same while a broker was away, or had just come back."""
    seconds_shown: list[float] = field(default_factory=list)
    """For each removal: for how long lists still had the item, from when Kafka had its record."""
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether all is as wanted."""
        wrong = self.lost or self.duplicates or self.out_of_order or self.bought_shown or self.removed_shown
        return not (self.problems or wrong) and self.states_equal

    def regardless_of_time(self) -> Verdict:
        """The same without the lists that changes of items came too late for: on busy cores, some do."""
        problems = [one for one in self.problems if UNAVAILABLE not in one]
        return replace(self, removed_shown=0, problems=problems)

    def add(self, other: Verdict) -> None:
        """Count what another round found."""
        self.clicks += other.clicks
        self.lost += other.lost
        self.duplicates += other.duplicates
        self.out_of_order += other.out_of_order
        self.states_equal &= other.states_equal
        self.purchases += other.purchases
        self.bought_shown += other.bought_shown
        self.removals += other.removals
        self.removed_shown += other.removed_shown
        self.removed_in_outage += other.removed_in_outage
        self.seconds_shown += other.seconds_shown
        self.problems += other.problems


@dataclass(frozen=True)
class Input:
    """The records of the clicks topic `topic`, told apart as a worker has to tell them apart."""

    topic: str
    events: list[PlacedClick]
    """Clicks and purchases. Events of types that a worker skips are not among them."""
    malformed: list[str]
    """The ids, `topic/partition/offset`, of those that are neither."""
    ends: dict[int, int]
    """Where each partition that has records ends."""

    @property
    def clicks(self) -> list[PlacedClick]:
        """The events that are to be answered."""
        return [one for one in self.events if one.click.kind & STEP]

    @classmethod
    def of(cls, topic: str, records: Iterable[Record], types: EventTypes | None = None) -> Self:
        """All that was read of the topic; without `types`, all events are clicks."""
        found = cls(topic, [], [], {})
        decoder = Decoder(Fields(), types=types)
        for record in records:
            partition, offset = record.partition or 0, record.offset or 0
            found.ends[partition] = offset + 1
            event = decoder.decode(record.value, record.key, record.timestamp_ms or -1)
            if isinstance(event, Click):
                found.events.append(PlacedClick(partition, offset, event))
            elif not isinstance(event, Skipped | Request):
                found.malformed.append(f"{topic}/{partition}/{offset}")
        return found


def judge_answers(verdict: Verdict, given: Input, answers: Sequence[Record]) -> None:
    """Each click has one answer, in its partition and after the answers to the clicks before it."""
    ids = [f"{given.topic}/{one.partition}/{one.offset}" for one in given.clicks]
    verdict.clicks += len(ids)
    _judge_times(verdict, "answer", ids, [answer.header("id") for answer in answers])
    latest: dict[int, int] = {}
    for answer in answers:
        _, partition, offset = answer.header("id").rsplit("/", 2)
        if int(partition) != answer.partition:
            verdict.problems.append(f"the answer to {answer.header('id')} is in partition {answer.partition}")
        if int(offset) < latest.get(int(partition), 0):
            verdict.out_of_order += 1
            verdict.problems.append(f"out of order: {answer.header('id')} after {latest[int(partition)]}")
        latest[int(partition)] = int(offset)


def judge_letters(verdict: Verdict, given: Input, letters: Iterable[Record]) -> None:
    """Each record that is no click has one dead letter. Says the reason of one that should not be there."""
    malformed, found = set(given.malformed), []
    for letter in letters:
        headers = dict(letter.headers)
        found.append(
            "/".join(letter.header(f"nextclick.{name}") for name in ("topic", "partition", "offset"))
        )
        if found[-1] not in malformed:
            verdict.problems.append(f"the dead letter to {found[-1]} has these headers: {headers}")
    _judge_times(verdict, "dead letter", given.malformed, found)


def judge_states(
    verdict: Verdict, given: Input, release: Release, kept: Sequence[Record], *, exclude_days: int = 0
) -> None:
    """The states in the state topic are those of a process to which nothing happened; none is missing.

    `exclude_days`: for how long bought items are left out of lists; 0: they are not kept.
    """
    expected = oracle.expected(given.events, release, exclude_days=exclude_days)
    wrong = oracle.differences(expected, oracle.saved(kept))
    replay = oracle.replay_offsets(kept)
    wrong += [
        f"partition {partition}: replay would begin at {replay.get(partition)}, not at the end, {end}"
        for partition, end in given.ends.items()
        if replay.get(partition) != end
    ]
    verdict.states_equal &= not wrong
    verdict.problems += [f"state of {line}" for line in wrong]


def _judge_times(verdict: Verdict, what: str, wanted: Iterable[str], found: Iterable[str]) -> None:
    times = Counter(found)
    for name in wanted:
        count = times.pop(name, 0)
        if count == 0:
            verdict.lost += 1
            verdict.problems.append(f"lost: no {what} to {name}")
        elif count > 1:
            verdict.duplicates += count - 1
            verdict.problems.append(f"duplicate: {count} {what}s to {name}")
    verdict.problems += [f"{count} {what}s to {name}, which asks for none" for name, count in times.items()]
