"""Continuous training on a real Kafka: real processes that train, and one that is killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from tests.broker.client import Client
from tests.broker.process import WorkerProcess
from tests.broker.test_collect import collected, held
from tests.broker.test_trainer import records_of_cycle
from tests.conftest import TopicFactory
from tests.trainer.builders import set_to
from tests.waiting import eventually
from trainer.commands.cli import cli
from worker.core.release import from_records, numbers, parse_pointer, verify
from worker.topics.releases import CANDIDATE, CHAMPION

QUICK = set_to(
    *("model.hidden_size=8", "training.epochs=1", "run.warm_epochs=1", "run.held_out=1h"),
    *("evaluation.top=1", "run.session_timeout=6s"),
)


PATIENCE_SECONDS = 90.0
"""Every training loads TensorFlow in a process of its own: on a busy machine that takes long."""


class Site:
    """Topics of clicks and releases, and trainers on them."""

    def __init__(self, kafka: str, client: Client, topics: TopicFactory, folder: Path) -> None:
        self.kafka, self.client, self.folder = kafka, client, folder
        self.clicks, self.releases = topics("clicks", partitions=4), topics("releases")
        self.started: list[WorkerProcess] = []
        self._records = records_of_cycle(1_000)

    def send(self, sessions: int) -> None:
        """Send more clicks; those of the last hour are the hold-out."""
        records, self._records = self._records[: sessions * 5], self._records[sessions * 5 :]
        self.client.send(self.clicks, records)

    def arguments(self, log: str, *more: str) -> list[str]:
        """Return the command line of a trainer that keeps its archive there."""
        where = ["--kafka", self.kafka, "--clicks-topic", self.clicks, "--releases-topic", self.releases]
        fields = ["--user", "user", "--item", "product.id", "--archive", str(self.folder / log)]
        return ["run", *where, *fields, *QUICK, *more]

    def once(self, log: str) -> tuple[int, str, Any]:
        """Make one run in this process; return the exit code, the last line and the result."""
        done = CliRunner().invoke(cli, self.arguments(log, "--once", "--json"), catch_exceptions=False)
        return done.exit_code, done.stderr.splitlines()[-1].partition(" ")[2], orjson.loads(done.stdout)

    def start(self, log: str) -> WorkerProcess:
        """Start a trainer as a process."""
        number = len(self.started)
        arguments = self.arguments(log, "--every", "1s")
        path = self.folder / f"trainer-{number}.log"
        self.started.append(WorkerProcess(arguments, log_path=path, http_port=0, module="trainer"))
        return self.started[-1]

    def pointers(self) -> dict[str, int]:
        """Return which release each pointer names, read by another client; all releases are whole."""
        records = {(one.key or b"").decode(): one.value for one in self.client.read(self.releases)}
        held = {key: value for key, value in records.items() if value is not None}
        for number in numbers(held):
            verify(*from_records(held, number))
        return {name: parse_pointer(held[name]).release for name in (CHAMPION, CANDIDATE) if name in held}


@pytest.fixture
def site(kafka: str, client: Client, topics: TopicFactory, tmp_path: Path) -> Iterator[Site]:
    """A site without clicks and releases; what its trainers said shows when the test fails."""
    site = Site(kafka, client, topics, tmp_path)
    yield site
    for process in site.started:
        process.end()
        print(f"--- trainer {process.pid}, exit code {process.exit_code}\n{process.log}")


def said(process: WorkerProcess, text: str) -> None:
    """Wait until the trainer has said it."""
    eventually(lambda: text in process.log, PATIENCE_SECONDS, f"{text!r} in:\n{process.log}")


@pytest.mark.timeout(3 * PATIENCE_SECONDS)
def test_of_two_trainers_the_second_takes_over_when_the_first_is_killed(site: Site) -> None:
    """A whole life: one trains, the other stands by until kill -9 in a run; the archive is the topic."""
    site.send(200)
    two = [site.start("one"), site.start("other")]
    published = f"is @champion in {site.releases}"
    eventually(lambda: any(published in one.log for one in two), PATIENCE_SECONDS, "a release")
    leading, other = sorted(two, key=lambda one: published in one.log, reverse=True)
    said(other, "another trainer leads: standing by")
    assert "training on" not in other.log

    site.send(100)
    said(leading, "offsets 250 to")
    leading.kill9()
    said(other, f"release 2 {published}")
    other.terminate()

    assert other.wait() == 0
    assert site.pointers() == {CHAMPION: 2}
    archive = "one" if other is two[0] else "other"
    idle = {"outcome": "idle", "release": None}
    assert site.once(archive) == (1, "no new clicks since the last run; nothing to train", idle)
    assert collected(site.folder / archive) == held(site.client, site.clicks)
