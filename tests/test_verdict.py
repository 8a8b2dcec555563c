"""The judge of the chaos rounds: what is wrong it says, and what is right it lets pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests import oracle
from tests.broker.load import EVENTS, records
from tests.builders import item_names, tiny_release
from tests.oracle import Owner, PlacedClick, State
from tests.records import Record
from tests.verdict import Input, Verdict, judge_answers, judge_letters, judge_states
from worker.core.click import Click
from worker.core.event_types import EXCLUDE, STEP
from worker.core.flush import Flush, Ledger
from worker.core.recommender import Recommender
from worker.core.release import Release
from worker.core.states import States
from worker.settings.events import Events
from worker.topics.states import Replay

TOPIC = "clicks"
PARTITIONS = 2
NOW_MS = 1_800_000_000_000


@pytest.fixture(scope="module")
def given() -> Input:
    """Some hundred records, good and bad, as they stand in the topic of clicks."""
    return sent()


def sent(events: Events | None = None) -> Input:
    """Those records; with `events`, they have types."""
    made = records(
        np.random.default_rng(1),
        600,
        users=40,
        items=20,
        partitions=PARTITIONS,
        typed=events is not None,
    )
    ends = [0] * PARTITIONS
    placed = []
    for record in made:
        partition = record.partition or 0
        placed.append(replace(record, offset=ends[partition], timestamp_ms=NOW_MS))
        ends[partition] += 1
    return Input.of(TOPIC, placed, events.types() if events else None)


@pytest.fixture(scope="module")
def release() -> Release:
    """The release that serves."""
    return tiny_release(item_names(20), hidden_size=32)


def answers(given: Input) -> list[Record]:
    """One to each click, in order."""
    return [answer(one) for one in given.clicks]


def answer(to: PlacedClick) -> Record:
    """The answer to one click."""
    name = f"{TOPIC}/{to.partition}/{to.offset}"
    return Record(b"{}", partition=to.partition, headers=(("id", name.encode()),))


def letters(given: Input) -> list[Record]:
    """One to each record that is no click."""
    names = ("nextclick.topic", "nextclick.partition", "nextclick.offset")
    parts = ([part.encode() for part in name.split("/")] for name in given.malformed)
    return [Record(b"", headers=tuple(zip(names, its, strict=True))) for its in parts]


def judged(given: Input, answers: Sequence[Record], letters: Sequence[Record]) -> Verdict:
    """What is said of these answers and letters."""
    verdict = Verdict()
    judge_answers(verdict, given, answers)
    judge_letters(verdict, given, letters)
    return verdict


def test_what_is_as_it_must_be_passes(given: Input) -> None:
    """One answer to each click, one letter to each other record; there are both kinds."""
    verdict = judged(given, answers(given), letters(given))

    assert verdict == Verdict(clicks=len(given.clicks))
    assert verdict.good
    assert len(given.clicks) > 500
    assert len(given.malformed) > 3


def test_a_lost_click_and_a_lost_letter_are_found(given: Input) -> None:
    """Each counts, and is named."""
    verdict = judged(given, answers(given)[1:], letters(given)[:-1])

    assert (verdict.lost, verdict.duplicates, verdict.out_of_order) == (2, 0, 0)
    assert not verdict.good
    assert answers(given)[0].header("id") in verdict.problems[0]
    assert given.malformed[-1] in verdict.problems[1]


def test_a_second_answer_and_a_second_letter_are_found(given: Input) -> None:
    """Each counts, also where the second follows the first at once."""
    right = answers(given)
    verdict = judged(given, [right[0], *right], [*letters(given), letters(given)[0]])

    assert (verdict.lost, verdict.duplicates, verdict.out_of_order) == (0, 2, 0)
    assert not verdict.good


def test_a_swapped_pair_is_found(given: Input) -> None:
    """Order counts within a partition, between partitions there is none."""
    first, second = ([one for one in answers(given) if one.partition == number] for number in (0, 1))
    swapped = [first[1], first[0], *first[2:]]

    assert judged(given, [*second, *first], letters(given)).good
    assert judged(given, [*second, *swapped], letters(given)).out_of_order == 1


def test_an_answer_that_nothing_asked_for_is_found(given: Input) -> None:
    """To a record that is no click, to one that does not exist, in a partition that is not the click's."""
    right = answers(given)
    strange = replace(right[0], headers=(("id", given.malformed[0].encode()),))
    astray = replace(right[0], partition=1 - (right[0].partition or 0))

    assert not judged(given, [*right, strange], letters(given)).good
    assert not judged(given, [astray, *right[1:]], letters(given)).good


class Keeper:
    """Applies and saves as a worker does, into a list of records instead of a topic."""

    def __init__(self, release: Release, events: Events) -> None:
        self.states = States(state_size=release.state_size)
        events.prepare(self.states)
        self.topic: list[Record] = []
        self._recommender = Recommender(release, self.states)
        self._ledgers = [Ledger() for _ in range(PARTITIONS)]
        self._ends = [0] * PARTITIONS

    def apply(self, clicks: Sequence[PlacedClick]) -> None:
        """Move the states."""
        self._recommender.apply(oracle.columns(clicks), now_ms=0)
        for click in clicks:
            self._ends[click.partition] = click.offset + 1

    def flush(self) -> None:
        """Save what changed."""
        for partition, (ledger, end) in enumerate(zip(self._ledgers, self._ends, strict=True)):
            flush = Flush(self.states, ledger, partition=partition)
            for number, value in flush.next_blocks(at_most=1000):
                self.topic.append(Record(value, b"block/%d" % number, partition))
            self.topic += [Record(None, b"block/%d" % number, partition) for number in flush.tombstones]
            self.topic.append(Record(Replay(end, 1).value(), b"replay", partition))

    def change(self, **columns: int) -> None:
        """Add a number to some columns of the first user."""
        rows = self.states.owned(0)[:1]
        before = self.states.read(rows)
        after = {
            name: getattr(before, name) + getattr(before, name).dtype.type(n) for name, n in columns.items()
        }
        self.states.write(rows, replace(before, **after))


