"""Somebody who types the commands of a document into a shell, one after the other, with a Kafka at hand."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from typing import Final

from click.testing import CliRunner

from deploy.kafka.ports import free_port
from tests.broker.process import ROOT, WorkerProcess
from tests.builders import successor_release_parts
from tests.commands import Shown
from tests.waiting import eventually
from trainer.commands.cli import cli as trainer
from trainer.config import TrainerSettings
from worker.__main__ import cli as worker
from worker.config import Settings
from worker.core.release import Pointer
from worker.kafka.connection import KafkaConnection
from worker.settings.loading import load, variable
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader, publish

PROGRAMS: Final = {"nextclick-worker": worker, "nextclick-trainer": trainer}

ENDLESS: Final = {
    "nextclick-worker run": "serving",
    "nextclick-trainer collect": "partition 3: 500 clicks",
    "nextclick-trainer run": "is @champion in|stays champion",
    "nextclick-trainer watch": "undecided",
    "python -m": "Kafka is ready at|The registry is ready at",
}
"""The commands that run until they are stopped, and what they say once they do their work."""

FINE: Final = {"nextclick-trainer compare": (0, 1, 3), "nextclick-worker item": (0, 1)}
"""The exit codes of commands that answer with them; all others end with 0."""

SHORTER: Final = {"nextclick-trainer tune": ["--trials", "2"]}
"""What is added to a command that would take minutes."""

QUICK: Final = {
    "model.hidden_size": "8",
    "training.epochs": "1",
    "archive.write_interval": "1s",
    "run.warm_epochs": "1",
    "run.session_timeout": "6s",
    "watch.every": "100ms",
}
"""Settings in the environment, so that a training takes a second."""

PIP: Final = {"PIP_TARGET": "installed", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"}
"""Have pip install into a folder, with what is here: nothing of this environment changes."""

PATIENCE_SECONDS: Final = 90.0


def variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of somebody who has the programs, and these settings."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = {variable(key): value for key, value in settings.items()}
    return {"PATH": path, variable("http.port"): str(free_port())} | found


class Reader:
    """Types commands in a `folder`; `settings` say where Kafka and the topics are."""

    def __init__(self, settings: Mapping[str, str], folder: Path) -> None:
        self._always = variables({**QUICK, **settings}) | PIP | {"PIP_TARGET": str(folder / "installed")}
        self._always["TOKEN"] = "the documents send one"
        self._environment, self._block, self._folder = dict(self._always), -1, folder
        self._exported = False
        self._started: list[WorkerProcess] = []
        self._settings = load(Settings, None, variables(settings))
        self._connection = KafkaConnection(self._settings.kafka.bootstrap_servers)

    def types(self, command: Shown) -> None:
        """Run a command to its end. One without an end runs until it does its work; a worker goes on."""
        if command.block != self._block:
            self._enter(command.block)
        name, words = " ".join(command.words[:2]), [*map(self._here, ("", *command.words), command.words)]
        self._prepare(name, words)
        print(f"$ {command.text}")
        if command.program == "export":
            self._export(*words[1].split("=", 1))
        elif name in ENDLESS:
            self._start(name, words)
        elif command.program in PROGRAMS:
            self._invoke(name, words)
        else:
            # The worker that a command before started does not listen on its usual port.
            text = command.text.replace("9464", self._always[variable("http.port")])
            process = self._process(["bash", "-euc", text], ROOT)
            assert process.wait(PATIENCE_SECONDS) == 0, process.log

    def stop(self) -> None:
        """Stop all that still runs, in order."""
        for process in self._started:
            if process.exit_code is None:
                process.terminate()
                process.wait()

    def close(self) -> None:
        """Leave nothing running; what it said shows when the test fails."""
        self._enter(-1)
        for process in self._started:
            process.end()
            print(process.log)

    def _here(self, before: str, word: str) -> str:
        """Return a word with the addresses, ports and topics that there are here."""
        kafka, topics = self._settings.kafka, self._settings.topics
        if before == "--clicks-topic":
            return topics.clicks
        if word in ("9092", "9465"):
            return str(free_port())
        return word.replace("localhost:9092", kafka.bootstrap_servers)

    def _prepare(self, name: str, words: list[str]) -> None:
        """Bring what a command needs, and the commands before it did not leave."""
        topic, (champion, candidate) = self._settings.topics.releases, self._pointers()
        if name == "nextclick-trainer fit":  # at a terminal it asks before it replaces a release
            output = words[words.index("-o") + 1] if "-o" in words else "release"
            rmtree(self._folder / output, ignore_errors=True)
        elif name == "nextclick-worker reset":
            self.stop()
        wanted = None
        if name == "nextclick-trainer rollback" and "--candidate" not in words:
            missing = champion is None or not champion.history or str(champion.release) in words
            wanted = CHAMPION if missing else None
        elif name in ("nextclick-trainer watch", "nextclick-trainer promote", "nextclick-trainer rollback"):
            wanted = CANDIDATE if candidate is None else None
        elif name == "nextclick-worker run" and champion is None:
            wanted = CHAMPION
        if wanted:
            publish(self._connection, topic, *successor_release_parts(), pointer=wanted)

    def _pointers(self) -> tuple[Pointer | None, Pointer | None]:
        with ReleaseReader(self._connection, topic=self._settings.topics.releases).opened() as reader:
            reader.read()
            return reader.pointer(CHAMPION), reader.pointer(CANDIDATE)

    def _enter(self, block: int) -> None:
        """Begin a block in a new shell. Both programs take what the block before exported."""
        if self._exported:
            for model in (Settings, TrainerSettings):
                load(model, None, self._environment)
        self._block, self._environment, self._exported = block, dict(self._always), False

    def _export(self, name: str, value: str) -> None:
        self._environment[name], self._exported = value, True
        if name.endswith("_FILE"):
            (self._folder / value).touch()

    def _start(self, name: str, words: list[str]) -> None:
        process = self._process(
            ["bash", "-euc", shlex.join(words)], self._folder if name != "python -m" else ROOT
        )
        says = re.compile(ENDLESS[name])
        eventually(
            lambda: process.exit_code is not None or says.search(process.log),
            PATIENCE_SECONDS,
            f"{says.pattern!r} in:\n{process.log}",
        )
        assert process.exit_code is None, process.log
        if name != "nextclick-worker run":
            process.terminate()
            process.wait()

    def _process(self, program: list[str], folder: Path) -> WorkerProcess:
        number = len(self._started)
        process = WorkerProcess(
            program[1:],
            program=program[:1],
            log_path=self._folder / f"process-{number}.log",
            http_port=0,
            environment=self._environment,
            folder=folder,
        )
        self._started.append(process)
        return process

    def _invoke(self, name: str, words: list[str]) -> None:
        """Run a command in this process, which has loaded TensorFlow already."""
        arguments = [*words[1:], *SHORTER.get(name, [])]
        done = CliRunner(env=self._environment).invoke(
            PROGRAMS[words[0]], arguments, input="y\n", catch_exceptions=False
        )
        assert done.exit_code in FINE.get(name, (0,)), done.output
