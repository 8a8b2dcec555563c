from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from trainer.commands.cli import cli as trainer
from worker import commandline
from worker.__main__ import cli as worker
from worker.commandline import INTERRUPTED, Command, Group, Span, config_options, option, shorthand
from worker.config import Settings
from worker.errors import KafkaAway
from worker.kafka import client

COMMANDS = [
    pytest.param(program, name, id=f"{who} {name}")
    for who, program in (("worker", worker), ("trainer", trainer))
    for name in program.commands
]


@click.group(cls=Group)
def cli() -> None:
    """A program."""


@cli.command(resume="run it again")
@config_options
@shorthand("--top", key="recommend.top", metavar="K", help="Items.")
@option("--wait", type=Span(), group="Metrics", help="How long.")
def show(wait: float | None) -> None:
    """Show a setting."""
    if wait == 0:
        raise KeyboardInterrupt
    settings = commandline.settings(Settings)
    click.echo(f"{settings.recommend.top} {settings.group} {wait}")


@cli.command()
@config_options
def whence() -> None:
    """Show from where a setting comes."""
    click.echo(commandline.origin(commandline.settings(Settings), "group"))


@pytest.mark.parametrize(("program", "name"), COMMANDS)
def test_a_command_has_few_options(program: click.Group, name: str) -> None:
    """Those that people type; all else is `--set`. Each is in the help, as wide as the terminal."""
    command = program.commands[name]
    options = [one for one in command.params if isinstance(one, click.Option)]

    help_text = CliRunner().invoke(program, [name, "--help"], terminal_width=200).output

    assert len(options) <= 18
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

    assert (done.exit_code, "'group' does not have the form section.key=value" in done.output) == (2, True)


def test_a_duration_is_an_option_too() -> None:
    """By the same rule as in the settings."""
    assert CliRunner().invoke(cli, ["show", "--wait", "1m"]).output == "20 nextclick 60.0\n"
    assert "'soon' must be a duration like" in CliRunner().invoke(cli, ["show", "--wait", "soon"]).output


def test_ctrl_c_ends_with_130_and_how_to_go_on() -> None:
    """As a shell expects it of what SIGINT ended."""
    done = CliRunner().invoke(cli, ["show", "--wait", "0"])

    assert done.exit_code == INTERRUPTED
    assert done.stderr.strip() == "interrupted: run it again"


def test_commands_of_both_programs_are_of_our_class() -> None:
    """So that all of them behave so."""
    commands = [*worker.commands.values(), *trainer.commands.values()]

    assert all(isinstance(one, Command) for one in commands)


@pytest.mark.parametrize(
    ("words", "environment", "says"),
    [
        ([], {}, "the default; neither --config nor NEXTCLICK_CONFIG names a settings file"),
        (["--config", "empty.toml"], {}, "the default; empty.toml does not set it"),
        ([], {"NEXTCLICK_CONFIG": "full.toml"}, "from full.toml"),
        (["--config", "full.toml"], {"NEXTCLICK_GROUP": "a"}, "from NEXTCLICK_GROUP"),
        (["--set", "group=a"], {"NEXTCLICK_GROUP": "b"}, "from the command line"),
    ],
)
def test_a_value_is_said_with_where_it_came_from(
    words: list[str],
    environment: dict[str, str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who forgot the settings file reads so."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.toml").touch()
    (tmp_path / "full.toml").write_text('group = "c"\n')

    assert CliRunner(env=environment).invoke(cli, ["whence", *words]).output == f"{says}\n"


@pytest.mark.parametrize(
    ("program", "command"), [(worker, "state"), (trainer, "releases")], ids=["worker", "trainer"]
)
def test_a_broker_that_is_away_is_named_so(
    program: click.Group, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By both programs."""
    monkeypatch.setattr(client, "BOOTSTRAP_TIMEOUT_MS", 1)
    runner = CliRunner(env={"NEXTCLICK_KAFKA_BOOTSTRAP_SERVERS": "localhost:1"})
    with pytest.raises(KafkaAway) as away:
        runner.invoke(program, [command], catch_exceptions=False)

    assert str(away.value).endswith(
        "no program listens at localhost:1; start the broker, or fix the address in kafka.bootstrap_servers "
        "(from NEXTCLICK_KAFKA_BOOTSTRAP_SERVERS)"
    )
