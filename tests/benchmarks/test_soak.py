"""What `make soak` makes of its samples; the run itself takes minutes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.soak import (
    POINTS,
    QUANTITIES,
    Sample,
    figures,
    series,
    table,
    trends,
    verdict,
    warm_hours,
)
from tests.benchmarks.trend import FLAT, GROWS, OPEN

BOUNDS = np.array([0.01, 0.1])


def samples(*, leak_mib: float = 0.0) -> list[Sample]:
    """Return the samples of an hour: 100 clicks a second, each 1 ms of CPU time, 2 % of them slow."""
    return [
        Sample(
            hours=second / 3600,
            resident_mib=100 + leak_mib * second / 3600,
            file_descriptors=30,
            threads=12 + second // 1800,
            cpu_seconds=0.1 * second,
            clicks=100 * second,
            counts=(98.0 * second, 2.0 * second, 0.0),
        )
        for second in range(0, 3600, 5)
    ]


def test_points_stand_for_the_samples_around_them() -> None:
    """Counters become what came between two samples."""
    hours, values = series(samples(leak_mib=60), BOUNDS)

    assert len(hours) == POINTS
    assert values.keys() == QUANTITIES.keys()
    assert values["cpu_microseconds"] == pytest.approx(np.full(POINTS, 1_000))
    assert values["p99_milliseconds"] == pytest.approx(np.full(POINTS, 55))
    assert values["resident_mib"][[0, -1]] == pytest.approx([100.25, 159.75], abs=0.2)


def test_a_leak_is_seen_and_all_else_is_flat() -> None:
    """In the worker that leaks; the table and the file say the same."""
    found = trends({"a": samples(leak_mib=12), "b": samples()}, BOUNDS)
    lines = [*table(found, hours=1.0)]

    assert found["resident_mib", "a"].slope == pytest.approx(12)
    assert [line.split()[-1] for line in lines if line.startswith("resident")] == [GROWS, FLAT]
    assert [verdict(name, one, 1.0) for (name, worker), one in found.items() if worker == "b"] == [
        FLAT,
        FLAT,
        OPEN,
        FLAT,
        FLAT,
    ]
    assert len(lines) == 1 + 2 * len(QUANTITIES)
    assert figures(found)["a_resident_mib_per_hour"] == pytest.approx(12)


def test_a_short_run_never_says_that_something_grows() -> None:
    """A quarter of the time, or fifteen minutes, is not counted."""
    leaking = trends({"a": samples(leak_mib=12)}, BOUNDS)["resident_mib", "a"]

    assert verdict("resident_mib", leaking, 0.1) == OPEN
    assert warm_hours(600) == pytest.approx(150 / 3600)
    assert warm_hours(10 * 3600) == 0.25
