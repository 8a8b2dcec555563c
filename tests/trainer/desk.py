"""Trainers at a desk: a cluster in this process, clicks of the cycle, a strategy with prepared releases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Final

import orjson
import polars as pl

from tests.builders import item_names, successor_release_parts
from tests.trainer.builders import CYCLE, cyclic_clicks
from trainer.clicks.archive import ClickArchive
from trainer.config import FitSettings, Run
from trainer.console import Lines
from trainer.continuous.click_source import ClickSource
from trainer.continuous.leader import Leader
from trainer.continuous.metrics import TrainingMetrics
from trainer.continuous.plan import RunOutcome, Window
from trainer.continuous.runner import ContinuousTraining
from trainer.release.package import PackagedRelease
from worker.clock import Clock
from worker.core.event import Decoder, Fields
from worker.core.manifest import Manifest
from worker.core.release import from_records, numbers, parse_pointer, verify
from worker.kafka.memory import MemoryCluster, MemoryGroupMember
from worker.topics.needs import COMPACTED
from worker.topics.releases import CANDIDATE, CHAMPION, publish

CLICKS: Final = "clicks"
RELEASES: Final = "releases"
SESSION_SECONDS: Final = 30.0
"""After which a trainer that is frozen or gone is thrown out of the group."""

PLAN: Final = Run(every=3_600, window=86_400)
SETTINGS: Final = FitSettings.of(top=1, exclude_recent=0)

RIGHT: Final = item_names(CYCLE)
"""The order of items that a release must have to be right on the clicks."""
WRONG: Final = RIGHT[::-1]


def _nothing() -> None:
    """Let nothing happen."""


class Prepared:
    """A strategy that trains at once: its releases know the order `items`; `meanwhile` happens before."""

    def __init__(self) -> None:
        self.items = RIGHT
        self.meanwhile: Callable[[], object] = _nothing
        self.run = 0
        """What its releases say that they were made by."""
        self.champions: list[int | None] = []
        """The champion that each training got."""

    def train(
        self, clicks: pl.LazyFrame, span: Window, champion: PackagedRelease | None, now: datetime
    ) -> PackagedRelease:
        """As `Strategy` says."""
        self.champions.append(champion.release.number if champion else None)
        meanwhile, self.meanwhile = self.meanwhile, _nothing
        meanwhile()
        manifest, blob = _parts(self.items)
        count = clicks.select(pl.len()).collect().item()
        training = {"epochs": [{"loss": 1.0}], "clicks": count, "run": self.run}
        manifest = replace(manifest, training=training, created_at=now.isoformat())
        return PackagedRelease.verified(manifest, blob)

    def finish(
        self, clicks: pl.LazyFrame, span: Window, measured: PackagedRelease, now: datetime
    ) -> PackagedRelease:
        """As `Strategy` says: the release says that it was finished."""
        return measured.with_training(finished=True)


class Trainer:
    """One trainer as a process of its own, with an archive of its own."""

    def __init__(self, desk: TrainerDesk, folder: Path, plan: Run) -> None:
        self.connection = desk.cluster.connect()
        clock = Clock(desk.cluster.wall, desk.cluster.steady, partial(desk.sleep, but=self))
        self.strategy = Prepared()
        self.awake = True
        """Whether it hears of its group."""
        self.lines: list[str] = []
        """All that it said."""
        self.leader = Leader(
            self.connection,
            releases=RELEASES,
            session_timeout_ms=round(SESSION_SECONDS * 1000),
            clock=clock,
            background=False,
        )
        self.metrics = TrainingMetrics(lambda: self.leader.leads, clock)
        self.training = ContinuousTraining(
            ClickSource(
                connection=self.connection,
                topic=CLICKS,
                decoder=Decoder(Fields("user", "item")),
                archive=ClickArchive(folder),
            ),
            RELEASES,
            plan,
            SETTINGS,
            strategy=self.strategy,
            leader=self.leader,
            metrics=self.metrics,
            progress=Lines(self.lines.append),
            clock=clock,
        )
        self._life = ExitStack()
        self._life.enter_context(self.leader.membership())

    def once(self) -> RunOutcome:
        """Make one run, if this trainer leads."""
        return self.training.run_once(patience_seconds=10)

    @property
    def member(self) -> MemoryGroupMember:
        """Its membership of the group of trainers."""
        assert isinstance(self.leader._member, MemoryGroupMember)
        return self.leader._member

    def stop(self) -> None:
        """End in order."""
        self.awake = False
        self._life.close()


class TrainerDesk:
    """A cluster with the topics of a trainer, and the trainers on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = MemoryCluster()
        self.cluster.create(CLICKS, partitions=2)
        self.cluster.create(RELEASES, settings=COMPACTED)
        self.trainers: list[Trainer] = []
        self._clicks = _values()

    def send(self, sessions: int = 24) -> None:
        """Write that many sessions of five clicks, one click a minute."""
        for user, value in (next(self._clicks) for _ in range(sessions * 5)):
            self.cluster.produce(CLICKS, value, partition=user % 2)

    def trainer(self, plan: Run = PLAN) -> Trainer:
        """Start a trainer."""
        self.trainers.append(Trainer(self, self.folder / str(len(self.trainers)), plan))
        return self.trainers[-1]

    def sleep(self, seconds: float, but: Trainer | None = None) -> None:
        """Let time pass, in which all trainers but one hear of their group."""
        self.cluster.advance(seconds)
        if seconds:
            self.settle(but)

    def settle(self, but: Trainer | None = None) -> None:
        """Let all trainers but one hear of their group, until nothing changes any more."""
        for one in 3 * self.trainers:
            if one.awake and one is not but:
                one.leader.wait(0)

    @contextmanager
    def frozen(self, trainer: Trainer, seconds: float = SESSION_SECONDS + 1) -> Iterator[None]:
        """Freeze a trainer as SIGSTOP does, for `seconds`: by default until its group has thrown it out."""
        self.cluster.freeze(trainer.member)
        trainer.awake = False
        self.sleep(seconds)
        yield
        trainer.awake = True

    def publish(self, pointer: str = CHAMPION, items: tuple[str, ...] = RIGHT) -> int:
        """Publish a release as a person does."""
        return publish(self.cluster.connect(), RELEASES, *_parts(items), pointer=pointer)

    def held(self) -> dict[str, bytes]:
        """Return what the topic of releases holds, by key."""
        records = {(one.key or b"").decode(): one.value for one in self.cluster.read(RELEASES)}
        return {key: value for key, value in records.items() if value is not None}

    def releases(self) -> list[int]:
        """Return the numbers of all releases; each is whole and verified."""
        held = self.held()
        for number in numbers(held):
            verify(*from_records(held, number))
        return numbers(held)

    def pointers(self) -> dict[str, int]:
        """Return which release each pointer names."""
        held = self.held()
        return {name: parse_pointer(held[name]).release for name in (CHAMPION, CANDIDATE) if name in held}


@cache
def _parts(items: tuple[str, ...]) -> tuple[Manifest, bytes]:
    return successor_release_parts(items, popular=items)


def _values() -> Iterator[tuple[int, bytes]]:
    """Yield the number of a user and a record's value for each click, in the order of time."""
    for user, item, time_ms in cyclic_clicks(2_000).rows():
        value = orjson.dumps({"user": user, "item": item, "timestamp": time_ms})
        yield int(user.removeprefix("user-")), value
