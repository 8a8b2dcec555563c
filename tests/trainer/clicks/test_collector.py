"""The archive of clicks equals the topic, whatever happens on the way."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.trainer.builders import click_records
from trainer.clicks.archive import ClickArchive, scan_archive
from trainer.clicks.collector import Collector
from trainer.console import Lines
from worker.core.event import Decoder, Fields
from worker.core.framing import framed
from worker.errors import KafkaAway, RegistryAway, TopicError
from worker.kafka.memory import MemoryCluster
from worker.schemas.interface import Schema
from worker.schemas.memory import MemoryRegistry
from worker.schemas.parser import FramedParser
from worker.schemas.reading import FrameReader

FIELDS = Fields("user", "product.id", "timestamp")


@pytest.fixture
def cluster() -> MemoryCluster:
    """A topic of one partition with forty clicks; more can be sent."""
    found = MemoryCluster()
    found.create("clicks")
    send(found, 0, 40)
    return found


def send(cluster: MemoryCluster, first: int, end: int) -> None:
    """Send some of a hundred clicks."""
    for _, value in click_records(20)[first:end]:
        cluster.produce("clicks", value)


def collector(
    cluster: MemoryCluster,
    folder: Path,
    said: list[str],
    *,
    keep_days: float | None = None,
    decoder: Decoder | None = None,
) -> Collector:
    """One that goes to the end of the topic in small files."""
    return Collector(
        cluster.connect(),
        ClickArchive(folder),
        topic="clicks",
        decoder=decoder or Decoder(FIELDS),
        progress=Lines(said.append),
        keep_days=keep_days,
        file_records=15,
        every_seconds=60,
    )


def collect(cluster: MemoryCluster, folder: Path, *, keep_days: float | None = None) -> list[str]:
    """Collect up to the end; what was said."""
    said: list[str] = []
    collector(cluster, folder, said, keep_days=keep_days).collect()
    return said


def offsets(folder: Path) -> list[int]:
    """The offsets of all clicks in the log, as they stand there."""
    found: list[int] = []
    for stretch in ClickArchive(folder).stretches():
        found += pl.read_parquet(stretch.path, hive_partitioning=False)["offset"].to_list()
    return found


def test_a_later_call_goes_on_where_the_log_ends(cluster: MemoryCluster, tmp_path: Path) -> None:
    """Nothing twice, nothing left out; records that are no clicks are counted and passed."""
    cluster.produce("clicks", b"no click")
    collect(cluster, tmp_path)
    nothing_new = collect(cluster, tmp_path)
    send(cluster, 40, 60)
    said = collect(cluster, tmp_path)

    scan, removals = scan_archive(tmp_path)
    assert offsets(tmp_path) == [*range(40), *range(41, 61)]
    assert nothing_new == []
    assert said == ["partition 0: 20 clicks at offsets 41 to 61, 0 offsets to go"]
    assert scan.clicks.select(pl.len()).collect().item() == 60
    assert [(one.removed, one.why) for one in removals] == [(1, "not a click (unknown_format)")]


def test_what_was_read_and_not_written_is_read_again(cluster: MemoryCluster, tmp_path: Path) -> None:
    """A collector that ends in the midst has written whole files; the next one goes on after them."""
    one = collector(cluster, tmp_path, [])
    one._round()  # what `collect` does before it writes the rest
    written = offsets(tmp_path)
    collect(cluster, tmp_path)

    assert written == list(range(len(written)))
    assert offsets(tmp_path) == list(range(40))


def test_what_retention_deleted_is_said(cluster: MemoryCluster, tmp_path: Path) -> None:
    """In offsets: the log has a gap there."""
    collect(cluster, tmp_path)
    send(cluster, 40, 100)
    cluster.delete_before("clicks", 0, 70)

    said = collect(cluster, tmp_path)

    assert "gap: Kafka deleted 30 offsets of partition 0 before they were collected (40 to 70)" in said
    assert offsets(tmp_path) == [*range(40), *range(70, 100)]


def test_a_topic_that_was_made_again_is_refused(cluster: MemoryCluster, tmp_path: Path) -> None:
    """A log that is ahead of its topic is of another one."""
    collect(cluster, tmp_path)
    cluster.delete("clicks")
    cluster.create("clicks")
    send(cluster, 0, 7)

    with pytest.raises(
        TopicError, match=r"ends at offset 7, the archive in .* at 40: the topic was recreated"
    ):
        collect(cluster, tmp_path)


def test_old_clicks_are_deleted(cluster: MemoryCluster, tmp_path: Path) -> None:
    """Whole files of which every record is older, by the records' own times."""
    said = collect(cluster, tmp_path, keep_days=1)

    assert said[-1] == "deleted 40 clicks older than 1 days"
    assert offsets(tmp_path) == []


def test_no_broker_and_no_topic_are_said(cluster: MemoryCluster, tmp_path: Path) -> None:
    """Nothing is written."""
    cluster.down()
    with pytest.raises(KafkaAway):
        collect(cluster, tmp_path)
    cluster.up()
    cluster.delete("clicks")
    with pytest.raises(TopicError, match="topic clicks does not exist"):
        collect(cluster, tmp_path)
    assert ClickArchive(tmp_path).stretches() == []


def test_a_schema_registry_that_is_away_is_waited_for(
    cluster: MemoryCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --follow; nothing is left out, nothing comes twice."""
    registry = MemoryRegistry()
    number = registry.register("clicks-value", Schema("{}", "JSON"))
    for _, value in click_records(20)[40:60]:
        cluster.produce("clicks", framed(number, value))
    said: list[str] = []
    decoder = Decoder(FIELDS, parse=FramedParser(FrameReader(registry, steady=lambda: 0.0)))
    one = collector(cluster, tmp_path, said, decoder=decoder)
    registry.down()
    with pytest.raises(RegistryAway):
        one.collect()
    pauses = iter([lambda: None, registry.up, one._write_all])
    monkeypatch.setattr("trainer.clicks.collector.time.sleep", lambda _: next(pauses)())

    with pytest.raises(StopIteration):
        one.follow()

    away = [text for text in said if "schema registry at memory: does not answer; retrying" in text]
    assert len(away) == 1  # said once, though it is tried twice
    assert offsets(tmp_path) == [*range(60)]


def test_it_goes_on_behind_what_nobody_can_decode(cluster: MemoryCluster, tmp_path: Path) -> None:
    """The stretch is counted once, and the archive continues at the offset after it."""
    cluster.produce_unreadable("clicks", offsets=5)
    said = collect(cluster, tmp_path)
    send(cluster, 40, 50)
    collect(cluster, tmp_path)

    assert said[-1].endswith("40 clicks at offsets 0 to 45, 0 offsets to go; not clicks: 1 unreadable")
    assert offsets(tmp_path) == [*range(40), *range(45, 55)]
    assert [(one.removed, one.why) for one in scan_archive(tmp_path)[1]] == [(1, "not a click (unreadable)")]
