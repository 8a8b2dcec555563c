"""Clicks under every codec of Kafka, through a worker, `fit` and `collect`: counts, and what they cost.

    python -m tests.benchmarks.codecs --clicks 3000000

Half of the clicks of a topic are compressed by the producer, in large batches, and half by the broker: the
topic's `compression.type` is the codec, too. Ends with 1 unless all counts are right. The figures go to
`build/codecs.json`.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
import orjson
import polars as pl
import psutil
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient

from deploy.java import Unavailable
from deploy.kafka.local import LocalKafka
from deploy.kafka.ports import free_port
from tests.benchmarks import machine
from tests.benchmarks.clicks import clicks
from tests.broker.deployment import Deployment
from tests.broker.process import ROOT, WorkerProcess, toml
from tests.builders import item_names, tiny_release_parts
from tests.conftest import create_topic
from tests.waiting import eventually
from tests.wire import CODECS
from trainer.clicks.archive import ClickArchive, scan_archive
from trainer.clicks.collector import Collector
from trainer.clicks.topic import read_topic
from trainer.console import Lines
from worker.core.event import Decoder, Fields
from worker.kafka.batches import Batch, frames
from worker.kafka.codecs import inflate
from worker.kafka.connection import KafkaConnection

FILE: Final = ROOT / "build" / "codecs.json"
ITEMS: Final = 4_000
PARTITIONS: Final = 4
READERS: Final = ("worker", "fit", "collect")

LARGEST_BYTES: Final = 10 << 20
"""The most bytes of a batch."""

LARGE: Final = {
    "linger.ms": 500,
    "batch.size": 8 << 20,
    "message.max.bytes": LARGEST_BYTES,
    "batch.num.messages": 100_000,
    "queue.buffering.max.messages": 1_000_000,
}
"""Settings of a producer whose batches are large."""


@dataclass(frozen=True)
class Row:
    """What was counted and measured of one codec by one reader."""

    codec: str
    reader: str
    sent: int
    counted: int
    not_clicks: int
    seconds: float
    cpu_microseconds: float
    """For each click, of all that the reader does."""

    @property
    def good(self) -> bool:
        """Whether every click was counted once, and nothing else was."""
        return self.counted == self.sent and self.not_clicks == 0


def send(bootstrap: str, topic: str, codec: str, number: int) -> None:
    """Send clicks, half of them compressed by us; wait until they are acknowledged."""
    failed: list[KafkaError] = []

    def acknowledged(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    every = clicks(ITEMS, number)
    for compression, some in ((codec, number // 2), ("none", number - number // 2)):
        large = LARGE if compression == codec else {"linger.ms": 50}
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "compression.type": compression,
                "on_delivery": acknowledged,
                **large,
            }
        )
        for key, value in itertools.islice(every, some):
            _produce(producer, topic, key, value)
        if (left := producer.flush(300)) or failed:
            raise RuntimeError(
                f"{left} clicks were not acknowledged, {len(failed)} were refused: {failed[:1]}"
            )


def _produce(producer: Producer, topic: str, key: bytes, value: bytes) -> None:
    while True:
        try:
            producer.produce(topic, value=value, key=key)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def batches(node: LocalKafka, topic: str) -> tuple[Counter[int], int]:
    """Return how many batches the broker keeps under each codec, and the largest uncompressed size."""
    found, largest = Counter[int](), 0
    for path in node.folder.rglob(f"{topic}-*/*.log"):
        for base, data in frames(path.read_bytes()):
            codec = Batch(base, data).codec
            found[codec] += 1
            largest = max(largest, len(inflate(codec, data[61:]) if codec else data[61:]))
    return found, largest


def by_worker(deployment: Deployment, number: int) -> Iterator[Any]:
    """Read with a worker from the first click to the last; clicks, dead letters, CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        port, config = free_port(), Path(folder) / "worker.toml"
        # Old clicks move the states and are not answered: reading and stepping alone are measured.
        settings = deployment.settings(
            recommend={"publish": "latest", "publish_max_age": 1}, http={"port": port}
        )
        config.write_text(toml(settings))
        process = WorkerProcess(
            ["run", "--config", str(config)], log_path=config.with_suffix(".log"), http_port=port
        )
        try:
            before = _cpu_seconds(process)
            eventually(lambda: _worked(process) >= number, 120 + number / 1_000, "the worker to read all")
            spent = _cpu_seconds(process) - before
            yield process.metric("nextclick_clicks_total")
            yield process.metric("nextclick_dead_letters_total")
            yield spent
        finally:
            process.end()


def _cpu_seconds(process: WorkerProcess) -> float:
    """Return what it has spent, once it is ready."""
    process.wait_until_ready(60)
    cpu = psutil.Process(process.pid).cpu_times()
    return cpu.user + cpu.system


