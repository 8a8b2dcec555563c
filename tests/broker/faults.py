"""What happens to workers and broker in a chaos round: drawn by a seed, then done at its time."""

from __future__ import annotations

import math
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from deploy.kafka.local import LocalKafka
from deploy.kafka.ports import free_port
from tests.broker.process import WorkerProcess, toml

BROKER: Final = "broker"
"""Where an act's target is the broker and not a worker."""


class Act(NamedTuple):
    """One thing done to `target`, `at` so many seconds after the faults of a round began."""

    at: float
    target: str
    what: str

    def __str__(self) -> str:
        return f"{self.at:.1f} {self.what} {self.target}"


class Fault(NamedTuple):
    """A kind of fault: the act that begins it, and the one that ends it after some seconds, if any."""

    weight: int
    begin: str
    end: str = ""
    shortest: float = 0.0
    longest: float = 0.0

    def acts(self, source: random.Random, at: float, target: str) -> list[Act]:
        """What is to be done for one such fault that begins `at`."""
        end = [Act(at + source.uniform(self.shortest, self.longest), target, self.end)] if self.end else []
        return [Act(at, target, self.begin), *end]


OF_WORKERS: Final = {
    "crash": Fault(3, "kill", "start", 0.0, 2.0),
    "loss": Fault(2, "kill"),
    "restart": Fault(2, "terminate", "start", 0.0, 2.0),
    "scale in": Fault(1, "terminate"),
    "scale out": Fault(3, "start"),
    # Longer than the session timeout of the rounds, and often than their transaction timeout.
    "zombie": Fault(3, "freeze", "wake", 2.5, 5.5),
    "pause": Fault(1, "freeze", "wake", 0.1, 2.5),
}
OF_BROKER: Final = {
    "broker restart": Fault(2, "stop", "start", 0.0, 2.0),
    "broker crash": Fault(2, "kill", "start", 0.0, 2.0),
    "broker pause": Fault(1, "freeze", "wake", 0.2, 2.5),
}
_WORKERS_UNTIL: Final = 0.65
_BROKER_UNTIL: Final = 0.4
"""In which part of a round faults begin: most have ended with it, and a broker needs seconds to be back."""


def schedule(source: random.Random, workers: Sequence[str], *, running: int, seconds: float) -> list[Act]:
    """Some faults of `workers`, and in every second round one of the only broker, in the order of time.

    They overlap as it happens: a worker is frozen while the broker is away, killed while it stops. All but
    those that add a worker hit one of the first `running`.
    """
    acts: list[Act] = []
    for kind in drawn(source, OF_WORKERS, source.randint(3, 6)):
        target = source.choice(workers if kind.begin == "start" else workers[:running])
        acts += kind.acts(source, source.uniform(0, _WORKERS_UNTIL * seconds), target)
    for kind in drawn(source, OF_BROKER, source.randint(0, 1)):
        acts += kind.acts(source, source.uniform(0, _BROKER_UNTIL * seconds), BROKER)
    return sorted(acts)


def drawn(source: random.Random, kinds: Mapping[str, Fault], number: int) -> list[Fault]:
    """Some of these faults, the more often the heavier they are."""
    return source.choices([*kinds.values()], [kind.weight for kind in kinds.values()], k=number)


