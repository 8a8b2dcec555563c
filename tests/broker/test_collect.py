"""The click archive on a real Kafka: what is collected is what the topic held, whatever happens."""

from __future__ import annotations

import random
import time
from pathlib import Path

import polars as pl

from tests.broker.client import Client, Record
from tests.broker.process import WorkerProcess
from tests.broker.test_trainer import records_of_cycle
from tests.conftest import TopicFactory
from tests.trainer.builders import set_to
from trainer.clicks.archive import ClickArchive, scan_archive
from trainer.clicks.collector import Collector
from trainer.console import Lines
from worker.core.event import Decoder, Fields
from worker.kafka.connection import KafkaConnection

FIELDS = Fields("user", "product.id", "timestamp")

KILLS = 3


def collector(kafka: str, topic: str, folder: Path, said: list[str], *, file_records: int = 100) -> Collector:
    """One that goes to the end of the topic in small files."""
    return Collector(
        KafkaConnection(kafka),
        ClickArchive(folder),
        topic=topic,
        decoder=Decoder(FIELDS),
        progress=Lines(said.append),
        keep_days=None,
        file_records=file_records,
        every_seconds=60,
    )


def collected(folder: Path) -> list[tuple[int, int, str, str, int]]:
    """Partition, offset, user, item and time of all clicks in the log, as they stand there."""
    rows = []
    for stretch in ClickArchive(folder).stretches():
        clicks = pl.read_parquet(stretch.path, hive_partitioning=False).drop("recorded_ms")
        rows += [(stretch.partition, *row) for row in clicks.rows()]
    return rows


def held(client: Client, topic: str) -> list[tuple[int, int, str, str, int]]:
    """The same of the topic, read by another client."""
    records = [record for record in client.read(topic) if record.value != b"no click"]
    clicks = [(one.partition or 0, one.offset or 0, one.json) for one in records]
    return sorted((at, offset, c["user"], c["product"]["id"], c["timestamp"]) for at, offset, c in clicks)


def test_killed_at_any_moment_it_loses_nothing_and_repeats_nothing(
    kafka: str, client: Client, topics: TopicFactory, tmp_path: Path
) -> None:
    """kill -9 over and over while clicks come: in the end the log equals the topic."""
    topic, folder, rng = topics("clicks", partitions=4), tmp_path / "log", random.Random(5)
    names = [
        "--user",
        "user",
        "--item",
        "product.id",
        *set_to("archive.file_records=50", "archive.write_interval=50ms"),
    ]
    arguments = ["collect", "--kafka", kafka, "--clicks-topic", topic, *names, "--follow", "-o", str(folder)]
    sent = records_of_cycle(4_000)
    for part in range(KILLS):
        client.send(topic, [*sent[part::KILLS], Record(b"no click", partition=part % 4)])
        process = WorkerProcess(arguments, log_path=tmp_path / f"{part}.log", http_port=0, module="trainer")
        deadline, before = time.monotonic() + 30, len(ClickArchive(folder).stretches())
        while len(ClickArchive(folder).stretches()) < before + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.random() / 10)
        process.kill9()

    collector(kafka, topic, folder, []).collect()

    assert collected(folder) == held(client, topic)
    scan, removals = scan_archive(folder)
    assert scan.clicks.select(pl.len()).collect().item() == len(sent)
    assert [(one.removed, one.why) for one in removals] == [(KILLS, "not a click (unknown_format)")]
