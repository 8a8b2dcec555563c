"""Live quality: in the metrics and in its topic, no click twice, whatever crashes."""

from __future__ import annotations

from typing import Final

import pytest
from kafka.errors import KafkaConnectionError

from tests.builders import ITEMS, tiny_release_parts
from tests.worker.desk import Desk, successor_desk
from worker.core.quality import Tally
from worker.live_quality import INTERVAL_SECONDS
from worker.topics import releases
from worker.topics.quality import Report, parse_report

USERS: Final = 8


def turn(desk: Desk, number: int) -> None:
    """Every user clicks the item that follows their last one, which is what was recommended first."""
    for user in range(USERS):
        desk.click(f"user-{user}", ITEMS[number % 12], partition=user % desk.partitions)
    desk.settle()


def reports(desk: Desk) -> list[Report]:
    """What committed readers find in the topic."""
    return [parse_report(one.value or b"") for one in desk.cluster.read(desk.topics.quality)]


def reported(desk: Desk, release: int = 1) -> Tally:
    """The sum of all that workers reported of a release."""
    total = Tally()
    for report in reports(desk):
        total.add(report.tallies.get(release, Tally()))
    return total


def hits(desk: Desk) -> float:
    """What the metrics say."""
    return desk.workers["a"].metric("nextclick_quality_hits_total", release="1")


def test_hits_are_counted_and_reported() -> None:
    """Each turn after the first is a hit at rank 1; what a worker counted is in the topic when it ends."""
    desk = successor_desk()
    worker = desk.serving()
    for number in (1, 2, 3):
        turn(desk, number)

    assert hits(desk) == 2 * USERS

    ranks = worker.metric("nextclick_quality_reciprocal_ranks_total", release="1")
    desk.stop()
    total = reported(desk)

    assert (total.lists, total.cold) == (3 * USERS, 0)
    assert (total.clicks, total.hits) == (2 * USERS, 2 * USERS)
    assert total.reciprocal_ranks == ranks == 2 * USERS
    assert {(one.group, one.worker, one.champion, one.candidate) for one in reports(desk)} == {
        ("desk", "a", 1, None)
    }


def test_counts_are_reported_each_interval_where_there_are_some() -> None:
    """One record, not one for each checkpoint; none where nobody clicked."""
    desk = successor_desk()
    desk.serving()
    turn(desk, 1)
    turn(desk, 2)

    assert reports(desk) == []

    desk.advance(INTERVAL_SECONDS)
    desk.step(10)
    desk.advance(INTERVAL_SECONDS)
    desk.step(10)

    assert [one.tallies[1].hits for one in reports(desk)] == [USERS]


def test_a_report_may_be_the_first_that_a_partition_hears_of() -> None:
    """It brings an offset for a partition without clicks, and so where its replay begins, too."""
    desk = successor_desk(partitions=4, state={"flush_interval": 3_600})
    desk.serving()
    for item in ITEMS[1:3]:
        desk.click("ada", item, partition=3)
        desk.settle()
    desk.advance(INTERVAL_SECONDS)
    desk.step(10)

    assert desk.committed() == {0: 0, 3: 2}
    assert reported(desk).lists == 2
    assert desk.restart().served == {0, 1, 2, 3}


def test_no_click_counts_twice() -> None:
    """What is replayed after kill -9 is not judged, and neither is the first click after it."""
    desk = successor_desk(state={"flush_interval": 3_600})
    desk.serving()
    turn(desk, 1)
    turn(desk, 2)
    desk.restart()
    turn(desk, 3)
    turn(desk, 4)

    assert hits(desk) == USERS

    desk.stop()

    # The worker that was killed had no time to report its own turn.
    assert (reported(desk).clicks, reported(desk).hits) == (USERS, USERS)


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after"])
@pytest.mark.parametrize("due", [False, True], ids=["without a report", "with a report"])
def test_a_commit_without_an_answer_counts_nothing_twice(after: bool, due: bool) -> None:
    """Where nobody can say whether it was committed, what it counted is not reported again."""
    desk = successor_desk(partitions=1)
    desk.serving()
    turn(desk, 1)
    turn(desk, 2)
    if due:
        desk.advance(INTERVAL_SECONDS)
    desk.cluster.fail("commit", KafkaConnectionError("lost"), after=after)
    turn(desk, 3)
    turn(desk, 4)
    desk.stop()

    # Without a report turn 2 is sure. Turn 4 is judged where turn 3 was walked again and not only replayed.
    assert reported(desk).hits == (2 * USERS if after == due else USERS)
    desk.assert_answered_once()


def test_a_candidate_is_counted_apart() -> None:
    """Each list under the release that made it; the report names both."""
    desk = successor_desk()
    desk.publish(*tiny_release_parts(), pointer=releases.CANDIDATE)
    desk.serving()
    for number in (1, 2, 3):
        turn(desk, number)
    desk.stop()
    by_release = [reported(desk, number).lists for number in (1, 2)]

    assert sum(by_release) == 3 * USERS
    assert {(one.champion, one.candidate) for one in reports(desk)} == {(1, 2)}
