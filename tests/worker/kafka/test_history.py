"""A topic as a whole: all that is in it at the moment, and nothing that comes later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from worker.errors import KafkaAway, TopicError
from worker.kafka import history
from worker.kafka.history import Span
from worker.kafka.memory import MemoryCluster


@pytest.fixture
def cluster() -> MemoryCluster:
    """A topic of three partitions, the last of them empty."""
    found = MemoryCluster()
    found.create("clicks", partitions=3)
    for number in range(5):
        found.produce("clicks", b"%d" % number, partition=number % 2)
    return found


def values(cluster: MemoryCluster, **options: Any) -> dict[int, list[bytes | None]]:
    """The values that are read, by partition."""
    found: dict[int, list[bytes | None]] = {}
    for records in history.read(cluster.connect(), topic="clicks", **options):
        for record in records:
            found.setdefault(record.partition, []).append(record.value)
    return found


def test_every_partition_is_read_in_order(cluster: MemoryCluster) -> None:
    """However few records come at a time."""
    whole = {0: [b"0", b"2", b"4"], 1: [b"1", b"3"]}

    assert values(cluster) == whole
    assert values(cluster, fetch={"max_poll_records": 1}) == whole


def test_what_comes_meanwhile_is_left_for_the_next_time(cluster: MemoryCluster) -> None:
    """Otherwise a topic that is written to would have no end."""
    found = []
    for records in history.read(cluster.connect(), topic="clicks", fetch={"max_poll_records": 1}):
        found += [record.value for record in records]
        cluster.produce("clicks", b"later", partition=records[0].partition if records else 0)

    assert sorted(one or b"" for one in found) == [b"0", b"1", b"2", b"3", b"4"]


def test_where_to_begin_is_asked(cluster: MemoryCluster) -> None:
    """With what each partition holds: who has read some goes on after it."""
    cluster.delete_before("clicks", 0, 1)
    asked: list[Mapping[int, Span]] = []

    def begins(spans: Mapping[int, Span]) -> Mapping[int, int]:
        asked.append(spans)
        return {partition: span.end - 1 if span.end else 0 for partition, span in spans.items()}

    assert values(cluster, begins=begins) == {0: [b"4"], 1: [b"3"]}
    assert asked == [{0: Span(1, 3), 1: Span(0, 2), 2: Span(0, 0)}]


def test_aborted_records_are_no_history(cluster: MemoryCluster) -> None:
    """The end is behind them, and behind the marks of their transaction."""
    transactions = cluster.connect().transactions("a", timeout_ms=1_000)
    transactions.renew()
    transactions.send("clicks", 0, key=None, value=b"aborted")
    transactions.renew()

    assert values(cluster)[0] == [b"0", b"2", b"4"]


def test_an_open_transaction_is_not_waited_for(cluster: MemoryCluster) -> None:
    """What is before it is read, what is behind it comes another time."""
    transactions = cluster.connect().transactions("a", timeout_ms=1_000)
    transactions.renew()
    transactions.send("clicks", 0, key=None, value=b"open")
    cluster.produce("clicks", b"behind")

    assert values(cluster)[0] == [b"0", b"2", b"4"]


def test_an_empty_topic_has_no_history() -> None:
    """One that is not there is an error."""
    cluster = MemoryCluster()
    cluster.create("clicks")

    assert values(cluster) == {}
    with pytest.raises(TopicError, match="topic nowhere does not exist"):
        list(history.read(cluster.connect(), topic="nowhere"))


def test_a_broker_that_brings_nothing_is_away(cluster: MemoryCluster) -> None:
    """It is asked a number of times, then given up."""
    found = history.read(cluster.connect(), topic="clicks", fetch={"max_poll_records": 1})
    next(found)
    cluster.down()

    with pytest.raises(KafkaAway, match="2 partitions have more records, but none arrive"):
        list(found)


def test_a_broker_that_is_away_from_the_start_is_said(cluster: MemoryCluster) -> None:
    """With what was being done."""
    cluster.down()

    with pytest.raises(KafkaAway, match="read the topic clicks"):
        list(history.read(cluster.connect(), topic="clicks"))
