"""The commands of `nextclick-worker`, one file each (`look` has two). Put together in `worker.__main__`."""

from __future__ import annotations

from pathlib import Path

import click

from worker import config
from worker.config import Settings
from worker.kafka.interface import Connection

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    envvar=config.CONFIG_VARIABLE,
    help=f"The settings file (TOML); the environment ({config.ENVIRONMENT_PREFIX}*) overrides its keys.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


def connect(settings: Settings) -> Connection:
    """Return the connection that the command was called with (tests bring one), else that of the settings."""
    given: Connection | None = click.get_current_context().obj
    return given or settings.kafka.connection()


def numbers(partitions: list[int]) -> str:
    """Partitions as people read them.

    >>> numbers([0]), numbers([0, 2])
    ('partition 0', 'partitions 0, 2')
    """
    return f"partition{'' if len(partitions) == 1 else 's'} {', '.join(map(str, partitions))}"