def saved(
    given: Input,
    release: Release,
    change: Callable[[Keeper], None] = lambda _: None,
    events: Events = Events(),  # noqa: B008  # immutable
) -> list[Record]:
    """The state topic of one who saved seven times; `change` comes before the last."""
    keeper = Keeper(release, events)
    for places in np.array_split(np.arange(len(given.events)), 7):
        keeper.flush()
        keeper.apply([given.events[place] for place in places.tolist()])
    change(keeper)
    keeper.flush()
    return keeper.topic


def verdict_on_states(
    given: Input, release: Release, topic: Sequence[Record], *, exclude_days: int = 0
) -> Verdict:
    """What is said of this state topic."""
    verdict = Verdict()
    judge_states(verdict, given, release, topic, exclude_days=exclude_days)
    return verdict


def test_states_that_were_saved_pass(given: Input, release: Release) -> None:
    """Users stand in several blocks, of which some were dropped: the copy that is ahead counts."""
    topic = saved(given, release)

    assert verdict_on_states(given, release, topic).good
    assert any(record.value is None for record in topic)


def test_a_state_that_was_not_saved_is_found(given: Input, release: Release) -> None:
    """The last flush is missing: users are behind or not there, and replay would not begin at the end."""
    topic = saved(given, release)
    last = [place for place, record in enumerate(topic) if record.key == b"replay"][-3]
    verdict = verdict_on_states(given, release, topic[: last + 1])

    assert not verdict.states_equal
    assert any("offset is" in problem for problem in verdict.problems)
    assert any("replay would begin at" in problem for problem in verdict.problems)


def test_events_of_each_type_are_told_apart(given: Input, release: Release) -> None:
    """Purchases and orders are kept, only clicks and orders are answered, other types are not looked at."""
    events = Events(**EVENTS)
    typed = sent(events)
    kinds = Counter(one.click.kind for one in typed.events)
    topic = saved(typed, release, events=events)

    assert kinds.keys() == {STEP, EXCLUDE, STEP | EXCLUDE}
    assert len(typed.clicks) == len(typed.events) - kinds[EXCLUDE]
    assert len(typed.events) + len(typed.malformed) < 600 == len(given.events) + len(given.malformed)
    assert verdict_on_states(typed, release, topic, exclude_days=1).good


def test_a_purchase_that_was_forgotten_is_found(release: Release) -> None:
    """Of one user, the last one alone; and that of somebody who bought and never clicked."""
    events = Events(**EVENTS)
    typed = sent(events)
    clicked = {one.click.user_id for one in typed.clicks if one.partition == 0}
    bought = [one for one in typed.events if one.partition == 0 and one.click.kind == EXCLUDE]
    last = [one for one in bought if one.click.user_id in clicked][-1]
    ghost = last._replace(click=last.click._replace(user_id="nobody"))
    whole = replace(typed, events=[*typed.events, ghost])

    def problems(*without: PlacedClick) -> list[str]:
        some = replace(whole, events=[one for one in whole.events if one not in without])
        topic = saved(some, release, events=events)
        found = verdict_on_states(whole, release, topic, exclude_days=1).problems
        return [one for one in found if "Owner(" in one]

    assert problems() == []
    assert any("bought is" in one for one in problems(last))
    assert any("'nobody'): no state" in one for one in problems(ghost))


@pytest.mark.parametrize("column", ["clicks", "session", "timestamp_ms", "offset", "release"])
def test_a_column_that_is_one_off_is_found(given: Input, release: Release, column: str) -> None:
    """One user alone is different, and what of it is told."""
    verdict = verdict_on_states(
        given, release, saved(given, release, lambda keeper: keeper.change(**{column: -1}))
    )

    assert not verdict.states_equal
    assert len(verdict.problems) == 1
    assert f"{column} is" in verdict.problems[0]


def test_a_user_without_clicks_is_found(given: Input, release: Release) -> None:
    """A state that should not be there is told like one that should."""
    ghost = given.clicks[-1]._replace(click=Click("nobody", "item-1", 0))
    verdict = verdict_on_states(given, release, saved(given, release, lambda keeper: keeper.apply([ghost])))

    assert len(verdict.problems) == 1
    assert "'nobody'" in verdict.problems[0]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_hidden_state_alone_tells_a_click_too_many_or_too_few(given: Input, cell: str) -> None:
    """Each user's whose last click was stepped twice or never; rounding in batches of any size does not."""
    release = tiny_release(item_names(20), cell=cell, hidden_size=32)
    last = {Owner(one.partition, one.click.user_id): one for one in given.clicks}
    known = {owner: one for owner, one in last.items() if one.click.item_id.startswith("item-")}
    right = oracle.expected(given.clicks, release)
    twice = oracle.expected([*given.clicks, *known.values()], release)
    without = oracle.expected([one for one in given.clicks if one not in known.values()], release)

    def told(hidden_of: Mapping[Owner, State]) -> int:
        wrong = {o: replace(right[o], hidden=hidden_of[o].hidden) for o in known.keys() & hidden_of.keys()}
        assert len(wrong) > 20
        return len(wrong) - len(oracle.differences({owner: right[owner] for owner in wrong}, wrong))

    assert told(twice) == told(without) == 0
    assert oracle.differences(right, oracle.expected(given.clicks, release, batch=7)) == []
