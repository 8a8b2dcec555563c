"""One table of what it costs to keep user states and to get them back, on a real Kafka. `make bench-state`.

The figures also go to `build/bench-state.json`, with those that are there already. Everything takes 30
minutes; `ARGS=--quick` is a smoke run that writes no file, `ARGS="--only memory"` a part.
"""

from __future__ import annotations

from typing import Final

from tests.benchmarks import memory, precision, rolling, saving, state_report, takeover
from tests.benchmarks.frame import Bench, command
from tests.benchmarks.saving import ITEMS, Sizes
from tests.benchmarks.stand import Stand
from tests.benchmarks.warm import warm_stand
from worker.config import State

KAFKA: Final = {
    # Half an hour of recommendations is not worth its disk.
    "log.retention.bytes": str(256 << 20),
    "log.segment.bytes": str(64 << 20),
    "log.retention.check.interval.ms": "30000",
}
FULL: Final = Sizes(
    users=1_000_000,
    few_users=250_000,
    precision_clicks=600_000,
    restores=3,
    rounds=2,
    flush_seconds=State().flush_interval,
    steady_seconds=500,
    skipped_seconds=35,
    counted_seconds=30,
    quiet_seconds=10,
    settle_seconds=5,
    compacted_seconds=30,
    # Kafka's own, which the local one shortens for tests: a takeover must not be faster than in life.
    broker={"transaction.abort.timed.out.transaction.cleanup.interval.ms": "10000"},
    worker={},
)
QUICK: Final = Sizes(
    users=50_000,
    few_users=10_000,
    precision_clicks=15_000,
    restores=1,
    rounds=1,
    flush_seconds=3,
    steady_seconds=5,
    skipped_seconds=2,
    counted_seconds=4,
    quiet_seconds=2,
    settle_seconds=1,
    compacted_seconds=1,
    broker={},
    worker={"session_timeout_ms": 3_000, "heartbeat_interval_ms": 500, "transaction_timeout_ms": 3_000},
)

BENCH: Final = Bench[Stand, Sizes](
    name="bench-state",
    measures={
        "memory": memory.memory,
        "steady": saving.steady,
        "cost": saving.cost,
        "latency": saving.latency,
        "takeover": takeover.takeover,
        "others": takeover.others,
        "rolling": rolling.rolling,
        "precision": precision.precision,
    },
    full=FULL,
    quick=QUICK,
    stand=lambda sizes: warm_stand(ITEMS, KAFKA | dict(sizes.broker), worker=sizes.worker),
    table=state_report.table,
)
main = command(BENCH)


if __name__ == "__main__":
    main()
