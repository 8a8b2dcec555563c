"""What worker and trainer export, as Prometheus reads it over HTTP, checked by promtool."""

from __future__ import annotations

from urllib.request import urlopen

import pytest

from deploy.kafka.ports import free_port
from tests.builders import ITEMS, successor_release_parts
from tests.deploy.tools import run, tool
from tests.worker.desk import Desk
from trainer.continuous.metrics import TrainingMetrics
from trainer.continuous.plan import RunOutcome
from trainer.experiment.metrics import ExperimentMetrics
from trainer.experiment.sequential import Experiment, Rules
from trainer.prometheus import ProgramMetrics, serving
from worker.clock import Clock
from worker.http.server import serving as serving_worker


def scraped(port: int) -> str:
    """Return what a scrape gets."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text: str = answer.read().decode()
        return text


def assert_sound(text: str) -> None:
    """Promtool reads the text and finds no fault with the names."""
    done = run(tool("promtool"), "check", "metrics", given=text)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_metrics_of_a_worker_are_sound() -> None:
    """Of one that has read clicks and dead letters, failed, and answered."""
    desk = Desk(partitions=2)
    worker = desk.serving()
    for number in range(20):
        desk.click(f"user-{number}", ITEMS[number % 3])
    desk.send(b"garbage")
    desk.cluster.fail("commit")
    desk.settle()
    process = worker.process
    with serving_worker(
        "127.0.0.1",
        0,
        token=None,
        registry=process.metrics.registry,
        metrics=process.metrics.http,
        readiness=process.readiness,
        questions=process.questions,
    ) as port:
        text = scraped(port)

    assert 'nextclick_lag_seconds{partition="1"}' in text
    assert_sound(text)


def training() -> TrainingMetrics:
    """Return the metrics of a trainer that has published a release."""
    metrics = TrainingMetrics(lambda: True, Clock())
    with metrics.stage("fit"):
        metrics.found(1, successor_release_parts(ITEMS)[0])
    metrics.ended(RunOutcome.PUBLISHED, seconds=1.0)
    return metrics


def experiment() -> ExperimentMetrics:
    """Return the metrics of a watch that has looked."""
    metrics = ExperimentMetrics(Clock())
    metrics.observe(2, Experiment(Rules()))
    return metrics


@pytest.mark.parametrize("metrics", [training(), experiment()], ids=lambda one: type(one).__name__)
def test_the_metrics_of_a_trainer_are_sound(metrics: ProgramMetrics) -> None:
    """Of `run` and of `watch`."""
    port = free_port()
    with serving(metrics, "127.0.0.1", port):
        text = scraped(port)

    assert "nextclick_build_info{" in text
    assert_sound(text)


def test_promtool_finds_faults() -> None:
    """Or the tests above would pass whatever is exported."""
    done = run(tool("promtool"), "check", "metrics", given="# TYPE lamps counter\nlamps 1\n")

    assert done.returncode != 0
    assert "lamps" in done.stdout + done.stderr
