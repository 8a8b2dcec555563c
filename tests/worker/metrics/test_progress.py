"""The progress of partitions, as metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from worker.metrics.progress import FRESH_SECONDS, Look, Progress

LOOK_SECONDS = 5.0


@dataclass
class Scene:
    """One partition, a worker that looks at it, and their time. Records have the time as timestamp."""

    now: float = 1_000.0
    arrivals: list[float] = field(default_factory=list)
    """The time at which each record arrived."""
    position: int = 0

    def __post_init__(self) -> None:
        """Register the collector."""
        self.progress = Progress(lambda: self.now, lambda: self.now)
        self.registry = CollectorRegistry()
        self.registry.register(self.progress)

    def value(self, name: str) -> float | None:
        """Return the sample of partition 0."""
        return self.registry.get_sample_value(f"nextclick_{name}", {"partition": "0"})

    def arrive(self, number: int) -> None:
        """Let some records arrive."""
        self.arrivals += [self.now] * number

    def read(self, number: int) -> None:
        """Read and commit some records."""
        self.position += number
        self.progress.commit({0: self.position})

    def look(self, *, start: int = 0) -> None:
        """Look at the partition, which was taken over at offset `start`."""
        end = len(self.arrivals)
        read_ms = round(self.arrivals[self.position - 1] * 1000) if self.position > start else 0
        self.progress.look({0: Look(end, end - self.position, self.position, self.position, read_ms)}, [0])

    @property
    def truth(self) -> float:
        """The age of the oldest unread record; 0 if there is none."""
        return self.now - self.arrivals[self.position] if self.position < len(self.arrivals) else 0.0


def test_a_worker_that_keeps_up_has_the_lag_of_its_last_look() -> None:
    """It has read all that was there then."""
    scene = Scene()
    scene.arrive(10)
    scene.read(10)
    scene.look()
    scene.now += 3

    assert (scene.value("lag_records"), scene.value("lag_seconds")) == (0, 3)
    assert (scene.value("committed_offset"), scene.value("end_offset")) == (10, 10)


def test_a_busy_worker_keeps_up_though_there_is_always_something_to_read() -> None:
    """The records of the look before the last are read, so the lag is at most two intervals."""
    scene = Scene()
    for _ in range(20):
        scene.arrive(100)
        scene.look()
        scene.now += LOOK_SECONDS
        scene.read(100)

        assert scene.value("lag_seconds") == LOOK_SECONDS


def test_the_lag_grows_while_nothing_is_read() -> None:
    """As in a partition that stands still, while its worker looks at it."""
    scene = Scene()
    scene.look()
    for _ in range(10):
        scene.now += LOOK_SECONDS
        scene.arrive(1)
        scene.look()

    assert (scene.value("lag_records"), scene.value("lag_seconds")) == (10, 50)
    assert (scene.value("committed_offset"), scene.value("end_offset")) == (0, 10)


def test_the_lag_falls_with_what_is_read() -> None:
    """To the age of the first end that is not passed yet, without another look."""
    scene = Scene()
    scene.look()
    for _ in range(10):
        scene.now += LOOK_SECONDS
        scene.arrive(1)
        scene.look()
    scene.read(6)

    assert scene.value("lag_seconds") == 20


def test_without_answers_the_lag_grows_and_the_number_of_records_is_absent() -> None:
    """A frozen broker does not leave an old 0 behind."""
    scene = Scene()
    scene.look()
    scene.now += FRESH_SECONDS

    assert (scene.value("lag_records"), scene.value("end_offset")) == (0, 0)

    scene.now += 1

    assert (scene.value("lag_records"), scene.value("end_offset")) == (None, None)
    assert (scene.value("lag_seconds"), scene.value("committed_offset")) == (FRESH_SECONDS + 1, 0)


def test_after_a_failure_the_number_of_records_is_absent_until_the_next_look() -> None:
    """The lag in seconds goes on from what is committed."""
    scene = Scene()
    scene.arrive(5)
    scene.read(5)
    scene.look()
    scene.now += 2
    scene.progress.forget()

    assert (scene.value("lag_records"), scene.value("lag_seconds")) == (None, 2)

    scene.look()

    assert (scene.value("lag_records"), scene.value("lag_seconds")) == (0, 0)


def test_after_a_start_behind_the_end_the_lag_is_the_age_of_the_last_record_read() -> None:
    """Nothing is known of the time before; then the first end is passed."""
    scene = Scene()
    for _ in range(100):
        scene.arrive(1)
        scene.now += 10
    scene.look(start=0)
    scene.now += LOOK_SECONDS
    scene.read(90)
    scene.look(start=0)

    assert scene.value("lag_seconds") == 110 + LOOK_SECONDS

    scene.read(10)

    assert scene.value("lag_seconds") == 0


@pytest.mark.parametrize("skew_seconds", [1e6, 0.0])
def test_timestamps_of_the_future_never_hide_a_lag(skew_seconds: float) -> None:
    """It is at least the time since the worker serves the partition; also if it has read nothing."""
    scene = Scene()
    scene.arrive(10)
    scene.arrivals = [one + skew_seconds for one in scene.arrivals]
    scene.position = 5 if skew_seconds else 0
    scene.look()
    scene.now += 40

    assert scene.value("lag_seconds") == 40


def test_partitions_that_are_gone_have_no_series() -> None:
    """Another worker has them now; a partition in recovery is not gone."""
    scene = Scene()
    scene.look()
    scene.progress.look({}, [0])

    assert scene.value("lag_seconds") == 0

    scene.progress.look({}, [])

    assert [scene.value(name) for name in ("lag_records", "lag_seconds", "committed_offset")] == [None] * 3


STEPS = st.lists(
    st.tuples(st.sampled_from(["arrive", "read", "look", "wait"]), st.integers(1, 20)), max_size=200
)


@given(STEPS)
def test_no_unread_record_is_older_than_the_lag(steps: list[tuple[str, int]]) -> None:
    """Whatever happens, once the partition is looked at; and what is committed is exact."""
    scene = Scene()
    scene.look()
    for step, number in steps:
        if step == "arrive":
            scene.arrive(number)
        elif step == "read":
            scene.read(min(number, len(scene.arrivals) - scene.position))
        elif step == "look":
            scene.look()
        else:
            scene.now += number

        assert (scene.value("lag_seconds") or 0.0) >= scene.truth
        assert scene.value("committed_offset") == scene.position


def test_after_hours_of_standing_still_the_lag_is_still_an_upper_bound() -> None:
    """The number of ends that are kept is limited."""
    scene = Scene()
    scene.look()
    for _ in range(3_000):
        scene.now += LOOK_SECONDS
        scene.arrive(1)
        scene.look()
    while scene.position < len(scene.arrivals):
        scene.read(50)
        lag = scene.value("lag_seconds") or 0.0

        assert scene.truth <= lag <= scene.truth + 200
    assert len(scene.progress._partitions[0].ends) <= 512
