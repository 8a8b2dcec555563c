"""The laws of every benchmark program; what one measures is measured by `make bench`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import click
import orjson
import pytest
from click.testing import CliRunner, Result

from deploy.java import Unavailable
from tests.benchmarks import bench, bench_refresh, bench_state
from tests.benchmarks.frame import Bench, Figures, command

Measure = Callable[[str, str], Figures]


def broken(_: str, __: str) -> Figures:
    """Fail as a worker does that ended: the log follows."""
    raise AssertionError("the worker ended; its log:\nline one\nline two")


def interrupted(_: str, __: str) -> Figures:
    """Fail as on Ctrl-C."""
    raise KeyboardInterrupt


def program(
    folder: Path, *, stand: Callable[[str], AbstractContextManager[str]] = nullcontext, **measures: Measure
) -> click.Command:
    """Return a program with these measures, which keeps its figures in `folder`."""

    def table(figures: Mapping[str, float]) -> Iterable[str]:
        return (f"{name} is {value:g}" for name, value in figures.items())

    return command(
        Bench(
            name="some",
            measures=measures,
            full="full",
            quick="quick",
            stand=stand,
            table=table,
            about=lambda: ["a machine"],
            folder=folder,
        )
    )


def called(program: click.Command, *arguments: str) -> Result:
    """Return what the program printed, and its exit code."""
    return CliRunner().invoke(program, arguments)


def kept(folder: Path) -> dict[str, object]:
    """Return what is in the file."""
    document: dict[str, object] = orjson.loads((folder / "some.json").read_bytes())
    return document


def test_all_measures_go_to_the_table_and_to_the_file(tmp_path: Path) -> None:
    """The file is flat, has no failures, and keeps the figures of earlier runs."""
    (tmp_path / "some.json").write_bytes(b'{"earlier": 7, "ones": 8}')
    found = called(program(tmp_path, one=lambda _, __: {"ones": 1}, two=lambda _, __: {"twos": 2}))

    assert found.exit_code == 0
    assert found.stdout.splitlines() == ["a machine", "", "ones is 1", "twos is 2"]
    assert kept(tmp_path) == {"earlier": 7, "ones": 1, "twos": 2}


def test_a_measure_that_fails_costs_no_other_its_figures(tmp_path: Path) -> None:
    """Its name and the first line of its error are in the table and in the file; the exit code is 1."""
    found = called(program(tmp_path, bad=broken, good=lambda _, __: {"goods": 1}))
    error = "AssertionError: the worker ended; its log:"

    assert found.exit_code == 1
    assert found.stdout.splitlines() == ["a machine", "", "goods is 1", "", f"FAILED bad: {error}"]
    assert kept(tmp_path) == {"goods": 1, "failed": {"bad": error}}


def test_a_failure_stays_in_the_file_until_the_measure_succeeds(tmp_path: Path) -> None:
    """Other measures do not clear it."""
    called(program(tmp_path, bad=broken, other=broken))
    called(program(tmp_path, other=lambda _, __: {"others": 1}))
    after_other = kept(tmp_path)
    called(program(tmp_path, bad=lambda _, __: {"bads": 2}))

    assert after_other == {"others": 1, "failed": {"bad": "AssertionError: the worker ended; its log:"}}
    assert kept(tmp_path) == {"others": 1, "bads": 2}


def test_only_takes_the_measures_it_names(tmp_path: Path) -> None:
    """In that order."""
    some = program(tmp_path, one=lambda _, __: {"ones": 1}, bad=broken, two=lambda _, __: {"twos": 2})
    found = called(some, "--only", "two, one")

    assert found.exit_code == 0
    assert list(kept(tmp_path)) == ["twos", "ones"]


def test_an_unknown_name_lists_those_that_there_are(tmp_path: Path) -> None:
    """Nothing is measured or written."""
    found = called(program(tmp_path, one=broken, two=broken), "--only", "one,three")

    assert found.exit_code == 2
    assert "there is no three; there are one, two" in found.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("real", [bench.main, bench_state.main, bench_refresh.main])
def test_every_program_stands_in_the_frame(real: click.Command) -> None:
    """Each says which measures it has."""
    found = called(real, "--only", "nothing")

    assert found.exit_code == 2
    assert "there is no nothing; there are " in found.stderr


def test_a_smoke_run_takes_the_quick_plan_and_writes_no_file(tmp_path: Path) -> None:
    """Neither figures nor failures."""
    plans = []

    def measure(_: str, plan: str) -> Figures:
        plans.append(plan)
        return {}

    some = program(tmp_path, one=measure, bad=broken)
    found = called(some, "--quick")

    assert found.exit_code == 1
    assert plans == ["quick"]
    assert not list(tmp_path.iterdir())


def test_an_interruption_ends_the_run_and_keeps_what_was_measured(tmp_path: Path) -> None:
    """It is no failure of the measure; the handler of SIGTERM is as before."""
    before = signal.getsignal(signal.SIGTERM)
    found = called(program(tmp_path, one=lambda _, __: {"ones": 1}, two=interrupted, three=broken))

    assert found.exit_code == 1
    assert kept(tmp_path) == {"ones": 1}
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_kafka_the_program_says_what_is_missing(tmp_path: Path) -> None:
    """In one line, without a traceback."""

    def stand(_: str) -> AbstractContextManager[str]:
        raise Unavailable("Maven is missing")

    found = called(program(tmp_path, stand=stand, one=broken))

    assert found.exit_code == 1
    assert found.stderr == "Error: Maven is missing\n"
