"""The command line `nextclick-worker`: its commands and their exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from worker.commandline import Group, completion
from worker.commands.check import check
from worker.commands.forget import forget
from worker.commands.item import item
from worker.commands.look import state, user
from worker.commands.reset import reset
from worker.commands.rules import rules
from worker.commands.run import run
from worker.commands.size import size_command
from worker.commands.topics import topics
from worker.errors import EXIT_CODE, NextclickError
from worker.kafka.interface import Connection


@click.group(cls=Group, epilog=completion("nextclick-worker"))
@click.version_option(package_name="nextclick")
def cli() -> None:
    """Serve live next-item recommendations from a Kafka topic of clicks."""


for command in (run, topics, check, user, item, rules, state, forget, reset, size_command):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None, *, connection: Connection | None = None) -> None:
    """Run the command line. A NextclickError is printed and ends the program with exit code `EXIT_CODE`.

    `connection` replaces the configured connection, for tests.
    """
    try:
        cli(arguments, obj=connection)
    except NextclickError as error:
        click.echo(f"nextclick-worker: {error}", err=True)
        sys.exit(EXIT_CODE)


if __name__ == "__main__":
    main()
