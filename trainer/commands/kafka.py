"""The connection of a command to Kafka, and the decoder for what it reads there."""

from __future__ import annotations

import click

from trainer.config import TrainerSettings
from worker.commandline import origin
from worker.core.event import Decoder
from worker.kafka.interface import Connection


def connect(chosen: TrainerSettings) -> Connection:
    """Return a connection to the brokers that the settings name.

    A caller in this process may give the commands another one as click's `obj`, as tests do.
    """
    given: Connection | None = click.get_current_context().find_root().obj
    return given or chosen.kafka.connection(origin(chosen, "kafka.bootstrap_servers"))


def decoder(chosen: TrainerSettings) -> Decoder:
    """Return the decoder for records of clicks, the worker's own. Raises SettingError."""
    return chosen.click.decoder(chosen.registry.parser())
