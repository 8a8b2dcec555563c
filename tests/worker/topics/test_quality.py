"""The topic of live quality: reports, as workers write and the trainer reads them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.trainer.simulated import tally
from worker.core.quality import Tally
from worker.errors import KafkaAway, NextclickError, TopicError
from worker.kafka.memory import MemoryCluster
from worker.topics.quality import QualityReader, QualityWriter, Report, parse_report, read_reports


@pytest.mark.parametrize("candidate", [2, None])
def test_a_report_is_read_as_it_was_written(candidate: int | None) -> None:
    """With or without a candidate."""
    found = parse_report(Report("g", "a", 5, 1, candidate, {1: tally(100, 40)}).value())

    assert found[:5] == ("g", "a", 5, 1, candidate)
    assert found.tallies[1].document() == tally(100, 40).document()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group", None),
        ("worker", 1),
        ("at", "now"),
        ("champion", None),
        ("candidate", "2"),
        ("candidate", True),
    ],
)
def test_a_field_of_another_kind_is_refused(name: str, value: Any) -> None:
    """Whoever reads the topic leaves such a record out, and never compares a text with a number."""
    document = orjson.loads(Report("g", "a", 5, 1, 2, {}).value()) | {name: value}

    with pytest.raises(NextclickError, match=f"its {name} is {value!r}"):
        parse_report(orjson.dumps(document))


@pytest.fixture
def cluster() -> MemoryCluster:
    """With a topic of live quality."""
    found = MemoryCluster()
    found.create("quality")
    return found


def report(cluster: MemoryCluster, hits: int) -> None:
    """Have a worker report in a transaction of its own."""
    transactions = cluster.connect().transactions("worker", timeout_ms=10_000)
    transactions.renew()
    writer = QualityWriter(transactions, topic="quality", group="g", worker_id="a")
    writer.publish({1: Tally(clicks=100, hits=hits)}, champion=1, candidate=None, now_ms=5)
    transactions.commit("quality", {}, "g", seconds=1)


def test_the_reports_are_read_in_order(cluster: MemoryCluster) -> None:
    """Those that are committed; what is no report is left out, and a key says who wrote it."""
    report(cluster, 10)
    cluster.produce("quality", b"no report")
    report(cluster, 20)
    open_one = cluster.connect().transactions("other", timeout_ms=10_000)
    open_one.renew()
    open_one.send("quality", 0, key=None, value=Report("g", "b", 5, 1, None, {}).value())

    found = list(read_reports(cluster.connect(), "quality"))

    assert [one.tallies[1].hits for one in found] == [10, 20]
    assert {record.key for record in cluster.read("quality") if record.key} == {b"g.a"}


def test_a_reader_goes_on_where_it_was(cluster: MemoryCluster) -> None:
    """Each report is read once."""
    report(cluster, 10)
    with QualityReader(cluster.connect(), topic="quality").opened() as reader:
        first = list(reader.read())
        none = list(reader.read())
        report(cluster, 20)
        second = list(reader.read())

    assert [len(one) for one in (first, none, second)] == [1, 0, 1]


def test_no_topic_and_no_broker_are_said(cluster: MemoryCluster) -> None:
    """The first must be mended, the second waited for."""
    with pytest.raises(TopicError, match="nowhere"):
        list(read_reports(cluster.connect(), "nowhere"))
    cluster.down()
    with pytest.raises(KafkaAway):
        list(read_reports(cluster.connect(), "quality"))
