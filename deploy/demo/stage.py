"""The topics of a demo run, and the worker and trainer processes on them."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final, Self

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from deploy.demo.broker import Broker
from deploy.demo.errors import DemoError
from deploy.demo.life import Life, Process
from deploy.kafka.ports import free_port
from worker import config
from worker.core.manifest import Manifest
from worker.core.release import Pointer, to_records
from worker.errors import SettingError
from worker.settings.loading import ENVIRONMENT_PREFIX
from worker.topics.releases import CHAMPION

PARTITIONS: Final = 4

_PREFIX: Final = ENVIRONMENT_PREFIX
_COMMAND_SECONDS: Final = 60.0
FIRST_YEAR: Final = "1997-01-01"
"""The setting `click.earliest` for clicks of 1997 and 1998, which are refused by default."""

_PASSED_ON: Final = f"{_PREFIX}KAFKA_"
"""The prefix of the only settings that the demo takes from the caller's environment: those of Kafka."""


class Stage:
    """A run of the demo on a Kafka cluster. All names are unique, so that no existing topic is touched."""

    def __init__(self, life: Life, broker: Broker) -> None:
        self._life = life
        self.broker = broker
        self.name = f"nextclick-demo-{secrets.token_hex(3)}"
        self.clicks = f"{self.name}.clicks"
        self.recommendations = f"{self.name}.recommendations"
        self.releases = f"{self.name}.releases"
        self.quality = f"{self.name}.quality"
        self.environment = _inherited(ours=broker.embedded) | broker.environment | self._settings()
        self._port = 0

    def __enter__(self) -> Self:
        try:
            self._create_topics()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all programs, and delete the topics unless the broker ends, too."""
        self._life.end_processes(keep=self.broker.process)
        if not self.broker.embedded:
            self._delete_topics()

    @property
    def client_settings(self) -> dict[str, Any]:
        """The arguments for all Kafka clients of the demo.

        Raises DemoError if the caller's settings are invalid.
        """
        return self._worker_settings().kafka.connection().arguments()

    @property
    def reader_settings(self) -> dict[str, Any]:
        """The arguments for consumers, including those that the broker requires."""
        return self.client_settings | self.broker.settings

    def _worker_settings(self) -> config.Settings:
        settings = {name: value for name, value in self.environment.items() if name.startswith(_PREFIX)}
        try:
            return config.load(None, settings)
        except SettingError as error:
            raise DemoError(str(error)) from None

    def _create_topics(self) -> None:
        """Run `nextclick-worker topics`. Raises DemoError."""
        command = [
            sys.executable,
            "-m",
            "worker",
            "topics",
            "--create-clicks",
            "--partitions",
            str(PARTITIONS),
        ]
        process = self._life.start("nextclick-worker topics", command, environment=self.environment)
        try:
            self._life.run(process, seconds=_COMMAND_SECONDS)
        except DemoError as error:
            if self.broker.embedded:
                raise
            raise DemoError(
                f"The Kafka at {self.broker.bootstrap} (KAFKA) cannot be used. {error}\n"
                "Without KAFKA, the demo starts its own broker"
            ) from None

    def _delete_topics(self) -> None:
        # The topics stay if Kafka is unreachable or denies the deletion.
        topics = self._worker_settings().topics.model_dump()
        with contextlib.suppress(KafkaError), closing(KafkaAdminClient(**self.client_settings)) as admin:
            admin.delete_topics([*filter(None, topics.values())])
            admin.delete_groups([self.name])

    def start_worker(self) -> Process:
        """Start `nextclick-worker run`."""
        self._port = free_port()
        return self._life.start(
            "the worker",
            [sys.executable, "-m", "worker", "run"],
            environment=self.environment | {f"{_PREFIX}HTTP_PORT": str(self._port)},
            lasting=True,
        )

    @property
    def metrics_address(self) -> str:
        """The URL of the metrics of the last started worker."""
        return f"http://127.0.0.1:{self._port}/metrics"

    def is_ready(self) -> bool:
        """Return whether the worker reports that it is ready."""
        return self._get("/readyz")[0] == 200

    def remark(self) -> str:
        """Return the worker's answer to /readyz."""
        return self._get("/readyz")[1].strip()

    def applied(self) -> int:
        """Return the number of clicks that the worker has applied since its start."""
        lines = self._get("/metrics")[1].splitlines()
        values = [line.split()[1] for line in lines if line.startswith("nextclick_clicks_total ")]
        return int(float(values[0])) if values else 0

    def start_training(self, folder: Path, settings: Sequence[str]) -> Process:
        """Start `nextclick-trainer fit` on the whole clicks topic."""
        options = [word for one in settings for word in ("--set", one)]
        return self._start_trainer("fit", "--output", str(folder), *options)

    def start_publishing(self, folder: Path, *options: str) -> Process:
        """Start `nextclick-trainer publish`."""
        return self._start_trainer("publish", str(folder), *options)

    def start_rollback(self) -> Process:
        """Start `nextclick-trainer rollback`."""
        return self._start_trainer("rollback")

    def start_watch(self, *options: str) -> Process:
        """Start `nextclick-trainer watch`."""
        return self._start_trainer("watch", *options)

    def start_listing(self) -> Process:
        """Start `nextclick-trainer releases`."""
        return self._start_trainer("releases")

    def send_champion(self, number: int, manifest: Manifest, blob: bytes, *, previous: int) -> None:
        """Write a release to the topic without verification, and point `@champion` to it."""
        pointing = Pointer(number, previous=previous).value()
        with closing(KafkaProducer(**self.client_settings)) as producer:
            for key, value in [*to_records(number, manifest, blob), (CHAMPION, pointing)]:
                producer.send(self.releases, key=key.encode(), value=value, partition=0)

    def _start_trainer(self, command: str, *arguments: str) -> Process:
        return self._life.start(
            f"nextclick-trainer {command}",
            [sys.executable, "-m", "trainer", command, *arguments],
            environment=self.environment,
        )

    def _settings(self) -> dict[str, str]:
        return {
            f"{_PREFIX}GROUP": self.name,
            f"{_PREFIX}WORKER_ID": "demo",
            f"{_PREFIX}KAFKA_BOOTSTRAP_SERVERS": self.broker.bootstrap,
            f"{_PREFIX}TOPICS_CLICKS": self.clicks,
            f"{_PREFIX}TOPICS_RECOMMENDATIONS": self.recommendations,
            f"{_PREFIX}TOPICS_RELEASES": self.releases,
            f"{_PREFIX}TOPICS_QUALITY": self.quality,
            f"{_PREFIX}CLICK_EARLIEST": FIRST_YEAR,
        }

    def _get(self, path: str) -> tuple[int, str]:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=2)) as connection:
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                return response.status, response.read().decode()
            except (OSError, HTTPException):
                return 0, ""


def _inherited(*, ours: bool) -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_PREFIX) or (name.startswith(_PASSED_ON) and not ours)
    }
