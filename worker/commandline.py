"""Shared parts of both command lines: settings, grouped options in help, Ctrl-C.

A command of class `Command` shows its options in groups, over the full width of the terminal. An option from
`shorthand` is a short form of `--set`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click
import orjson

from worker.errors import SettingError
from worker.settings.fields import Section, parse_duration
from worker.settings.loading import CONFIG_VARIABLE, ENVIRONMENT_PREFIX, given, load, variable
from worker.topics.findings import Finding
from worker.topics.rights import Role

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as a shell reports it."""

CONTEXT: Final = {
    "help_option_names": ["-h", "--help"],
    "show_default": True,
    "max_content_width": 1_000,  # wider than any terminal, so that help fills the terminal's width
}

SETTINGS: Final = "Settings"
OUTPUT: Final = "Output"
KAFKA: Final = "Kafka"
CLICKS: Final = "Clicks"
METRICS: Final = "Metrics"

_ORDER: Final = ("Options", CLICKS, KAFKA, METRICS, OUTPUT, SETTINGS)
"""The groups of options, in the order of the help."""

_META: Final = "nextclick.settings"

_Model = TypeVar("_Model", bound=Section)
_Callable = TypeVar("_Callable", bound=Callable[..., Any])


class Option(click.Option):
    """An option that the help shows under the title `group`."""

    def __init__(self, *args: Any, group: str = "Options", **more: Any) -> None:
        super().__init__(*args, **more)
        self.group = group


class Command(click.Command):
    """A command with groups of options in its help; `resume` is a hint that is shown after Ctrl-C."""

    def __init__(self, *args: Any, resume: str = "", **more: Any) -> None:
        more["context_settings"] = {**CONTEXT, **(more.get("context_settings") or {})}
        super().__init__(*args, **more)
        self.resume = resume

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by group; options without a group come first."""
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in _ORDER}
        *own, help_option = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        for one in own:
            if record := one.get_help_record(ctx):
                groups.setdefault(getattr(one, "group", _ORDER[0]), []).append(record)
        if record := help_option.get_help_record(ctx):
            groups[SETTINGS].append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. On Ctrl-C, print the hint `resume` and exit with code 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(f"\ninterrupted{f': {self.resume}' if self.resume else ''}", err=True)
            ctx.exit(INTERRUPTED)


class Group(click.Group):
    """A group of commands of class `Command`."""

    command_class = Command

    def __init__(self, *args: Any, **more: Any) -> None:
        more["context_settings"] = {**CONTEXT, **(more.get("context_settings") or {})}
        super().__init__(*args, **more)


def completion(program: str) -> str:
    """Return the last lines of a program's help, which say how to enable shell completion."""
    name = f"_{program.replace('-', '_').upper()}_COMPLETE"
    return f'Shell completion for bash (similarly for zsh and fish): eval "$({name}=bash_source {program})"'


class Span(click.ParamType[float]):
    """A click type for durations such as 30s, 5m, 1h or 7d; its values are seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the duration `value` in seconds."""
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


def option(*names: str, group: str = "Options", **more: Any) -> Callable[[_Callable], _Callable]:
    """Return a click option that the help lists under the title `group`."""
    return click.option(*names, cls=Option, group=group, **more)


def all_of(*options: Callable[[_Callable], _Callable]) -> Callable[[_Callable], _Callable]:
    """Combine several options into one decorator; the help lists the options in the given order."""

    def decorate(command: _Callable) -> _Callable:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


