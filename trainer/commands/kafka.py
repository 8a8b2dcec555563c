"""The connection of a command to Kafka."""

from __future__ import annotations

import click

from trainer.config import TrainerSettings
from worker.commandline import origin
from worker.kafka.interface import Connection


def connect(chosen: TrainerSettings) -> Connection:
    """Return a connection to the brokers that the settings name.

    A caller in this process may give the commands another one as click's `obj`, as tests do.
    """
    given: Connection | None = click.get_current_context().find_root().obj
    return given or chosen.kafka.connection(origin(chosen, "kafka.bootstrap_servers"))
