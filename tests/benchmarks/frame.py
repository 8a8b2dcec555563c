"""The frame of every benchmark program: choose measures, take each, print one table, keep the figures.

A measure that fails costs no other its figures. Its name and its error, in one line, stand at the end of
the table and under `failed` in the file, and the program then ends with exit code 1.
"""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import click
import orjson

from deploy.java import Unavailable
from tests.benchmarks import machine
from tests.broker.process import ROOT

Figures = dict[str, float]

S = TypeVar("S")
"""The thing that every measure works on: for the programs here a `Stand`."""

P = TypeVar("P")
"""How much of everything is done."""

FAILED: Final = "failed"
"""The key in the file under which the errors stand, by measure."""


@dataclass(frozen=True)
class Bench(Generic[S, P]):
    """A benchmark program.

    `measures` are taken in the order that is asked for; each gets what `stand` makes and the plan, `full` or
    `quick`. Their figures go to `<name>.json` in `folder`, with those that are there already, and into the
    lines of `table`, below those of `about`.
    """

    name: str
    measures: Mapping[str, Callable[[S, P], Mapping[str, float]]]
    full: P
    quick: P
    stand: Callable[[P], AbstractContextManager[S]]
    table: Callable[[Figures], Iterable[str]]
    about: Callable[[], Iterable[str]] = machine.lines
    folder: Path = ROOT / "build"


def command(bench: Bench[S, P]) -> click.Command:
    """Return the command line of a program: `--quick` and `--only`."""

    def chosen(context: click.Context, parameter: click.Parameter, only: str) -> list[str]:
        names = [name.strip() for name in only.split(",")]
        if unknown := [name for name in names if name not in bench.measures]:
            raise click.BadParameter(
                f"there is no {', '.join(unknown)}; there are {', '.join(bench.measures)}"
            )
        return names

    @click.command(help=f"Measure, print the table, write {bench.name}.json unless it is a smoke run.")
    @click.option("--quick", is_flag=True, help="A smoke run. Its figures mean little and go to no file.")
    @click.option(
        "--only",
        default=",".join(bench.measures),
        show_default=True,
        callback=chosen,
        help="Measures, separated by commas.",
    )
    def main(*, quick: bool, only: list[str]) -> None:
        try:
            failed = run(bench, only, quick=quick)
        except Unavailable as error:
            raise click.ClickException(str(error)) from error
        sys.exit(1 if failed else 0)

    return main


def run(bench: Bench[S, P], names: Iterable[str], *, quick: bool) -> dict[str, str]:
    """Take the measures `names`, print the table, and return the errors of those that failed.

    Raises Unavailable where there is no Kafka. An interruption ends the run; what was measured before
    is kept.
    """
    figures, failed = Figures(), dict[str, str]()
    plan = bench.quick if quick else bench.full
    with _ended_by_sigterm():
        about = list(bench.about())
        with bench.stand(plan) as stand:
            for name in names:
                began = time.monotonic()
                found, error = _taken(bench.measures[name], stand, plan)
                figures |= found
                if error:
                    failed[name] = error
                if not quick:
                    keep(bench.folder / f"{bench.name}.json", name, found, error)
                how = "failed" if error else "measured"
                click.echo(f"{how} {name} in {time.monotonic() - began:.0f} s", err=True)
    click.echo("\n".join([*about, "", *bench.table(figures)]))
    if failed:
        click.echo("\n".join(["", *(f"FAILED {name}: {error}" for name, error in failed.items())]))
    return failed


def keep(path: Path, name: str, figures: Mapping[str, float], error: str) -> None:
    """Write the figures of one measure, or its error, at once: the next one may be interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = orjson.loads(path.read_bytes()) if path.exists() else {}
    failed = kept.pop(FAILED, {})
    failed.pop(name, None)
    if error:
        failed[name] = error
    kept |= figures
    if failed:
        kept[FAILED] = failed
    path.write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2))


def _taken(
    measure: Callable[[S, P], Mapping[str, float]], stand: S, plan: P
) -> tuple[Mapping[str, float], str]:
    """Return the figures and no error, or no figures and the error in one line; all of it goes to stderr."""
    try:
        return measure(stand, plan), ""
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the other measures can be taken
        traceback.print_exc()
        first = next(iter(str(error).strip().splitlines()), "")
        return {}, f"{type(error).__name__}: {first}".removesuffix(": ")


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """End as on Ctrl-C, so that every process started here is stopped."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
