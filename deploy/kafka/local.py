"""A Kafka node without Docker: broker and controller in one process (KRaft), as a context manager.

For tests, benchmarks and experiments: one replica of the data, loopback only, and no security (a locked-down
node is `deploy.kafka.security.LockedKafka`).
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.java import Unavailable, find_java, tail
from deploy.kafka.install import fetch
from deploy.kafka.ports import HOST, brokers, free_port, is_free
from deploy.server import Server

# A single node allows only one replica; few partitions and small buffers keep start-up fast and memory
# small. Retention is unlimited, because replayed data sets have timestamps that are decades old. Expired
# transactions are aborted every second instead of every 10.
PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "5",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.retention.ms": "-1",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
}


class LocalKafka(Server):
    """A Kafka node with its own port and data folder, as a context manager.

    `start` after `stop` or `kill` restarts the node with the same port and data. Leaving the context stops
    the node and removes its data, but keeps a `folder` that was given. `properties` override the defaults in
    server.properties. `stop` and `kill` keep the data. `cluster` is the id of the node's cluster; without it,
    the node is a cluster of its own. `listeners`: names of further listeners and their security protocols,
    each with its own port. `format_options`: arguments for the storage tool.
    """

    name = "Kafka"

    def __init__(
        self,
        *,
        port: int | None = None,
        folder: Path | None = None,
        java_options: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
        cluster: str = "",
        listeners: Mapping[str, str] | None = None,
        format_options: Sequence[str] = (),
    ) -> None:
        self.port = port or free_port()
        self.folder = folder or Path(tempfile.mkdtemp(prefix="nextclick-kafka-"))
        self._keep_folder = folder is not None
        self._java_options = tuple(java_options)
        self._properties = dict(properties or {})
        self._cluster = cluster
        self._protocols = {"PLAINTEXT": "PLAINTEXT"} | dict(listeners or {})
        self._ports = {name: free_port() for name in listeners or {}} | {"PLAINTEXT": self.port}
        self._format_options = tuple(format_options)
        self.address = f"{HOST}:{self.port}"
        self.log_path = self.folder / "kafka.log"

    @property
    def bootstrap(self) -> str:
        """The `host:port` that clients connect to."""
        return self.address

    def listener(self, name: str) -> str:
        """Return the `host:port` of a listener."""
        return f"{HOST}:{self._ports[name]}"

    def start(self) -> None:
        """Start the node and wait until it answers. Raises Unavailable with the end of its log."""
        if self._process is not None:
            raise RuntimeError(
                f"Kafka at {self.bootstrap} is already running; stop it before starting it again"
            )
        if not is_free(self.port):
            raise Unavailable(f"another program listens on port {self.port}; end it or choose another")
        java, libs = find_java(), fetch()
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self._write_properties()
        self._format(libs, java, settings)
        command = self._command(java, libs, "-Xmx512m", *self._java_options, "kafka.Kafka", str(settings))
        self._launch(command, removed=() if self._keep_folder else (self.folder,))

    def kill(self) -> None:
        """Kill the node at once (SIGKILL). Its data is kept as it is at that moment.

        The controller accepts the next start after the session of the killed node ends: after 9 seconds, the
        default of the property broker.session.timeout.ms. Do not set this property much lower, or a running
        node on a busy machine may lose its session, too.
        """
        super().kill()

    def restart(self) -> None:
        """Stop the node cleanly and start it on the same port with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the node if it runs, and remove its data unless `folder` was given."""
        self.stop()
        if not self._keep_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def is_ready(self) -> bool:
        """Return whether the node answers, and clients are sent to it."""
        return self.port in brokers(self.port)

    def _write_properties(self) -> Path:
        controller = free_port()
        listeners = ",".join(f"{name}://{self.listener(name)}" for name in self._ports)
        protocols = {"CONTROLLER": "PLAINTEXT"} | self._protocols
        ours = {
            "listeners": f"{listeners},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": listeners,
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": ",".join(f"{name}:{one}" for name, one in protocols.items()),
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "log.dirs": str(self.folder / "data"),
        }
        path = self.folder / "server.properties"
        merged = PROPERTIES | ours | self._properties
        path.write_text("".join(f"{key}={value}\n" for key, value in merged.items()))
        return path

    def _format(self, libs: Path, java: str, settings: Path) -> None:
        if (self.folder / "data" / "meta.properties").exists():
            return
        command = [
            "kafka.tools.StorageTool",
            "format",
            "-t",
            self._cluster or cluster_id(),
            "-c",
            str(settings),
            *self._format_options,
        ]
        done = subprocess.run(
            self._command(java, libs, "-XX:TieredStopAtLevel=1", *command),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Unavailable(
                f"Kafka could not format its storage in {self.folder}:\n{tail(done.stdout + done.stderr)}"
            )

    def _command(self, java: str, libs: Path, *arguments: str) -> list[str]:
        return [
            java,
            "-XX:+UseSerialGC",
            "-XX:-UsePerfData",
            f"-Djava.io.tmpdir={self.folder}",  # compression libraries are extracted there
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            "-cp",
            f"{libs}/*",
            *arguments,
        ]


def cluster_id() -> str:
    """Return a random cluster id: 16 bytes in URL-safe base64, without a leading `-` (an option)."""
    while (name := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return name
