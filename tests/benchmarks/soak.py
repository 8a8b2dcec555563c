"""Whether a worker that runs for long needs more and more of anything. `make soak MINUTES=60`.

Two workers serve a steady load of known users. Meanwhile, releases with other weights and partly other items
are published, a third worker comes and goes, users are deleted, and some records are no clicks. What the two
workers need is measured every few seconds. All samples go to `build/soak.csv`, the slopes per hour to
`build/soak.json`. Ends with 1 if a quantity grows by more than its bound.
"""

from __future__ import annotations

import csv
import gc
import itertools
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import numpy as np
import orjson
import psutil
from prometheus_client.parser import text_string_to_metric_families

from deploy.java import Unavailable
from deploy.kafka.local import LocalKafka
from tests.benchmarks import clicks, machine
from tests.benchmarks.clicks import Flow
from tests.benchmarks.stand import PARTITIONS, Stand
from tests.benchmarks.takeover import wait_until_served, worker_of
from tests.benchmarks.trend import GROWS, OPEN, Floats, Trend, quantile
from tests.broker.client import Client, Record
from tests.broker.process import ROOT, WorkerProcess
from tests.builders import item_names, tiny_release_parts
from worker.kafka.connection import KafkaConnection
from worker.topics import releases, state_changes, state_scan

RATE: Final = 200
USERS: Final = 5_000
ITEMS: Final = 1_000
NEW_ITEMS: Final = 50
"""How many items of a release are in no other one."""
HIDDEN_SIZE: Final = 64
LIVING: Final = ("a", "b")

SAMPLE_SECONDS: Final = 5.0
EVERY_SECONDS: Final = {"publish": 60.0, "rebalance": 45.0, "forget": 10.0, "bad": 5.0}
"""How often each thing happens. A rebalance: the third worker starts, or stops."""

WARM_SHARE, WARM_MOST_SECONDS = 0.25, 900.0
"""The share of the time that is left out at the beginning, and how much at most."""

SHORTEST_HOURS: Final = 0.2
"""Below this counted time, nothing is said to grow: the interval of a few points is too small."""

POINTS: Final = 120
"""At most so many points of time are compared; each stands for the samples around it."""


class Quantity(NamedTuple):
    """A measured quantity: how it is shown, and by how much it may grow in an hour to be called flat."""

    label: str
    shown: str
    bound: float
    relative: bool = False
    """Whether the bound is a share of the median."""

    def most(self, trend: Trend) -> float:
        """Return the bound in the quantity's own unit."""
        return self.bound * trend.level if self.relative else self.bound


QUANTITIES: Final = {
    "resident_mib": Quantity("resident memory, MiB", "{:.1f}", 5.0),
    "file_descriptors": Quantity("file descriptors", "{:.1f}", 1.0),
    "threads": Quantity("threads", "{:.1f}", 1.0),
    "p99_milliseconds": Quantity("p99 of click to list, ms", "{:.0f}", 0.10, relative=True),
    "cpu_microseconds": Quantity("CPU per click, µs", "{:.0f}", 0.10, relative=True),
}
"""What is measured of each worker. The bounds were set before anything was measured."""


class Sample(NamedTuple):
    """What a worker needed at a moment; counters since its start."""

    hours: float
    resident_mib: float
    file_descriptors: int
    threads: int
    cpu_seconds: float
    clicks: float
    counts: tuple[float, ...]
    """The lists in each bucket of the histogram of click to list."""


def sample(worker: WorkerProcess, began: float) -> tuple[Sample, Floats]:
    """Return what a worker needs now, and the upper ends of the histogram's buckets."""
    process = psutil.Process(worker.pid)
    with process.oneshot():
        cpu = process.cpu_times()
        resident, threads, files = process.memory_info().rss, process.num_threads(), process.num_fds()
    name, counted, applied = "nextclick_click_to_recommendation_seconds", dict[float, float](), 0.0
    for family in text_string_to_metric_families(worker.http("/metrics")[1]):
        for one in family.samples:
            if one.name == f"{name}_bucket":
                counted[float(one.labels["le"])] = one.value
            elif one.name == "nextclick_clicks_total":
                applied = one.value
    bounds = np.array(sorted(counted))
    counts = np.diff([0.0, *(counted[bound] for bound in bounds)])
    found = Sample(
        (time.monotonic() - began) / 3600,
        resident / 2**20,
        files,
        threads,
        cpu.user + cpu.system,
        applied,
        tuple(counts.tolist()),
    )
    return found, bounds[:-1]


