"""The command line `nextclick-trainer`, and the only place where the trainer is wired together."""

from __future__ import annotations

import sys

import click

from trainer.commands import (
    collect,
    compare,
    evaluate,
    fetch,
    fit,
    pointers,
    publish,
    report,
    run,
    tune,
    watch,
)
from worker.errors import NextclickError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="nextclick")
def cli() -> None:
    """Train next-item recommenders on clicks, measure them, and publish them to the workers."""


_COMMANDS = (
    collect.collect,
    fit.fit,
    tune.tune,
    evaluate.evaluate,
    compare.compare,
    report.report,
    run.run,
    publish.publish,
    fetch.fetch,
    pointers.releases,
    pointers.promote,
    pointers.rollback,
    watch.watch,
)

for command in _COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Run the command line; whatever goes wrong ends it with exit code 2, an error of ours with its text."""
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
    except click.Abort:
        click.echo("Aborted", err=True)
    except NextclickError as error:
        click.echo(f"nextclick-trainer: {error}", err=True)
    except OSError as error:
        click.echo(f"nextclick-trainer: {error.filename or 'a file'}: {error.strerror or error}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
