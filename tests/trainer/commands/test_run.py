from __future__ import annotations

import socket
from dataclasses import replace
from urllib.request import urlopen

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from deploy.kafka.ports import free_port
from tests.builders import ITEMS, successor_release_parts
from trainer.commands.cli import cli
from trainer.commands.options import Duration
from trainer.continuous.metrics import Gauges, serving
from trainer.continuous.plan import Outcome
from worker.errors import SettingError


def refused(*arguments: str) -> str:
    """Why the command does not even look for Kafka."""
    try:
        return CliRunner().invoke(cli, ["run", *arguments], catch_exceptions=False).output
    except SettingError as error:
        return str(error)


def test_a_time_span_has_a_unit() -> None:
    """Anything else is refused with an example."""
    durations = [Duration().convert(text, None, None) for text in ("90s", "1.5m", "1h", "7d")]

    assert durations == [90, 90, 3_600, 604_800]
    assert "'60' is no time span like 30m, 1h or 7d" in refused("--every", "60")
    assert "'0h' is no time span" in refused("--every", "0h")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--share", "0.5"], "--share is for a candidate"),
        (["--window-days", "3", "--keep-days", "2"], "keep_days (2) is less than window_days (3)"),
        (["--every", "2d", "--window-days", "1"], "held_out (172800 s) must be shorter than window_days (1)"),
        (["--streaming", "--epochs", "3", "--no-warm"], "epochs, warm: a stream goes on"),
        (["--page", "64", "--page-half-life-hours", "2"], "page, page_half_life_hours: for the network of a"),
        (["--streaming", "--page", "1"], "Invalid value for '--page'"),
        (["--streaming", "--page-half-life-hours", "0"], "Invalid value for '--page-half-life-hours'"),
        (["--item-features", "items.csv"], "item_features is 'items.csv', it must be left out, or come with"),
        (
            ["--streaming", "--item-features", "items.csv"],
            "item_features is 'items.csv', it must be left out",
        ),
        (["--cache", "kept"], "cache: every round has other clicks"),
        (["--categorical", "genre"], "name item_features"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: list[str], problem: str) -> None:
    """Before anything else is done."""
    assert problem in refused(*arguments)


def test_the_metrics_of_a_trainer_are_served() -> None:
    """From a registry of its own; every outcome is there from the start, so that rates can be asked for."""
    gauges, port = Gauges(lambda: True, lambda: 0.0), free_port()
    manifest, _ = successor_release_parts(ITEMS)
    gauges.know(4, replace(manifest, created_at="1970-01-01T00:16:40+00:00"))
    gauges.know(3, replace(manifest, created_at="1970-01-01T00:01:40+00:00"))
    gauges.ended(Outcome.PUBLISHED, seconds=12.0, at=1_012.0)
    gauges.ended(Outcome.FAILED, seconds=1.0, at=2_000.0)
    with serving(gauges.registry, "127.0.0.1", port), urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()

    assert "nextclick_trainer_leads 1.0" in lines
    assert "nextclick_trainer_release 4.0" in lines
    assert "nextclick_trainer_last_release_timestamp_seconds 1000.0" in lines
    assert "nextclick_trainer_last_success_timestamp_seconds 1012.0" in lines
    assert 'nextclick_trainer_rounds_total{outcome="failed"} 1.0' in lines
    assert 'nextclick_trainer_rounds_total{outcome="too_few"} 0.0' in lines
    assert 'nextclick_trainer_gate_decisions_total{decision="worse"} 0.0' in lines


def test_a_port_that_is_taken_is_said() -> None:
    """The message names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with (
            pytest.raises(SettingError, match=f"cannot listen on 127.0.0.1:{port}"),
            serving(CollectorRegistry(), "127.0.0.1", port),
        ):
            pass
