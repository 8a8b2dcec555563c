"""What a deployment needs grows with its load, and follows from the costs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.clicks import zipf
from worker.core.sizing import BUSY, HIDDEN_SIZE, SPARE, Costs, Demand, Limits, size
from worker.core.tables import EXACT_NUMBERS

COSTS = Costs(
    click_microseconds=20.0,
    exact_microseconds={"1000": 10.0, "100000": 1000.0},
    approximate_microseconds={"1000": 20.0, "100000": 40.0},
    worker_bytes=1e8,
    release_bytes={"1000": 1e6, "100000": 1e8},
    user_bytes=500.0,
    click_bytes=90.0,
    list_bytes=650.0,
    saved_user_bytes=450.0,
    kept_user_bytes=600.0,
    restored_bytes_per_second=1e8,
)
LIMITS = Limits(memory_bytes=4 << 30, flush_seconds=30, session_timeout_seconds=10)
DEMAND = Demand(clicks_per_second=10_000, users=1e6, items=1000)

loads = st.builds(
    Demand,
    clicks_per_second=st.floats(1e-3, 1e7),
    users=st.floats(1, 1e10),
    items=st.integers(1, 2_000_000),
)


def test_the_cost_of_a_list_lies_between_those_of_the_measured_sizes() -> None:
    """Ten times the items in the middle of a hundred times: the root of a hundred times the cost."""
    assert COSTS.list_microseconds(1000) == pytest.approx(10)
    assert COSTS.list_microseconds(10_000) == pytest.approx(100)


def test_a_large_catalogue_is_ranked_approximately() -> None:
    """The bound is that of `auto` in a worker."""
    last = EXACT_NUMBERS // HIDDEN_SIZE

    assert COSTS.list_microseconds(last) == pytest.approx(10 * last / 1000)
    assert COSTS.list_microseconds(last + 1) == pytest.approx(
        20 * ((last + 1) / 1000) ** (math.log(2) / math.log(100))
    )
    assert COSTS.list_microseconds(1_000_000) > COSTS.list_microseconds(100_000)


def test_workers_follow_from_cpu_and_from_memory() -> None:
    """10,000 clicks of 30 microseconds are 0.3 cores."""
    found = size(DEMAND, COSTS, LIMITS)
    assert (found.workers, found.workers_for_cpu, found.workers_for_memory) == (2, 1, 1)
    assert found.clicks_growth == pytest.approx(2 / 0.3)

    busy = size(replace(DEMAND, clicks_per_second=100_000), COSTS, LIMITS)
    assert busy.workers == busy.workers_for_cpu == math.ceil(3 / BUSY)

    many = size(replace(DEMAND, users=1e8), COSTS, LIMITS)
    room = (4 << 30) / SPARE - 1e8 - 2e6
    assert many.workers == many.workers_for_memory == math.ceil(5e10 / room)


def test_times_follow_from_the_users_of_a_worker() -> None:
    """Half a million users of 600 bytes are 3 s; with two workers, one takes them all over."""
    found = size(DEMAND, COSTS, LIMITS)

    assert found.restore_seconds == pytest.approx(3)
    assert found.takeover_seconds == pytest.approx(13)


@pytest.mark.parametrize(("users", "clicks"), [(1000, 5000), (1_000_000, 300_000), (1_000_000, 100)])
def test_the_saved_users_are_those_of_drawn_clicks(users: int, clicks: int) -> None:
    """Within 5 % of the users that such clicks really have."""
    drawn = len(np.unique(zipf(np.random.default_rng(0), users, clicks)))

    found = size(Demand(clicks / 30, users, 1000), COSTS, LIMITS)

    assert found.state_bytes_per_second == pytest.approx(drawn * 450 / 30, rel=0.05)


@given(load=loads, times=st.floats(1, 100))
def test_more_load_never_needs_less(load: Demand, times: float) -> None:
    """More clicks, users or items need at least as many workers, bytes and seconds."""
    limits = replace(LIMITS, memory_bytes=1 << 40)
    found = size(load, COSTS, limits)

    more_clicks = size(replace(load, clicks_per_second=times * load.clicks_per_second), COSTS, limits)
    more_users = size(replace(load, users=times * load.users), COSTS, limits)
    more_items = size(replace(load, items=math.ceil(times * load.items)), COSTS, limits)

    assert more_clicks.workers_for_cpu >= found.workers_for_cpu
    assert more_clicks.state_bytes_per_second >= found.state_bytes_per_second * (1 - 1e-9)
    assert more_users.workers_for_memory >= found.workers_for_memory
    assert more_users.state_topic_bytes >= found.state_topic_bytes
    assert more_items.workers_for_memory >= found.workers_for_memory


@given(load=loads)
def test_a_worker_fits_its_memory_and_its_core(load: Demand) -> None:
    """No worker gets more than it is given, and one may be lost."""
    limits = replace(LIMITS, memory_bytes=1 << 40)

    found = size(load, COSTS, limits)

    assert found.worker_bytes <= limits.memory_bytes * (1 + 1e-9)
    assert load.clicks_per_second * found.click_microseconds / found.workers <= BUSY * 1e6 * (1 + 1e-9)
    assert found.workers >= 2
    assert found.partitions % found.workers == 0


def test_a_release_that_no_worker_can_hold_is_an_error() -> None:
    """It says what a worker needs."""
    with pytest.raises(ValueError, match=r"a worker needs 0\.3 GiB for a release of 100,000 items"):
        size(replace(DEMAND, items=100_000), COSTS, replace(LIMITS, memory_bytes=1 << 27))
