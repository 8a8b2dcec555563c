"""Training that goes on, on a real Kafka: real trainers, killed, frozen, and several at once."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.broker.client import Client
from tests.broker.process import WorkerProcess
from tests.broker.test_collect import collected, held
from tests.broker.test_trainer import records_of_cycle
from tests.builders import item_names, successor_release_parts
from tests.conftest import TopicFactory
from tests.trainer.builders import CYCLE
from tests.waiting import eventually
from trainer.commands.cli import cli
from worker.core.release import from_records, numbers, parse_pointer, verify
from worker.kafka.connection import KafkaConnection
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader, publish

QUICK = ("--hidden-size", "8", "--epochs", "1", "--warm-epochs", "1", "--held-out", "1h", "--top", "1")
BLEND = "weights of the blend"
"""What a training says last before its release is measured and published."""


class Site:
    """Topics of clicks and releases, and trainers on them."""

    def __init__(self, kafka: str, client: Client, topics: TopicFactory, folder: Path) -> None:
        self.kafka, self.client, self.folder = kafka, client, folder
        self.clicks, self.releases = topics("clicks", partitions=4), topics("releases")
        self.started: list[WorkerProcess] = []
        self._records = records_of_cycle(1_000)

    def send(self, sessions: int) -> None:
        """More clicks, of which the last hour's are held out."""
        records, self._records = self._records[: sessions * 5], self._records[sessions * 5 :]
        self.client.send(self.clicks, records)

    def arguments(self, log: str, *more: str) -> list[str]:
        """How a trainer is called that keeps its log there."""
        where = ["--kafka", self.kafka, "--topic", self.clicks, "--releases", self.releases]
        fields = ["--user", "user", "--item", "product.id", "--log", str(self.folder / log)]
        return ["run", *where, *fields, *QUICK, "--session-timeout", "6s", *more]

    def once(self, *more: str) -> tuple[int, str]:
        """One round in this process: exit code, and the last thing said."""
        done = CliRunner().invoke(cli, self.arguments("log", "--once", *more), catch_exceptions=False)
        return done.exit_code, done.stderr.splitlines()[-1].partition(" ")[2]

    def start(self, log: str) -> WorkerProcess:
        """A trainer that goes on, as a process."""
        number = len(self.started)
        arguments = self.arguments(log, "--every", "1s")
        path = self.folder / f"trainer-{number}.log"
        self.started.append(WorkerProcess(arguments, log_path=path, http_port=0, module="trainer"))
        return self.started[-1]

    def pointers(self) -> dict[str, int]:
        """Which release each pointer names, for a client that is not ours; all releases are whole."""
        records = {(one.key or b"").decode(): one.value for one in self.client.read(self.releases)}
        held = {key: value for key, value in records.items() if value is not None}
        for number in numbers(held):
            verify(*from_records(held, number))
        return {name: parse_pointer(held[name]).release for name in (CHAMPION, CANDIDATE) if name in held}

    def champion_as_workers_see_it(self) -> int:
        """Its number, once it is verified."""
        with ReleaseReader(KafkaConnection(self.kafka), topic=self.releases).opened() as reader:
            reader.read()
            pointer = reader.pointer(CHAMPION)
            assert pointer
            verify(*reader.fetch(pointer.release))
            return pointer.release


@pytest.fixture
def site(kafka: str, client: Client, topics: TopicFactory, tmp_path: Path) -> Iterator[Site]:
    """A site without clicks and releases; what its trainers said shows when the test fails."""
    site = Site(kafka, client, topics, tmp_path)
    yield site
    for process in site.started:
        process.end()
        print(f"--- trainer {process.pid}, exit code {process.exit_code}\n{process.log}")


def said(process: WorkerProcess, text: str, *, times: int = 1) -> None:
    """Wait until the trainer has said it so often."""
    eventually(lambda: process.log.count(text) >= times, 60, f"{text!r} in:\n{process.log}")


def test_rounds_from_nothing_to_a_candidate(site: Site) -> None:
    """The first becomes champion; later ones begin with it, one candidate at a time, on new clicks."""
    site.send(200)
    trial = ("--policy", "candidate", "--share", "0.2")

    assert site.once(*trial) == (0, f"release 1 is @champion in {site.releases}")
    assert site.once(*trial) == (1, "no clicks since the last round: nothing is trained")
    site.send(100)
    assert site.once(*trial) == (0, f"release 2 is @candidate in {site.releases}")
    site.send(100)
    assert site.once(*trial) == (1, "release 2 is on trial: no other is made")
    assert site.pointers() == {CHAMPION: 1, CANDIDATE: 2}
    with ReleaseReader(KafkaConnection(site.kafka), topic=site.releases).opened() as reader:
        reader.read()
        champion, candidate = (reader.fetch(number)[0] for number in (1, 2))
        assert candidate.lineage == {"parent": champion.sha256}
        assert reader.pointer(CANDIDATE) == (2, 0.2, None)
    assert collected(site.folder / "log") == held(site.client, site.clicks)


def test_the_gate_refuses_what_is_worse_than_the_champion(site: Site) -> None:
    """Nothing is published, and the exit code says why; without clicks it is that of an error."""
    items = item_names(CYCLE)
    publish(KafkaConnection(site.kafka), site.releases, *successor_release_parts(items, popular=items))
    bare = ("--no-warm", "--popularity-half-lives-hours", "none", "--transitions", "0", "--repeat-lags", "0")

    assert site.once(*bare)[0] == 2
    site.send(200)
    assert site.once(*bare) == (3, "release 1 stays champion")
    assert site.pointers() == {CHAMPION: 1}


def test_killed_at_any_moment_releases_are_whole_or_absent(site: Site) -> None:
    """kill -9 in every stage: the champion is valid, the log is what the topic is, and the next goes on."""
    rng = random.Random(7)
    for stage in ("training on", BLEND, BLEND):
        site.send(100)
        process = site.start("log")
        said(process, stage)
        time.sleep(rng.random() / 2)
        process.kill9()

        assert site.pointers().keys() <= {CHAMPION}

    site.send(100)
    before = site.pointers().get(CHAMPION, 0)
    assert site.once() == (0, f"release {before + 1} is @champion in {site.releases}")
    assert site.champion_as_workers_see_it() == site.pointers()[CHAMPION] == before + 1
    assert collected(site.folder / "log") == held(site.client, site.clicks)


def test_of_two_trainers_one_trains_and_a_frozen_one_publishes_nothing(site: Site) -> None:
    """Frozen in a training it is replaced; awake again it is refused and stands by; and takes over later."""
    site.send(200)
    two = [site.start("one"), site.start("other")]
    published = "is @champion"
    eventually(lambda: any(published in one.log for one in two), 60, "a release")
    leading, other = sorted(two, key=lambda one: published in one.log, reverse=True)
    said(other, "another trainer leads: standing by")
    assert "training on" not in other.log

    site.send(100)
    said(leading, "training on", times=2)
    leading.sigstop()
    said(other, "release 2 is @champion")
    leading.sigcont()
    said(leading, "no release: ")  # its term is over, or the champion is another one: what is noticed first
    said(leading, "another trainer leads: standing by")
    assert site.pointers() == {CHAMPION: 2}

    other.kill9()
    site.send(100)
    said(leading, "release 3 is @champion")
    assert site.champion_as_workers_see_it() == 3
    leading.terminate()
    assert leading.wait() == 0