class Fleet:
    """Workers by name, as an orchestrator keeps them: one that is wanted and not there is started.

    `settings` are those of a worker's TOML file by its name, without the HTTP port. Logs and settings
    go to `folder`. Their blocks have at most `block_rows` rows, 0: as many as usual. A context manager:
    leaving it kills what is left. `fallen` says of every worker that ended in a way nobody asked for.
    """

    def __init__(
        self, folder: Path, settings: Callable[[str], dict[str, Any]], *, block_rows: int = 0
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._small_blocks = [str(block_rows)] if block_rows else []
        self._wanted: set[str] = set()
        self._running: dict[str, WorkerProcess] = {}
        self._frozen: set[str] = set()
        self._stopping: set[str] = set()
        self._starts = 0
        self.fallen: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.end()

    def do(self, what: str, name: str) -> None:
        """Start, terminate, kill, freeze or wake a worker; nothing where that makes no sense just now."""
        process = self._running.get(name)
        if what == "start":
            self._wanted.add(name)
            self.tend()
        elif process is None:
            return
        elif what == "wake":
            self._wake(name)
        elif what == "freeze" and process.exit_code is None:
            process.sigstop()
            self._frozen.add(name)
        elif what in {"terminate", "kill"}:
            self._wanted.discard(name)
            self._end(name, what)

    def tend(self) -> None:
        """Start whom we want and have not; note who ended by itself."""
        for name, process in [*self._running.items()]:
            if process.exit_code is not None:
                self._note_end(name, process.exit_code)
                self._drop(name)
        for name in sorted(self._wanted - self._running.keys()):
            self._start(name)

    def statuses(self, path: str) -> list[int]:
        """The HTTP status of each worker at `path`; 0 where none answers."""
        return [process.http(path)[0] for process in self._running.values()]

    @property
    def running(self) -> list[WorkerProcess]:
        """The workers that run."""
        return [*self._running.values()]

    @property
    def served(self) -> float:
        """How many partitions the running workers serve together."""
        return sum(process.metric("nextclick_assigned_partitions") for process in self._running.values())

    def settle(self) -> None:
        """End all faults: nobody stays frozen, and somebody runs."""
        for name in [*self._frozen]:
            self._wake(name)
        if not self._wanted:
            self._wanted.add("a")
        self.tend()

    def stop(self, *, seconds: float, but: int = 0) -> None:
        """Ask all `but` so many to stop at once, and wait; `fallen` names who did not end well in time."""
        leaving = dict([*self._running.items()][but:])
        self._wanted.difference_update(leaving)
        for process in leaving.values():
            process.terminate()
        for name, process in leaving.items():
            try:
                code: int | None = process.wait(seconds)
            except AssertionError:
                code = None
            else:
                self._drop(name)
            # One that was started just now knows no signal yet.
            if code not in {0, -signal.SIGTERM}:
                self.fallen.append(
                    f"worker {name}: exit code {code} when all were stopped, {process.log_path}"
                )

    def _start(self, name: str) -> None:
        self._starts += 1
        port = free_port()
        config = self._folder / f"{self._starts:02d}-{name}.toml"
        config.write_text(toml(self._settings(name) | {"http": {"port": port}}))
        self._running[name] = WorkerProcess(
            [*self._small_blocks, "run", "--config", str(config)],
            log_path=config.with_suffix(".log"),
            http_port=port,
            module="tests.broker.small_blocks" if self._small_blocks else "worker",
        )

    def _wake(self, name: str) -> None:
        if name in self._frozen:
            self._frozen.discard(name)
            self._running[name].sigcont()

    def _end(self, name: str, what: str) -> None:
        if what == "terminate":
            self._stopping.add(name)
            self._running[name].terminate()
        else:
            self._running[name].kill9()
            self._drop(name)

    def _drop(self, name: str) -> None:
        del self._running[name]
        self._frozen.discard(name)
        self._stopping.discard(name)

    def _note_end(self, name: str, code: int) -> None:
        # One that was told to stop while the broker was away may have to give up waiting for it: 1.
        if name not in self._stopping or code not in {0, 1, -signal.SIGTERM}:
            self.fallen.append(f"worker {name} ended with {code}, {self._running[name].log_path}")


class Outages:
    """The times in which a broker was away, in ms, by the clock of this machine."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Beginnings and ends; infinity if it is still away."""
        return [*self._spans]

    def begin(self) -> None:
        """Note that a broker goes away, if none was away."""
        if not self._spans or self._spans[-1][1] < math.inf:
            self._spans.append((time.time() * 1000, math.inf))

    def end(self) -> None:
        """Note that it is back."""
        if self._spans:
            begin, end = self._spans[-1]
            self._spans[-1] = begin, min(end, time.time() * 1000)


class Switch:
    """Turns a broker off and on, beside the caller: what takes seconds delays no other fault.

    A context manager: leaving it waits for what is under way, and drops what is not.
    """

    def __init__(self, node: LocalKafka) -> None:
        self._node = node
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="broker")
        self._orders: list[Future[None]] = []
        self._runs = True
        self.outages = Outages()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def do(self, act: Act) -> None:
        """Start, stop, kill, freeze or wake the broker, after what was ordered before."""
        self._orders.append(self._thread.submit(self._do, act.what))

    @property
    def idle(self) -> bool:
        """Whether all orders have been done. Raises what went wrong."""
        return all(order.done() and order.result() is None for order in self._orders)

    def _do(self, what: str) -> None:
        if what == "start" and not self._runs:
            self._node.start()
            self._runs = True
            self.outages.end()
        elif what in {"stop", "kill"} and self._runs:
            self.outages.begin()
            self._runs = False
            self._node.stop() if what == "stop" else self._node.kill()
        elif what == "freeze" and self._runs:
            self.outages.begin()
            self._node.suspend()
        elif what == "wake" and self._runs:
            self._node.resume()
            self.outages.end()
