"""The documents, and what is generated from the code: parts of them, and the names of all settings.

`make reference` writes these.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`, on lines of their own. Every
setting, option and metric has one description, in the code; the tables are made of that.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import click
import yaml
from prometheus_client import CollectorRegistry
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.console import Console

from deploy.demo.scoreboard import Figures, Latency, Moment, Score
from deploy.demo.view import Now, Page
from tests.trainer.shapes import REFUSED, SHAPES
from trainer.commands import cli as trainer
from trainer.config import TrainerSettings
from trainer.continuous.metrics import TrainingMetrics
from trainer.experiment.metrics import ExperimentMetrics
from worker import __main__ as worker
from worker.clock import Clock
from worker.commands.check import roles
from worker.config import Settings
from worker.kafka.refusals import SENTENCES
from worker.metrics import Metrics
from worker.settings.fields import Section, duration_text, fields_of, is_duration, is_secret, kinds_of
from worker.settings.loading import literal
from worker.settings.secrets import FILE

ROOT: Final = Path(__file__).parents[1]

DOCUMENTS: Final = (
    *("README.md", "CHANGELOG.md"),
    *(f"{folder}/README.md" for folder in ("worker", "trainer", "deploy", "tests")),
)

NAMES: Final = "worker/settings/keys.txt"
"""The file with the dotted keys of all settings, for `worker.settings.loading`."""

_GENERATED: Final = re.compile(r"(<!-- generated: ([a-z ]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def registries() -> dict[str, CollectorRegistry]:
    """Return every registry that is scraped, by the name of its table."""
    return {
        "worker metrics": Metrics().registry,
        "training metrics": TrainingMetrics(lambda: False, Clock()).registry,
        "experiment metrics": ExperimentMetrics(Clock()).registry,
    }


def settings_table(model: type[Section], without: Collection[str] = ()) -> str:
    """Return the settings of a program, but for some sections."""
    rows = [
        (f"`{key}`", _default(field), f"{_choices(field)}{field.description}{_file(key, field)}")
        for key, field in fields_of(model)
        if key.partition(".")[0] not in without
    ]
    return _table(("key", "default", "meaning"), rows)


def _file(key: str, field: FieldInfo) -> str:
    return f" Or, in a file: `{key}{FILE}`." if is_secret(field) else ""


def settings() -> dict[str, FieldInfo]:
    """Return the dotted key and the field of every setting of both programs."""
    return dict(fields_of(Settings)) | dict(fields_of(TrainerSettings))


def names() -> str:
    """Return the content of the file of names."""
    return "".join(f"{key}\n" for key in sorted(kinds_of(Settings) | kinds_of(TrainerSettings)))


def _default(field: FieldInfo) -> str:
    default, text = field.default, field.description or ""
    if default is PydanticUndefined or default == "" or (default is None and "Default: " in text):
        return "see right"
    if default is None or default == ():
        return "none"
    if isinstance(default, tuple) and isinstance(default[0], str):
        return ", ".join(f"`{one}`" for one in default)
    if isinstance(default, tuple):
        return ", ".join(f"`{duration_text(one)}`" for one in default)
    return f"`{literal(default, is_time=is_duration(field)).strip(chr(34))}`"


def _choices(field: FieldInfo) -> str:
    kinds = [field.annotation, *get_args(field.annotation)]
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    unsaid = [f"`{choice}`" for choice in choices if f"`{choice}`" not in (field.description or "")]
    return f"{', '.join(unsaid)}. " if unsaid else ""


def refusals_table() -> str:
    """Return the causes of a refused connection, and the sentence for each."""
    rows = [(cause, re.sub(r"\{(\w+)\}", r"*\1*", text)) for cause, text in SENTENCES.items()]
    return _table(("cause", "sentence"), rows)


def acls_table() -> str:
    """Return the ACLs of each role, under the default names of topics and group."""
    rows = [
        (
            role.name,
            f"{acl.kind} `{acl.name}{'*' if acl.prefixed else ''}`",
            ", ".join(acl.operations),
            acl.why,
        )
        for role in roles(Settings(worker_id="a"))
        for acl in role.acls
    ]
    return _table(("role", "resource", "operations", "needed to"), rows)


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


def command_tables(program: click.Group) -> str:
    """Return the commands of a program, and all their options with the commands that have them."""
    commands = [(f"`{name}`", _summary(command)) for name, command in program.commands.items()]
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name, option in options(program):
        rows.setdefault(_row(option), []).append(f"`{name}`")
    every = len(program.commands)
    table = [
        (flags, "all" if len(names) == every else ", ".join(names), default, text)
        for (flags, default, text), names in rows.items()
    ]
    return "\n\n".join(
        [_table(("command", "what it does"), commands), _table(("option", "of", "default", "meaning"), table)]
    )


def _summary(command: click.Command) -> str:
    return " ".join((command.help or "").split("\n\n")[0].split())


def options(program: click.Group) -> Iterator[tuple[str, click.Option]]:
    """Yield every option of a program, with the name of its command."""
    for name, command in program.commands.items():
        yield from ((name, one) for one in command.params if isinstance(one, click.Option))


def _row(option: click.Option) -> tuple[str, str, str]:
    text, _, default = (option.help or "").partition(" [default: ")
    text = re.sub(r" \[([a-z_]+\.[a-z_]+)\]", r" (`\1`)", text)
    names = ", ".join(f"`{one}`" for one in [*option.opts, *option.secondary_opts])
    if isinstance(option.type, click.Choice):
        text += f" One of {', '.join(f'`{one}`' for one in option.type.choices)}."
    return names, default.rstrip("]") or _shown(option.default), text


def _shown(default: Any) -> str:
    if default is True:
        return "yes"
    return f"`{default}`" if isinstance(default, int | str) and default is not False else ""


def alerts_table() -> str:
    """Return the alerting rules, with their expressions; labels in a summary stand there by their names."""
    rules = yaml.safe_load(read("deploy/prometheus/rules.yaml"))["groups"]
    rows = [
        (
            f"[{rule['alert']}](#{rule['alert'].lower()})",
            rule["labels"]["severity"],
            rule.get("for", "at once"),
            re.sub(r"{{ \$labels\.(\w+) }}", r"*\1*", rule["annotations"]["summary"]),
            f"`{rule['expr']}`",
        )
        for group in rules
        for rule in group["rules"]
        if "alert" in rule
    ]
    return _table(("alert", "severity", "after", "meaning", "condition"), rows)


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
    page.note("Release 3 with a flipped byte was refused; the worker keeps serving release 2")
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
        "worker settings": lambda: settings_table(Settings),
        "trainer settings": lambda: settings_table(
            TrainerSettings, without=("kafka", "topics", "registry", "click", "item")
        ),
        "worker commands": lambda: command_tables(worker.cli),
        "trainer commands": lambda: command_tables(trainer.cli),
        "acls": acls_table,
        "alerts": alerts_table,
        "refusals": refusals_table,
        "demo": demo_still,
        "file shapes": lambda: _table(
            ("file", "what it becomes"), [(shape.name, shape.becomes) for shape in SHAPES]
        ),
        "refused files": lambda: _table(
            ("file", "message"), [(refused.name, refused.says) for refused in REFUSED]
        ),
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
    """Write the generated parts of all documents, and the names of the settings."""
    wanted = {name: generated(read(name)) for name in DOCUMENTS} | {NAMES: names()}
    for name, after in wanted.items():
        if after != read(name):
            (ROOT / name).write_text(after, "utf-8")
            print(f"{name} rewritten")


if __name__ == "__main__":
    main()
