"""The program `nextclick-trainer`: it runs a command, and turns errors into a message and an exit code."""

from __future__ import annotations

import sys
from typing import Final

import click

from worker.errors import NextclickError

_EXTRA: Final = frozenset({"jinja2", "keras", "optuna", "polars", "rich", "tensorflow"})
"""Import names of the packages that the extra `trainer` installs."""


_INTERRUPTED: Final = 130
"""The exit code after Ctrl-C (`worker.commandline`)."""


def main() -> None:
    """Run the command line. An expected error prints its message without a traceback; exit code 2."""
    try:
        # Imported here, so that a missing extra is reported below with the command that installs it.
        from trainer.commands.cli import cli  # noqa: PLC0415

        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
    except click.Abort as error:
        click.echo("Aborted", err=True)
        if isinstance(error.__cause__, KeyboardInterrupt):  # Ctrl-C that the command did not handle
            sys.exit(_INTERRUPTED)
    except NextclickError as error:
        click.echo(f"nextclick-trainer: {error}", err=True)
    except OSError as error:
        click.echo(f"nextclick-trainer: {error.filename or 'a file'}: {error.strerror or error}", err=True)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package not in _EXTRA:
            raise
        click.echo(
            f"nextclick-trainer: {package} is not installed: pip install 'nextclick[trainer]'", err=True
        )
    sys.exit(2)


if __name__ == "__main__":
    main()
