from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.benchmarks.backlog import GUESS, MARGIN, Backlog, Pace


class Topic:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []

    def send(self, topic: str, records: Iterator[tuple[bytes, bytes]]) -> None:
        """Add `records`."""
        self.records += records


def test_a_measured_speed_takes_the_place_of_a_guess_or_of_a_slower_one() -> None:
    """A backlog must outlast the fastest reader, and be no longer than that."""
    pace, sizes = Pace(), []
    for speed in (GUESS / 10, GUESS / 20, GUESS * 3):
        pace.saw(speed)
        sizes.append(pace.clicks(2))

    pace.outrun()
    sizes.append(pace.clicks(2))
    pace.saw(GUESS * 4)
    sizes.append(pace.clicks(2))

    assert sizes == pytest.approx([MARGIN * 2 * GUESS * share for share in (0.1, 0.1, 3, 6, 4)])


@pytest.mark.parametrize("speed", [GUESS / 100, GUESS * 100])
def test_a_reader_of_any_speed_has_more_to_read_than_it_can_after_some_runs(speed: float) -> None:
    """Each run that comes to its end has the next one begin with twice as much."""
    pace, runs = Pace(), 1
    while pace.clicks(5) <= 5 * speed:
        pace.outrun()
        runs += 1

    assert runs <= 8


def test_a_backlog_is_filled_by_what_is_missing() -> None:
    """Of clicks that are not read yet, and with other clicks each time."""
    topic = Topic()
    backlog = Backlog(topic.send, "clicks", items=50)
    for unread, read in ((100, 0), (80, 0), (80, 60), (0, 140)):
        backlog.fill(unread, read=read)

    assert backlog.number == len(topic.records) == 140
    assert [key for key, _ in topic.records[:40]] != [key for key, _ in topic.records[100:]]
