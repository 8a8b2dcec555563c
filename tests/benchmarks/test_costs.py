"""The arithmetic of the costs; the benchmarks measure what they are made of."""

from __future__ import annotations

import pytest

from tests.benchmarks.costs import costs_of, points
from tests.benchmarks.scale import SIZES

FIGURES = {
    **{f"exact_{name}_microseconds": items / 400 for name, items in SIZES.items()},
    **{f"release_{name}_bytes": items * 2500.0 for name, items in SIZES.items()},
    "every_4k_cpu_microseconds": 35.0,
    "every_20k_cpu_microseconds": 75.0,
    "every_100k_cpu_microseconds": 55.0,
    "every_300k_cpu_microseconds": 75.0,
    "every_1m_cpu_microseconds": 100.0,
    "resident_empty_bytes": 1e8,
    "resident_100k_users_bytes": 1.5e8,
    "gib_per_million_users": 0.5,
    "click_bytes": 90.0,
    "list_bytes": 650.0,
    "state_bytes_per_click": 140.0,
    "saved_users_per_click": 0.31,
    "restore_1m_megabytes": 630.0,
    "restore_1m_seconds": 5.0,
    "takeover_250k_seconds": 11.3,
}


def test_costs_come_from_figures() -> None:
    """What is measured together is told apart."""
    costs = costs_of(FIGURES)

    assert costs.click_microseconds == 25
    assert costs.worker_bytes == 9e7
    assert costs.kept_user_bytes == 630
    assert costs.restored_bytes_per_second == pytest.approx(126e6)
    assert costs.saved_user_bytes == pytest.approx(140 / 0.31)


def test_points_compare_what_is_reckoned_with_what_is_measured() -> None:
    """The figures above are near each other."""
    for point in points(costs_of(FIGURES), FIGURES):
        assert point.reckoned == pytest.approx(point.measured, rel=0.1), point.what


def test_a_missing_figure_is_named() -> None:
    """So the user knows which benchmark to run."""
    with pytest.raises(KeyError, match="click_bytes"):
        costs_of({name: value for name, value in FIGURES.items() if name != "click_bytes"})