def series(samples: Sequence[Sample], bounds: Floats) -> tuple[Floats, dict[str, Floats]]:
    """Return times in hours, and each quantity at these times, from samples in order.

    Each point is the median of some samples, or what came between the first and the last of them.
    """
    points = min(POINTS, len(samples) - 1)
    edges = np.linspace(0, len(samples) - 1, points + 1).astype(int)
    spans = [(samples[begin], samples[end]) for begin, end in itertools.pairwise(edges)]
    parts = [samples[begin : end + 1] for begin, end in itertools.pairwise(edges)]

    def medians(name: str) -> Floats:
        return np.array([np.median([getattr(one, name) for one in part]) for part in parts])

    cpu = [(last.cpu_seconds - first.cpu_seconds) / (last.clicks - first.clicks) for first, last in spans]
    p99 = [quantile(bounds, np.subtract(last.counts, first.counts), 0.99) for first, last in spans]
    return np.array([(first.hours + last.hours) / 2 for first, last in spans]), {
        "resident_mib": medians("resident_mib"),
        "file_descriptors": medians("file_descriptors"),
        "threads": medians("threads"),
        "p99_milliseconds": np.array(p99) * 1e3,
        "cpu_microseconds": np.array(cpu) * 1e6,
    }


def trends(samples: Mapping[str, Sequence[Sample]], bounds: Floats) -> dict[tuple[str, str], Trend]:
    """Return the trend of each quantity of each worker."""
    found = {}
    for worker, its in samples.items():
        hours, values = series(its, bounds)
        for name in QUANTITIES:
            known = ~np.isnan(values[name])
            found[name, worker] = Trend.of(hours[known], values[name][known])
    return found


def verdict(name: str, trend: Trend, hours: float) -> str:
    """Return what is said of a quantity that was counted for that many hours."""
    said = trend.verdict(QUANTITIES[name].most(trend))
    return OPEN if said == GROWS and hours < SHORTEST_HOURS else said


def figures(found: Mapping[tuple[str, str], Trend]) -> dict[str, float]:
    """Return the trends as flat figures by name."""
    return {
        f"{worker}_{name}{what}": value
        for (name, worker), trend in found.items()
        for what, value in (
            ("", trend.level),
            ("_per_hour", trend.slope),
            ("_per_hour_low", trend.low),
            ("_per_hour_high", trend.high),
        )
    }


def table(found: Mapping[tuple[str, str], Trend], hours: float) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"{'':26}{'worker':8}{'median':>9}   {'slope per hour, 95 % interval':34}{'bound':>8}  verdict"
    for name, quantity in QUANTITIES.items():
        show = quantity.shown.format
        for (_, worker), trend in ((key, one) for key, one in found.items() if key[0] == name):
            interval = f"{trend.slope:+.2f} ({trend.low:+.2f} to {trend.high:+.2f})"
            bound = quantity.most(trend)
            yield (
                f"{quantity.label:26}{worker:8}{show(trend.level):>9}   {interval:34}{bound:8.1f}  "
                f"{verdict(name, trend, hours)}"
            )


class Soak:
    """Everything that happens while the two workers are watched, and how often it has happened."""

    def __init__(self, stand: Stand, life: ExitStack) -> None:
        self.stand, self.life = stand, life
        self.settings = stand.settings(0, publish="every", publish_max_age=0)
        self.topics = self.settings["topics"]
        self.connection = KafkaConnection(stand.bootstrap)
        self.client = Client(stand.bootstrap)
        self.done = dict.fromkeys(EVERY_SECONDS, 0)
        self.guest: ExitStack | None = None
        """The life of the third worker, while it runs."""

    def start(self) -> dict[str, WorkerProcess]:
        """Publish a release, start the two workers, and let them know all users."""
        self.publish()
        workers = {
            name: self.life.enter_context(self.stand.worker(worker_of(self.settings, name)))
            for name in LIVING
        }
        wait_until_served([*workers.values()], PARTITIONS)
        known = (clicks.click(user, user % ITEMS) for user in range(USERS))
        self.stand.sender.all_at_once(self.topics["clicks"], known)
        return workers

    def publish(self) -> None:
        """Publish a release, as the trainer does: other weights, and some items that no other one has."""
        self.done["publish"] += 1
        number = self.done["publish"]
        new = tuple(f"new-{number}-{item}" for item in range(NEW_ITEMS))
        parts = tiny_release_parts(item_names(ITEMS - NEW_ITEMS) + new, hidden_size=HIDDEN_SIZE, seed=number)
        releases.publish(self.connection, self.topics["releases"], *parts)

    def rebalance(self) -> None:
        """Start the third worker, or stop it."""
        self.done["rebalance"] += 1
        if self.guest is not None:
            self.guest.close()
            self.guest = None
        else:
            self.guest = self.life.enter_context(ExitStack())
            self.guest.enter_context(self.stand.worker(worker_of(self.settings, "guest")))

    def forget(self) -> None:
        """Have a user deleted, who will click again."""
        self.done["forget"] += 1
        marks = state_scan.marks(
            self.connection,
            topic=self.topics["clicks"],
            group=self.settings["group"],
            partitions=range(PARTITIONS),
        )
        state_changes.ask_to_forget(
            self.connection,
            f"user-{self.done['forget'] * 7 % USERS}",
            {partition: one.end for partition, one in marks.items()},
            topic=self.topics["state"],
            asked_at=time.time_ns() // 1_000_000,
        )

    def bad(self) -> None:
        """Send records that are no clicks."""
        self.done["bad"] += 1
        self.client.send(self.topics["clicks"], [Record(b"no click"), Record(b'{"user_id": 7}')])