def _worked(process: WorkerProcess) -> float:
    return process.metric("nextclick_clicks_total") + process.metric("nextclick_dead_letters_total")


def by_fit(deployment: Deployment, _: int) -> Iterator[Any]:
    """Read as `fit` does before it trains."""
    table, removals = read_topic(KafkaConnection(deployment.bootstrap), deployment.clicks, Decoder(Fields()))
    yield len(table.clicks)
    yield sum(one.removed for one in removals)


def by_collect(deployment: Deployment, _: int) -> Iterator[Any]:
    """Collect into an archive of its own."""
    with tempfile.TemporaryDirectory() as folder:
        Collector(
            KafkaConnection(deployment.bootstrap),
            ClickArchive(Path(folder)),
            topic=deployment.clicks,
            decoder=Decoder(Fields()),
            progress=Lines(lambda _: None),
            keep_days=None,
            file_records=1_000_000,
            every_seconds=600,
        ).collect()
        scan, removals = scan_archive(Path(folder))
        yield scan.clicks.select(pl.len()).collect().item()
        yield sum(one.removed for one in removals)


def measured(
    deployment: Deployment, codec: str, reader: str, number: int, read: Callable[..., Iterator[Any]]
) -> Row:
    """Take the counts and the costs of one reader."""
    began, began_cpu = time.monotonic(), time.process_time()
    counted, not_clicks, *cpu = read(deployment, number)
    seconds, spent = time.monotonic() - began, time.process_time() - began_cpu
    return Row(
        codec,
        reader,
        number,
        int(counted),
        int(not_clicks),
        seconds,
        1e6 * (cpu[0] if cpu else spent) / number,
    )


def rows(node: LocalKafka, number: int, codecs: list[str]) -> Iterator[Row]:
    """Yield the row of each codec and reader. Raises RuntimeError if a topic is not as it should be."""
    admin = AdminClient({"bootstrap.servers": node.bootstrap, "log_level": 0})
    for codec in codecs:

        def create(name: str, partitions: int, codec: str = codec) -> str:
            kept = {
                "compression.type": codec.replace("none", "uncompressed"),
                "max.message.bytes": str(LARGEST_BYTES),
            }
            create_topic(admin, f"{codec}.{name}", partitions, kept if name == "clicks" else {})
            return f"{codec}.{name}"

        deployment = Deployment(node.bootstrap, f"codecs-{codec}", create, partitions=PARTITIONS)
        deployment.publish(*tiny_release_parts(item_names(ITEMS), hidden_size=32))
        send(node.bootstrap, deployment.clicks, codec, number)
        kept, largest = batches(node, deployment.clicks)
        if set(kept) != {CODECS[codec]}:
            raise RuntimeError(f"{codec}: the broker keeps batches of other codecs: {kept}")
        say(f"{codec}: {kept.total():,} batches, the largest has {largest / 2**20:.1f} MiB uncompressed")
        for reader, read in zip(READERS, (by_worker, by_fit, by_collect), strict=True):
            yield measured(deployment, codec, reader, number, read)
        admin.delete_topics([deployment.clicks])[deployment.clicks].result(30)


def table(found: list[Row]) -> str:
    """Return the rows as text."""
    lines = [f"{'codec':<8}{'reader':<9}{'clicks':>11}{'counted':>11}{'seconds':>9}{'CPU us a click':>16}"]
    lines += [
        f"{row.codec:<8}{row.reader:<9}{row.sent:>11,}{row.counted:>11,}{row.seconds:>9.1f}"
        f"{row.cpu_microseconds:>16.1f}{'' if row.good else '  WRONG'}"
        for row in found
    ]
    return "\n".join(lines)


def say(line: str) -> None:
    """Progress goes to standard error; the result alone to standard output."""
    click.echo(line, err=True)


@click.command()
@click.option("--clicks", "number", default=300_000, show_default=True, help="Number of clicks by codec.")
@click.option(
    "--only", multiple=True, type=click.Choice(sorted(CODECS)), help="A codec to measure; may be repeated."
)
def main(*, number: int, only: tuple[str, ...]) -> None:
    """Read clicks under every codec, check the counts and print what they cost."""
    found: list[Row] = []
    try:
        with LocalKafka() as node:
            for row in rows(node, number, [*(only or CODECS)]):
                found.append(row)
                say(table([row]).splitlines()[1])
    except Unavailable as error:
        sys.exit(str(error))
    click.echo("\n".join([*machine.lines(), "", table(found)]))
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_bytes(orjson.dumps([asdict(row) for row in found], option=orjson.OPT_INDENT_2))
    sys.exit(not all(row.good for row in found))


if __name__ == "__main__":
    main()