def shorthand(
    *names: str, key: str, help: str, group: str = SETTINGS, **more: Any
) -> Callable[[_Callable], _Callable]:
    """Return an option that is short for `--set key=...`. If both are given, this option takes precedence."""

    def note(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value is not None:
            _noted(context)["short"].append((key, str(value)))

    return option(*names, group=group, expose_value=False, callback=note, help=f"{help} [{key}]", **more)


def _take_path(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    _noted(context)["path"] = value


def _take_assignments(context: click.Context, _: click.Parameter, values: tuple[str, ...]) -> None:
    for value in values:
        key, sign, text = value.partition("=")
        if not sign:
            raise click.BadParameter(f"{value!r} does not have the form section.key=value")
        _noted(context)["set"].append((key.strip(), text.strip()))


def _noted(context: click.Context) -> dict[str, Any]:
    noted: dict[str, Any] = context.meta.setdefault(_META, {"path": None, "set": [], "short": []})
    return noted


config_options = all_of(
    option(
        "--config",
        type=click.Path(path_type=Path),
        envvar=CONFIG_VARIABLE,
        show_envvar=True,
        expose_value=False,
        callback=_take_path,
        group=SETTINGS,
        help=f"Settings file (TOML). Environment variables ({ENVIRONMENT_PREFIX}*) override it.",
    ),
    option(
        "--set",
        multiple=True,
        expose_value=False,
        callback=_take_assignments,
        metavar="SECTION.KEY=VALUE",
        group=SETTINGS,
        help="Value of a setting; overrides the file and the environment. May be repeated.",
    ),
)
"""The options `--config` and `--set`; `settings` returns the resulting settings."""

json_option = option("--json", "as_json", is_flag=True, group=OUTPUT, help="Print the result as JSON.")

kafka_option = shorthand(
    "--kafka",
    key="kafka.bootstrap_servers",
    metavar="HOST:PORT",
    group=KAFKA,
    help="Addresses of the Kafka brokers.",
)
clicks_topic_option = shorthand(
    "--clicks-topic", key="topics.clicks", metavar="TOPIC", group=KAFKA, help="Topic of the clicks."
)
releases_topic_option = shorthand(
    "--releases-topic", key="topics.releases", metavar="TOPIC", group=KAFKA, help="Topic of the releases."
)


def settings(model: type[_Model]) -> _Model:
    """Return the settings of the current command, from file, environment and options.

    Raises SettingError.
    """
    noted = _noted(click.get_current_context())
    return load(model, noted["path"], os.environ, [*noted["set"], *noted["short"]])


def named_here(keys: tuple[str, ...]) -> list[str]:
    """Return those of the dotted `keys` that the command line sets."""
    noted = _noted(click.get_current_context())
    there = {key for key, _ in [*noted["set"], *noted["short"]]}
    return [key for key in keys if key in there]


def origin(chosen: Section, key: str) -> str:
    """Return where the value of a setting comes from, as text for messages."""
    path = _noted(click.get_current_context())["path"]
    if named_here((key,)):
        return "from the command line"
    if variable(key) in os.environ:
        return f"from {variable(key)}"
    if key in given(chosen):
        return f"from {path}"
    if path:
        return f"the default; {path} does not set it"
    return f"the default; neither --config nor {CONFIG_VARIABLE} names a settings file"


def show(facts: Mapping[str, Any], *lines: str, as_json: bool) -> None:
    """Print the result of a command: `facts` as JSON, or `lines` of text."""
    if as_json:
        click.echo(orjson.dumps(facts, option=orjson.OPT_INDENT_2))
    else:
        click.echo("\n".join(lines))


def report(findings: Sequence[Finding], roles: Sequence[Role], *, as_json: bool) -> NoReturn:
    """Print the findings of a check, and the ACLs of each role; exit with code 1 if a finding fails."""
    failed = sum(finding.failed for finding in findings)
    notes = sum(bool(finding.remedy) for finding in findings) - failed
    show(
        {
            "findings": [finding.document() for finding in findings],
            "acls": {role.name: role.document() for role in roles},
        },
        *(finding.line for finding in findings),
        *(line for role in roles for line in role.lines()),
        f"{len(findings)} checks: {failed} failed, {notes} to look at",
        as_json=as_json,
    )
    sys.exit(bool(failed))


def refuse(keys: tuple[str, ...], why: str) -> None:
    """Raise SettingError with the reason `why` if the command line sets any of these keys."""
    if found := named_here(keys):
        raise SettingError(f"{why}; leave out {', '.join(found)}")
