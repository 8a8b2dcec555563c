"""Batches with damage of every kind through a broker, a worker, `fit` and `collect`: all is accounted for."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson
import polars as pl

from deploy.kafka.local import LocalKafka
from tests.broker.client import Record
from tests.broker.damage import ITEMS, SOUND, Segment, sent
from tests.broker.deployment import Deployment
from tests.broker.faults import Fleet
from tests.broker.rounds import PARTITIONS, stage, unfinished
from tests.builders import tiny_release_parts
from tests.waiting import eventually
from tests.wire import Wire
from trainer.clicks.archive import ClickArchive, scan_archive
from trainer.clicks.cleaning import Removal
from trainer.clicks.collector import Collector
from trainer.clicks.topic import read_topic
from trainer.console import Lines
from worker.core.event import Decoder, Fields
from worker.kafka.connection import KafkaConnection

ON_DISK: Final = 5
"""How many batches of each partition the disk damages."""


@dataclass
class Fuzzed:
    """What was sent, and what became of it. `problems` says all that is not as it must be."""

    batches: Counter[str] = field(default_factory=Counter)
    """By kind of damage."""
    refused: Counter[str] = field(default_factory=Counter)
    """Those that the broker did not take, by kind."""
    records: int = 0
    """The offsets that the broker gave away."""
    sound: set[str] = field(default_factory=set)
    """The ids, `partition/offset`, of the records of batches without damage."""
    answered: int = 0
    letters: Counter[str] = field(default_factory=Counter)
    """By reason."""
    in_letters: int = 0
    """The offsets that the dead letters stand for."""
    problems: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Return the counts as text."""
        lines = [f"{'damage':<26}{'batches':>9}{'refused':>9}"]
        lines += [
            f"{kind:<26}{number:>9,}{self.refused[kind]:>9,}" for kind, number in sorted(self.batches.items())
        ]
        return "\n".join(lines)

    def summary(self) -> str:
        """Return the sums, as the last line has them."""
        reasons = " ".join(f"{reason}={number}" for reason, number in sorted(self.letters.items()))
        return (
            f"batches={self.batches.total()} refused_by_the_broker={self.refused.total()} "
            f"kinds={len(self.batches)} records={self.records} answered={self.answered} "
            f"dead_letters={self.letters.total()} records_in_dead_letters={self.in_letters} ({reasons})"
        )


def run_fuzz(node: LocalKafka, seed: int, number: int, folder: Path) -> Fuzzed:
    """Send `number` damaged batches to a running node, damage its disk too, and judge what comes out."""
    found, source = Fuzzed(), random.Random(seed)
    with stage(node, f"fuzz-{seed}") as deployment:
        deployment.publish(*tiny_release_parts(ITEMS))
        _send(found, source, deployment, number)
        node.stop()
        _damage_the_disk(found, source, node, deployment)
        node.start()
        last = _last_clicks(deployment)
        ends = deployment.client.ends(deployment.clicks, isolation="read_uncommitted")
        found.records = sum(ends.values())
        with Fleet(folder, deployment.settings) as fleet:
            fleet.do("start", "a")
            eventually(
                lambda: not unfinished(deployment, fleet), 60 + number / 50, "the worker to come to the end"
            )
            fleet.stop(seconds=15)
            found.problems += fleet.fallen
        _judge(found, deployment, ends, last)
        _judge_trainer(found, deployment)
    return found


def _send(found: Fuzzed, source: random.Random, deployment: Deployment, number: int) -> None:
    wire = Wire(deployment.bootstrap)
    for kind, _, data in sent(source, number):
        partition = source.randrange(PARTITIONS)
        found.batches[kind] += 1
        try:
            code, offset = wire.produce(deployment.clicks, partition, data)
        except ConnectionError:
            code, offset, wire = -1, -1, Wire(deployment.bootstrap)
        if code:
            found.refused[kind] += 1
        elif kind == SOUND:
            count = int.from_bytes(data[57:61], "big")
            found.sound |= {f"{partition}/{offset + place}" for place in range(count)}


def _damage_the_disk(found: Fuzzed, source: random.Random, node: LocalKafka, deployment: Deployment) -> None:
    for partition in range(PARTITIONS):
        paths = node.folder.rglob(f"{deployment.clicks}-{partition}/*.log")
        segment = Segment(max(paths, key=lambda path: path.stat().st_size))
        damaged = segment.damage(source, min(ON_DISK, len(segment.batches())))
        batches = segment.batches()
        for place, (base, _, _) in enumerate(batches):
            if base in damaged:
                end = batches[place + 1][0] if place + 1 < len(batches) else base + 100
                found.sound -= {f"{partition}/{offset}" for offset in range(base, end)}
        found.batches["on the disk"] += len(damaged)


def _last_clicks(deployment: Deployment) -> set[str]:
    """Send a click to each partition, after all else; their ids."""
    clicks = [
        Record(orjson.dumps({"user_id": "last", "item_id": ITEMS[0]}), partition=number)
        for number in range(PARTITIONS)
    ]
    return {f"{one.partition}/{one.offset}" for one in deployment.send(clicks)}


def _judge(found: Fuzzed, deployment: Deployment, ends: dict[int, int], last: set[str]) -> None:
    """Every offset is answered once or stands in one dead letter; what was sound is answered."""
    answers = ["/".join(one.header("id").rsplit("/", 2)[1:]) for one in deployment.answers()]
    in_letters: list[str] = []
    for letter in deployment.letters():
        found.letters[letter.header("nextclick.reason")] += 1
        first = int(letter.header("nextclick.offset"))
        end = int(dict(letter.headers).get("nextclick.last_offset", first)) + 1
        partition = letter.header("nextclick.partition")
        in_letters += [f"{partition}/{offset}" for offset in range(first, end)]
    found.answered, found.in_letters = len(answers), len(in_letters)
    times = Counter(answers) + Counter(in_letters)
    every = {f"{partition}/{offset}" for partition, end in ends.items() for offset in range(end)}
    found.problems += [f"lost: {one}" for one in sorted(every - times.keys())]
    found.problems += [f"{one}: {times[one]} times" for one in times if times[one] > 1 or one not in every]
    found.problems += [f"sound, but not answered: {one}" for one in sorted(found.sound - set(answers))]
    found.problems += [f"the last click was not answered: {one}" for one in sorted(last - set(answers))]


def _judge_trainer(found: Fuzzed, deployment: Deployment) -> None:
    """`fit` and `collect` count what the worker counts."""
    connection = KafkaConnection(deployment.bootstrap)
    table, removals = read_topic(connection, deployment.clicks, Decoder(Fields()))
    _compare(found, "fit", len(table.clicks), removals)
    with tempfile.TemporaryDirectory() as folder:
        archive = ClickArchive(Path(folder))
        Collector(
            connection,
            archive,
            topic=deployment.clicks,
            decoder=Decoder(Fields()),
            progress=Lines(lambda _: None),
            keep_days=None,
            file_records=10_000,
            every_seconds=60,
        ).collect()
        scan, removals = scan_archive(Path(folder))
        _compare(found, "collect", scan.clicks.select(pl.len()).collect().item(), removals)


def _compare(found: Fuzzed, what: str, clicks: int, removals: list[Removal]) -> None:
    reasons = Counter({one.why.removeprefix("not a click (").rstrip(")"): one.removed for one in removals})
    if clicks != found.answered or reasons != found.letters:
        found.problems.append(f"{what} has {clicks} clicks and left out {dict(reasons)}")
