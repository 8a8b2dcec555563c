"""The course of the demo: clicks go into Kafka, and recommendations by a network trained on them come out.

broker -> four fifths of the data into the topic -> train on the topic -> publish -> worker
-> the rest as live clicks; in the meantime, train again on the topic and publish, so that the worker adopts
   the second release; then the worker refuses a broken release, and an A/B test drops a bad candidate
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from rich.console import Console

from deploy.demo import broker as brokers
from deploy.demo import data, view
from deploy.demo.broker import Broker
from deploy.demo.data import Click, MovieLens
from deploy.demo.errors import DemoError
from deploy.demo.life import ROOT, Life
from deploy.demo.live import LiveClicks
from deploy.demo.refresh import Refresh, Step
from deploy.demo.replay import AnswerReader, ClickSender, side_by_side
from deploy.demo.scoreboard import Scoreboard
from deploy.demo.stage import PARTITIONS, Stage
from deploy.demo.summary import summary, trained
from deploy.demo.training import progress

CACHE: Final = ROOT / "build" / "demo"
"""The folder of downloads and extracted programs; `make clean` removes it."""

HISTORY_CLICKS: Final = 80_000
LIVE_CLICKS: Final = 16_500
PEOPLE: Final = 60
"""Number of users who click at the same time: enough users for both sides of the A/B test."""

_ALONE: Final = 500
"""Number of records at the end of the history that are sent one by one: Tansu reports the start of a
partition's last batch as the partition's end, so the trainer would miss the rest of the batch."""

# The data is a thousand long sessions. With large batches, split sessions and a higher learning rate, the
# training is five times faster and the quality equal. With the trainer's defaults, it would take minutes. The
# final training would take as long again, and the clicks wait.
TRAINING: Final = (
    *("training.epochs=6", "training.batch_clicks=2048", "training.max_session_clicks=50"),
    *("optimizer.learning_rate=0.008", "dataset.test_fraction=0.05", "training.final_training=false"),
)

HISTORY_AGE_MS: Final = 3_600_000
"""Age of the history's records, in milliseconds: too old for lists, as the worker's limit is a minute."""

TRAINING_SECONDS: Final = 900.0
COMMAND_SECONDS: Final = 60.0
READY_SECONDS: Final = 60.0


def tell() -> None:
    """Run the demo once. Raises DemoError, Interrupted."""
    console = Console()
    try:
        with Life() as life:
            _Story(life, console).run()
    finally:
        # An interrupted page may leave the cursor hidden.
        console.show_cursor()


class _Story:
    def __init__(self, life: Life, console: Console) -> None:
        self._life = life
        self._console = console
        self._began = time.monotonic()

    def run(self) -> None:
        self._say("The demo takes about five minutes, then ends by itself. Ctrl-C stops it.")
        movies = self._data()
        history, rest = movies.clicks[:HISTORY_CLICKS], movies.clicks[HISTORY_CLICKS:]
        live = list(side_by_side(rest, PEOPLE))[:LIVE_CLICKS]
        with Stage(self._life, self._broker()) as stage, ExitStack() as stack:
            sender = stack.enter_context(ClickSender(stage.client_settings, stage.clicks))
            reader = stack.enter_context(AnswerReader(stage.reader_settings, stage.recommendations))
            self._record(sender, history)
            scoreboard = Scoreboard([click[:2] for click in history], time.monotonic)
            scoreboard.learned(1, scoreboard.popular)
            self._train(stage)
            self._serve(stage, len(history))
            reader.start(range(PARTITIONS), scoreboard.recommended)
            shown = self._view(movies)
            refresh = self._refresh(Refresh(stage, scoreboard, shown.note))
            with shown:
                LiveClicks(self._life, sender, scoreboard, live, refresh).run(shown)
            listed = self._life.run(stage.start_listing(), seconds=COMMAND_SECONDS)
        self._say(summary(scoreboard, [self._folder(1), self._folder(2)], listed, began=self._began))

    def _refresh(self, refresh: Refresh) -> Iterator[Step]:
        yield from refresh.better(self._folder(2), TRAINING, release=2)
        yield from refresh.broken(self._folder(2), release=3)
        yield from refresh.bad(self._folder(4), made_of=self._folder(2), release=4)

    def _data(self) -> MovieLens:
        movies = data.load(self._life, CACHE)
        users = len({click.user_id for click in movies.clicks})
        self._say(
            f"Data: MovieLens 100K (GroupLens, for research use): {len(movies.clicks):,} ratings by "
            f"{users:,} users of {len(movies.titles):,} films. Each rating counts as a click"
        )
        return movies

    def _broker(self) -> Broker:
        address = os.environ.get("KAFKA")
        if address:
            self._say(f"Broker: the Kafka at {address}; the demo creates its own topics and deletes them")
            return brokers.existing(address)
        broker = brokers.embedded(self._life, CACHE)
        self._say(
            f"Broker: Tansu at {broker.bootstrap}, in memory; only for demos, as it slows down over time. "
            "`KAFKA=host:port make demo` uses a real Kafka"
        )
        return broker

    def _record(self, sender: ClickSender, history: Sequence[Click]) -> None:
        """Write the history to the topic, as if Kafka had been running at that time."""
        then = round(time.time() * 1000) - HISTORY_AGE_MS
        with self._console.status("") as status:
            for number, click in enumerate(history):
                sender.send(click, then)
                if number % 1000 == 0:
                    status.update(f"Writing clicks into the topic: {number:,} of {len(history):,}")
                    self._life.pause(0)
                if number >= len(history) - _ALONE:
                    sender.flush()
        self._say(f"The first {len(history):,} clicks are in the topic.")

    def _train(self, stage: Stage) -> None:
        folder, began = self._folder(1), self._seconds
        training = stage.start_training(folder, TRAINING)
        with self._console.status("Training release 1") as status:
            while training.exit_code is None:
                status.update(f"Training release 1: {view.training(progress(training.log))}")
                self._life.pause()
                if self._seconds - began > TRAINING_SECONDS:
                    raise DemoError(f"The training took longer than {TRAINING_SECONDS:g} s")
        self._life.run(training, seconds=COMMAND_SECONDS)
        self._say(f"Release 1 was trained in {self._seconds - began:.0f} s: {trained(folder)}")
        said = self._life.run(stage.start_publishing(folder), seconds=COMMAND_SECONDS)
        self._say(f"Published: {said.strip()}")

    def _serve(self, stage: Stage, clicks: int) -> None:
        stage.start_worker()
        applying = f"applying {clicks:,} clicks to the states of the users"
        with self._console.status("Starting the worker") as status:
            self._life.wait_for(stage.is_ready, seconds=READY_SECONDS, what="the start of the worker")
            status.update(f"The worker is {applying}")
            self._life.wait_for(lambda: stage.applied() >= clicks, seconds=READY_SECONDS, what=applying)
        self._say(
            f"The worker runs and has applied all clicks; its metrics: {stage.metrics_address}\n"
            f"{self._seconds:.0f} s after the command: live clicks by {PEOPLE} users at a time"
        )

    def _view(self, movies: MovieLens) -> view.View:
        if self._console.is_terminal:
            return view.Page(self._console, movies.titles)
        return view.Lines(self._say, movies.titles)

    def _folder(self, release: int) -> Path:
        return self._life.folder / f"release-{release}"

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=not self._console.is_terminal)
