"""Quality on public data by the published protocols. `make quality`; ARGS="--only diginetica_srgnn" for one.

What a run came to goes into `build/quality.json` as soon as it is there, and is not done again until it is
asked for by name. The data are in `../shared/data`, or where NEXTCLICK_DATA says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import orjson

from tests.quality import alternatives, defaults, hold_out, methods, news, sessions, small, speed
from tests.quality.data import FOLDER, ROOT, is_there
from trainer import console
from trainer.console import Progress

OUTPUT: Final = ROOT / "build" / "quality.json"

Run = Callable[[Progress], dict[str, Any]]

TUNED: Final = "tuned"
DEFAULT: Final = "default"
ALTERNATIVES: Final = "alternatives"

RUNS: Final[dict[str, dict[str, Run]]] = {
    **{name: {TUNED: partial(small.run, name)} for name in small.NAMES},
    **{name: {TUNED: partial(sessions.run, name)} for name in sessions.PROTOCOLS},
    news.NAME: {TUNED: news.run},
    f"{news.NAME}_strict": {TUNED: partial(news.run, strict=True)},
    f"{news.NAME}_baselines": {TUNED: news.baselines},
    "methods": {TUNED: methods.run},
    "speed": {TUNED: speed.against_keras},
    "sampled": {TUNED: speed.sampled},
    "hold_out": {TUNED: hold_out.run},
    "simulated": {DEFAULT: defaults.run_simulated},
}
"""The runs by name and kind: with settings chosen for it, with default settings, or with other decisions."""

for _name in defaults.NAMES:
    RUNS[_name][DEFAULT] = partial(defaults.run, _name)
    RUNS[_name][ALTERNATIVES] = partial(alternatives.run, _name)
RUNS[news.NAME][DEFAULT] = defaults.run_news
RUNS[defaults.ONE_RELEASE] = {DEFAULT: partial(defaults.run, defaults.ONE_RELEASE)}

DATA_SETS: Final = {
    defaults.ONE_RELEASE: news.NAME,
    f"{news.NAME}_strict": news.NAME,
    f"{news.NAME}_baselines": news.NAME,
    "methods": methods.NAME,
    "hold_out": hold_out.NAME,
    "speed": speed.SPEED,
    "sampled": speed.SAMPLED,
}
"""The data set that a run needs, if it has another name; `simulated` needs none."""


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(RUNS)), help="This run, again; several times.")
@click.option(
    "--kind",
    type=click.Choice([DEFAULT, TUNED, ALTERNATIVES]),
    help="With default settings, chosen ones, or other decisions than those of `fit`. "
    "[default: the first two]",
)
@click.option("--hours", type=click.IntRange(min=1), help="Hours of globo_g1_news. [default: all 384]")
@click.option("--output", type=click.Path(path_type=Path), default=OUTPUT, help="Where figures are written.")
def main(only: tuple[str, ...], kind: str | None, hours: int | None, output: Path) -> None:
    """Train and measure by the published protocols; the long runs take hours."""
    teller = console.for_this_place()
    known = orjson.loads(output.read_bytes()) if output.is_file() else {}
    kinds = (kind,) if kind else (DEFAULT, TUNED)
    chosen = [(name, one) for name in only or RUNS for one in RUNS[name] if one in kinds]
    for name, one in chosen:
        if not only and one in known.get(name, {}):
            continue
        data_set = DATA_SETS.get(name, name)
        if data_set != "simulated" and not is_there(data_set):
            click.echo(f"{name} is skipped: {data_set}.csv.gz is not in {FOLDER}")
            continue
        teller.say(f"{name} begins, {one}")
        began = time.monotonic()
        counts_hours = name.startswith(news.NAME) and name != defaults.ONE_RELEASE
        found = RUNS[name][one](teller, **({"hours": hours} if counts_hours else {}))
        found["seconds_in_all"] = time.monotonic() - began
        # A part of the hours is not the run, and must not stand for it.
        known.setdefault(f"{name}_{hours}_hours" if hours and counts_hours else name, {})[one] = found
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(orjson.dumps(known, option=orjson.OPT_INDENT_2))
    click.echo(table(known))


def table(known: dict[str, Any]) -> str:
    """Return the figures, a line for each metric of each run."""
    lines = []
    for name, kinds in known.items():
        for kind, found in kinds.items():
            lines += [f"{name}, {kind}:", *_told(found)]
    return "\n".join(lines)


def _told(found: dict[str, Any]) -> list[str]:
    """Return the lines of one run."""
    if "best_baseline" in found:
        return defaults.lines(found)
    if "metrics" not in found:
        worlds = ((world, one) for world, one in found.items() if isinstance(one, dict))
        return [line for world, one in worlds for line in (f" {world}:", *defaults.lines(one))]
    lines = [f"  {metric:42} {value:12.4f}" for metric, value in found["metrics"].items()]
    lines += [f"  not above a baseline by {sentence}" for sentence in found.get("not_above", [])]
    for model, figures in found.get("models", {}).items():
        told = "  ".join(f"{metric} {_interval(*figure)}" for metric, figure in figures.items())
        lines.append(f"  {model:20} {told}")
    return lines


def _interval(value: float, low: float, high: float) -> str:
    return f"{100 * value:.2f} ({100 * low:.2f} to {100 * high:.2f})"


if __name__ == "__main__":
    main()
