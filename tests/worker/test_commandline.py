from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from trainer.commands.cli import cli as trainer
from worker import commandline
from worker.__main__ import cli as worker
from worker.commandline import INTERRUPTED, Command, Group, Span, config_options, option, shorthand
from worker.config import Settings

COMMANDS = [
    pytest.param(program, name, id=f"{who} {name}")
    for who, program in (("worker", worker), ("trainer", trainer))
    for name in program.commands
]


@click.group(cls=Group)
def cli() -> None:
    """A program."""


@cli.command(resume="the same command goes on")
@config_options
@shorthand("--top", key="recommend.top", metavar="K", help="Items.")
@option("--wait", type=Span(), group="Metrics", help="How long.")
def show(wait: float | None) -> None:
    """Show a setting."""
    if wait == 0:
        raise KeyboardInterrupt
    settings = commandline.settings(Settings)
    click.echo(f"{settings.recommend.top} {settings.group} {wait}")


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_a_command_has_few_options(program: click.Group, name: str) -> None:
    """Those that people type; all else is `--set`. Each is in the help, as wide as the terminal."""
    command = program.commands[name]
    options = [one for one in command.params if isinstance(one, click.Option)]

    help_text = CliRunner().invoke(program, [name, "--help"], terminal_width=200).output

    assert len(options) <= 15
    assert all(one.opts[-1] in help_text for one in options)
    assert "--config" in help_text
    assert "--set" in help_text
    assert max(map(len, help_text.splitlines())) <= 200


@pytest.mark.parametrize("program", [worker, trainer], ids=["worker", "trainer"])
def test_help_says_how_to_get_completion(program: click.Group) -> None:
    """Click has it; nobody finds it otherwise."""
    said = CliRunner().invoke(program, ["--help"]).output

    assert re.search(r"_NEXTCLICK_\w+_COMPLETE=bash_source", said)


def test_options_stand_in_groups() -> None:
    """In one order in every command; the help option stands in the last."""
    said = CliRunner().invoke(cli, ["show", "--help"]).output

    titles = [line.rstrip(":") for line in said.splitlines() if line.endswith(":") and line[0] != " "]
    assert titles == ["Metrics", "Settings"]
    assert "Items. [recommend.top]" in said


def test_a_shorthand_is_a_setting_and_wins() -> None:
    """Over `--set`, which wins over the environment."""
    words = ["show", "--set", "recommend.top=3", "--top", "4", "--set", "group=a"]

    done = CliRunner(env={"NEXTCLICK_GROUP": "b"}).invoke(cli, words)

    assert done.output == "4 a None\n"


def test_what_is_no_assignment_is_refused() -> None:
    """With what one looks like."""
    done = CliRunner().invoke(cli, ["show", "--set", "group"])

    assert (done.exit_code, "'group' is not section.key=value" in done.output) == (2, True)


def test_a_duration_is_an_option_too() -> None:
    """By the same rule as in the settings."""
    assert CliRunner().invoke(cli, ["show", "--wait", "1m"]).output == "20 nextclick 60.0\n"
    assert "'soon' must be a duration like" in CliRunner().invoke(cli, ["show", "--wait", "soon"]).output


def test_ctrl_c_ends_with_130_and_how_to_go_on() -> None:
    """As a shell expects it of what SIGINT ended."""
    done = CliRunner().invoke(cli, ["show", "--wait", "0"])

    assert done.exit_code == INTERRUPTED
    assert done.stderr.strip() == "interrupted: the same command goes on"


def test_commands_of_both_programs_are_of_our_class() -> None:
    """So that all of them behave so."""
    commands = [*worker.commands.values(), *trainer.commands.values()]

    assert all(isinstance(one, Command) for one in commands)
