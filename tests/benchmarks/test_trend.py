"""The slope of a series, its interval, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.trend import FLAT, GROWS, OPEN, Floats, Trend, quantile

HOURS = np.linspace(0, 1, 120)


FEW = np.linspace(0, 1, 40)


def noise(seed: int, hours: Floats = HOURS, *, memory: float = 0.5) -> Floats:
    """Noise of which each value resembles the one before it."""
    random, values = np.random.default_rng(seed), np.zeros(len(hours))
    for place in range(1, len(hours)):
        values[place] = memory * values[place - 1] + random.normal()
    return values


def test_a_line_has_its_slope_and_no_doubt() -> None:
    """Also where single values are far off."""
    values = 100 + 3 * HOURS
    values[[5, 50, 90]] += 1_000
    trend = Trend.of(HOURS, values)

    assert trend.slope == pytest.approx(3)
    assert trend.low == pytest.approx(3)
    assert trend.high == pytest.approx(3)
    assert trend.level == pytest.approx(101.5, abs=0.1)


def test_what_never_changes_is_flat() -> None:
    """With an interval of nothing but 0."""
    trend = Trend.of(HOURS, np.full(len(HOURS), 17.0))

    assert (trend.level, trend.slope, trend.low, trend.high) == (17, 0, 0, 0)
    assert trend.verdict(0) == FLAT


def test_the_interval_covers_the_true_slope_about_as_often_as_it_says() -> None:
    """In noise that has a memory: an interval for independent values would miss it far more often."""
    found = [Trend.of(FEW, 5 * FEW + noise(seed, FEW), seed=seed) for seed in range(60)]
    covered = sum(one.low <= 5 <= one.high for one in found)

    assert covered >= 0.8 * len(found)


@pytest.mark.parametrize(
    ("slope", "bound", "verdict"), [(0, 10, FLAT), (40, 10, GROWS), (0, 0.1, OPEN), (10, 10, OPEN)]
)
def test_a_verdict_needs_the_whole_interval(slope: float, bound: float, verdict: str) -> None:
    """Below the bound or above it; else the time was too short."""
    assert Trend.of(HOURS, slope * HOURS + noise(3)).verdict(bound) == verdict


def test_a_quantile_lies_in_its_bucket() -> None:
    """Evenly between the ends; beyond the last bound there is none to lie at."""
    bounds = np.array([0.01, 0.02, 0.04])

    assert quantile(bounds, np.array([50.0, 50, 0, 0]), 0.5) == pytest.approx(0.01)
    assert quantile(bounds, np.array([0.0, 0, 100, 0]), 0.75) == pytest.approx(0.035)
    assert quantile(bounds, np.array([0.0, 0, 0, 9]), 0.99) == 0.04
    assert np.isnan(quantile(bounds, np.zeros(4), 0.99))
