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

from tests.quality import methods, news, sessions, small, speed
from tests.quality.data import FOLDER, ROOT, is_there
from trainer import console
from trainer.console import Progress

OUTPUT: Final = ROOT / "build" / "quality.json"

Run = Callable[[Progress], dict[str, Any]]

RUNS: Final[dict[str, tuple[str, Run]]] = {
    **{name: (name, partial(small.run, name)) for name in small.NAMES},
    "methods": (methods.NAME, methods.run),
    **{name: (name, partial(sessions.run, name)) for name in sessions.PROTOCOLS},
    news.NAME: (news.NAME, news.run),
    f"{news.NAME}_strict": (news.NAME, partial(news.run, strict=True)),
    f"{news.NAME}_baselines": (news.NAME, news.baselines),
    "speed": (speed.SPEED, speed.against_keras),
    "sampled": (speed.SAMPLED, speed.sampled),
}
"""By name: the data set that is needed, and what is done."""


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(RUNS)), help="This run, again; several times.")
@click.option("--hours", type=click.IntRange(min=1), help="Hours of globo_g1_news. [default: all 384]")
@click.option("--output", type=click.Path(path_type=Path), default=OUTPUT, help="Where figures are written.")
def main(only: tuple[str, ...], hours: int | None, output: Path) -> None:
    """Train and measure by the published protocols; the long runs take hours."""
    teller = console.for_this_place()
    known = orjson.loads(output.read_bytes()) if output.is_file() else {}
    for name in only or [name for name in RUNS if name not in known]:
        data_set, run = RUNS[name]
        if not is_there(data_set):
            click.echo(f"{name} is skipped: {data_set}.csv.gz is not in {FOLDER}")
            continue
        teller.say(f"{name} begins")
        began = time.monotonic()
        found = run(teller, **({"hours": hours} if data_set == news.NAME else {}))
        found["seconds_in_all"] = time.monotonic() - began
        # A part of the hours is not the run, and must not stand for it.
        known[f"{name}_{hours}_hours" if hours and data_set == news.NAME else name] = found
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(orjson.dumps(known, option=orjson.OPT_INDENT_2))
    click.echo(table(known))


def table(known: dict[str, Any]) -> str:
    """The figures, a line for each metric of each run."""
    lines = []
    for name, found in known.items():
        lines += [f"{name}: {found['seconds']:,.0f} s of training"]
        lines += [f"  {metric:42} {value:12.4f}" for metric, value in found["metrics"].items()]
        for sentence in found.get("not_above", []):
            lines.append(f"  not above a baseline by {sentence}")
        for model, figures in found.get("models", {}).items():
            told = "  ".join(f"{metric} {_interval(*figure)}" for metric, figure in figures.items())
            lines.append(f"  {model:20} {told}")
    return "\n".join(lines)


def _interval(value: float, low: float, high: float) -> str:
    return f"{100 * value:.2f} ({100 * low:.2f} to {100 * high:.2f})"


if __name__ == "__main__":
    main()
