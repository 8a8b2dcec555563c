"""The documents, and the parts of them that are generated from the code. `make reference` writes these.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`, on lines of their own. Every
setting, option and metric has one description, in the code; the tables are made of that.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import click
from prometheus_client import CollectorRegistry
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.console import Console

from deploy.demo.scoreboard import Figures, Latency, Moment, Score
from deploy.demo.view import Now, Page
from trainer.commands import cli as trainer
from trainer.continuous.metrics import TrainingMetrics
from trainer.experiment.metrics import ExperimentMetrics
from worker.clock import Clock
from worker.config import Settings
from worker.metrics import Metrics

ROOT: Final = Path(__file__).parents[1]

DOCUMENTS: Final = (
    *("README.md", "CHANGELOG.md"),
    *(f"{folder}/README.md" for folder in ("worker", "trainer", "deploy", "tests")),
)

_GENERATED: Final = re.compile(r"(<!-- generated: ([a-z ]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

_FIT: Final = "fit"
"""The command whose options the others share."""

_FEW: Final = 14
"""Shared options that are named one by one, at most."""


def registries() -> dict[str, CollectorRegistry]:
    """Return every registry that is scraped, by the name of its table."""
    return {
        "worker metrics": Metrics().registry,
        "training metrics": TrainingMetrics(lambda: False, Clock()).registry,
        "experiment metrics": ExperimentMetrics(Clock()).registry,
    }


def settings_table() -> str:
    """Return all settings of the worker."""
    rows = [
        (f"`{key}`", _default(field), f"{_choices(field)}{field.description}") for key, field in settings()
    ]
    return _table(("key", "default", "meaning"), rows)


def settings() -> Iterator[tuple[str, FieldInfo]]:
    """Yield the dotted key and the field of every setting of the worker, those without a section first."""
    sections: dict[str, type[BaseModel]] = {}
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            sections[name] = field.annotation
        else:
            yield name, field
    for name, section in sections.items():
        yield from ((f"{name}.{key}", field) for key, field in section.model_fields.items())


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined or field.default == "":
        return "see right"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return "none" if field.default is None else f"`{field.default}`"


def _choices(field: FieldInfo) -> str:
    kinds = [field.annotation, *get_args(field.annotation)]
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    unsaid = [f"`{choice}`" for choice in choices if f"`{choice}`" not in (field.description or "")]
    return f"{', '.join(unsaid)}. " if unsaid else ""


def metrics_table(registry: CollectorRegistry) -> str:
    """Return all metrics of our own in a registry."""
    return _table(("metric", "type", "meaning"), metrics(registry))


def metrics(registry: CollectorRegistry) -> Iterator[tuple[str, str, str]]:
    """Yield name with labels, type and description of the metrics of our own in a registry."""
    for collector in registry._collector_to_names:
        labels = ", ".join(getattr(collector, "_labelnames", ()))
        for metric in collector.collect():
            if metric.name.startswith("nextclick_"):
                name = metric.name + ("_total" if metric.type == "counter" else "")
                yield f"`{name}{{{labels}}}`" if labels else f"`{name}`", metric.type, metric.documentation


def fit_table() -> str:
    """Return all options of `nextclick-trainer fit`."""
    return _table(("option", "default", "meaning"), map(_row, _options(trainer.cli.commands[_FIT])))


def command_tables() -> str:
    """Return the options of every other command of the trainer."""
    shared = dict(map(_named, _options(trainer.cli.commands[_FIT])))
    parts = []
    for name, command in trainer.cli.commands.items():
        if name == _FIT:
            continue
        options = list(_options(command))
        own = [one for one in options if shared.get(one.opts[-1]) != one.help]
        parts += [f"**`{name}`**: {_summary(command)}", _also([*map(_named, options)], shared)]
        parts += [_table(("option", "default", "meaning"), map(_row, own))] if own else []
    return "\n\n".join(filter(None, parts))


def _summary(command: click.Command) -> str:
    return " ".join((command.help or "").split("\n\n")[0].split())


def _also(options: list[tuple[str, str]], shared: Mapping[str, str]) -> str:
    taken = [flag for flag, text in options if shared.get(flag) == text]
    if not taken:
        return ""
    if len(taken) <= _FEW:
        return f"From `{_FIT}`: {_listed(taken)}."
    return f"From `{_FIT}`: all but {_listed(flag for flag in shared if flag not in taken)}."


def _listed(flags: Iterable[str]) -> str:
    return ", ".join(f"`{flag}`" for flag in flags)


def options() -> Iterator[tuple[str, click.Option]]:
    """Yield every option of the trainer, with the name of its command."""
    for name, command in trainer.cli.commands.items():
        yield from ((name, option) for option in _options(command))


def _options(command: click.Command) -> Iterator[click.Option]:
    return (one for one in command.params if isinstance(one, click.Option))


def _named(option: click.Option) -> tuple[str, str]:
    return option.opts[-1], option.help or ""


def _row(option: click.Option) -> tuple[str, str, str]:
    text, _, default = (option.help or "").partition(" [default: ")
    names = ", ".join(f"`{one}`" for one in [*option.opts, *option.secondary_opts])
    if isinstance(option.type, click.Choice):
        text += f" One of {', '.join(f'`{one}`' for one in option.type.choices)}."
    return names, default.rstrip("]") or _shown(option.default), text


def _shown(default: Any) -> str:
    if (
        default is None
        or default is False
        or default == ()
        or not isinstance(default, bool | int | float | str | tuple)
    ):
        return ""
    if isinstance(default, tuple):
        return f"`{','.join(f'{one:g}' for one in default)}`"
    return "yes" if default is True else f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def demo_still() -> str:
    """Return the demo's screen, drawn by its own code from made-up figures."""
    titles = {"1": "Psycho (1960)", "2": "Vertigo (1958)", "3": "Alien (1979)", "4": "Aliens (1986)"}
    figures = Figures(
        clicks=1_234,
        clicks_per_second=149.6,
        latency=Latency(100, 0.012, 0.0449, 0.3),
        scores={1: Score(1_000, 250, 80, 120), 2: Score(100, 30, 9, 12)},
        moments=[Moment("7", "1", 4, ("2", "3")), Moment("12", "3", 0, ("4", "2"))],
    )
    console = Console(file=io.StringIO(), width=92, color_system=None)
    page = Page(console, titles, clock=lambda: 0.0)
    page._people = figures.moments
    page.note("Release 3 has a flipped byte. The worker serves on: release 3 was refused")
    now = Now(figures, 15_000, "rolling back to the second release", seconds_left=45)
    with console.capture() as capture:
        console.print(page.drawn(now))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join(["```", *lines, "```"])


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines)


def _parts() -> dict[str, Callable[[], str]]:
    tables = {
        name: lambda registry=registry: metrics_table(registry) for name, registry in registries().items()
    }
    return {
        "worker settings": settings_table,
        "fit options": fit_table,
        "other options": command_tables,
        "demo": demo_still,
        **tables,
    }


def generated(text: str) -> str:
    """Return a document with its generated parts as the code has them now."""
    parts = _parts()
    return _GENERATED.sub(lambda found: f"{found[1]}{parts[found[2]]()}\n{found[4]}", text)


def read(name: str) -> str:
    """Return the text of a document."""
    return (ROOT / name).read_text("utf-8")


def main() -> None:
    """Write the generated parts of all documents."""
    for name in DOCUMENTS:
        before = read(name)
        after = generated(before)
        if after != before:
            (ROOT / name).write_text(after, "utf-8")
            print(f"{name} rewritten")


if __name__ == "__main__":
    main()