def run(stand: Stand, seconds: float) -> tuple[dict[str, list[Sample]], Floats, dict[str, int]]:
    """Return the samples of each worker, the buckets of their histograms, and what happened how often."""
    with ExitStack() as life:
        soak = Soak(stand, life)
        workers = soak.start()
        samples: dict[str, list[Sample]] = {name: [] for name in workers}
        bounds = np.zeros(0)
        due = {name: random.Random(name).uniform(0, every) for name, every in EVERY_SECONDS.items()}
        flow = Flow(stand.bootstrap, soak.topics["clicks"], users=USERS, items=ITEMS, rate=RATE)
        with flow:
            began = time.monotonic()
            while (now := time.monotonic() - began) < seconds:
                for name, worker in workers.items():
                    assert worker.exit_code is None, f"worker {name} ended; its log:\n{worker.log}"
                    taken, bounds = sample(worker, began)
                    samples[name].append(taken)
                for name in [name for name, at in due.items() if at <= now]:
                    due[name] += EVERY_SECONDS[name]
                    getattr(soak, name)()
                time.sleep(max(0.0, began + now + SAMPLE_SECONDS - time.monotonic()))
        happened = (
            soak.done
            | {"clicks": flow.sent}
            | {
                f"{name}_starts_over": int(one.metric("nextclick_checkpoints_total", outcome="failed"))
                for name, one in workers.items()
            }
        )
    return samples, bounds, happened


def warm_hours(seconds: float) -> float:
    """Return how long the warm-up is in a load of so many seconds."""
    return min(WARM_SHARE * seconds, WARM_MOST_SECONDS) / 3600


def write(folder: Path, samples: Mapping[str, list[Sample]], measured: Mapping[str, Any]) -> None:
    """Write all samples, and the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "soak.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["worker", *Sample._fields[:-1]])
        lines.writerows([name, *one[:-1]] for name, its in samples.items() for one in its)
    (folder / "soak.json").write_bytes(orjson.dumps(measured, option=orjson.OPT_INDENT_2))


@click.command()
@click.option("--minutes", default=60.0, show_default=True, help="How long the load lasts.")
def main(*, minutes: float) -> None:
    """Watch two workers under a steady load, and print by how much what they need grows in an hour."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    about = [*machine.lines()]
    try:
        with tempfile.TemporaryDirectory() as folder, LocalKafka() as kafka:
            stand = Stand(kafka.bootstrap, Path(folder), worker={})
            samples, bounds, happened = run(stand, minutes * 60)
            gc.collect()  # producers that outlive the broker complain on standard error
    except Unavailable as error:
        raise click.ClickException(str(error)) from error
    warm = warm_hours(minutes * 60)
    hours = minutes / 60 - warm
    warmed = {name: [one for one in its if one.hours >= warm] for name, its in samples.items()}
    found = trends(warmed, bounds)
    said = {f"{worker}_{name}_verdict": verdict(name, one, hours) for (name, worker), one in found.items()}
    write(ROOT / "build", samples, {"minutes": minutes, **happened, **figures(found), **said})
    click.echo("\n".join([*about, f"{minutes:g} minutes, {hours * 60:g} of them counted: {happened}", ""]))
    click.echo("\n".join(table(found, hours)))
    sys.exit(GROWS in said.values())


if __name__ == "__main__":
    main()
