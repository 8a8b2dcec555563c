"""A broker that is away for a while: what workers say meanwhile, and how soon they serve again after it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from deploy.kafka.local import LocalKafka
from tests.broker.faults import Fleet
from tests.broker.load import Load, records
from tests.broker.rounds import ITEMS, PARTITIONS, finish, stage
from tests.builders import tiny_release_parts
from tests.verdict import Verdict
from tests.waiting import eventually
from worker.core.release import verify

READY_SECONDS: Final = 10.0
"""How soon after the broker's return all workers must serve again."""

PER_SECOND: Final = 200
_AROUND_SECONDS: Final = 3.0
"""How long all is well before it and after."""
_NOTICED_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Outage:
    """What was seen: when the workers noticed, when they served again, and what was left."""

    noticed_seconds: float
    ready_seconds: float
    verdict: Verdict

    @property
    def good(self) -> bool:
        """Whether all is as it must be."""
        return self.verdict.good and self.ready_seconds <= READY_SECONDS


def run_outage(node: LocalKafka, folder: Path, *, seconds: float) -> Outage:
    """Kill a running node under two workers with default settings, and bring it back after `seconds`.

    It stays away longer where the workers have not noticed by then: /readyz must say so, /livez must not.
    """
    parts = tiny_release_parts(ITEMS, hidden_size=32)
    given = records(
        np.random.default_rng(0),
        round(PER_SECOND * (seconds + 2 * _AROUND_SECONDS)),
        users=1_000,
        items=len(ITEMS),
        partitions=PARTITIONS,
    )
    with stage(node, f"outage-{time.time_ns()}") as deployment:
        release = verify(*parts, number=deployment.publish(*parts))
        load = Load(
            node.bootstrap,
            deployment.clicks,
            given,
            per_second=PER_SECOND,
            log_path=folder / "load.log",
        )
        with Fleet(folder, deployment.settings) as fleet:
            for name in ("a", "b"):
                fleet.do("start", name)
            _wait(fleet, 200, 60, "both workers to be ready")
            with load:
                time.sleep(_AROUND_SECONDS)
                node.kill()
                noticed = _away(fleet, seconds)
                node.start()
                ready = _wait(fleet, 200, 60, "both workers to serve again")
                eventually(lambda: load.done, 60, "the load to end")
                return Outage(noticed, ready, finish(deployment, fleet, release))


def _away(fleet: Fleet, seconds: float) -> float:
    """Sit the outage out; how soon the workers noticed it."""
    began = time.monotonic()
    noticed = _wait(fleet, 503, _NOTICED_SECONDS, "both workers to say that they are not ready")
    while time.monotonic() < began + seconds:
        assert fleet.statuses("/readyz") == [503, 503]
        assert fleet.statuses("/livez") == [200, 200]
        time.sleep(0.1)
    return noticed


def _wait(fleet: Fleet, status: int, seconds: float, what: str) -> float:
    """How long it took until /readyz of both workers had this status."""
    began = time.monotonic()
    eventually(lambda: fleet.statuses("/readyz") == [status, status], seconds, what)
    return time.monotonic() - began
