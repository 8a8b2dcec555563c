"""The Kafka connection of a command, and the decoder for records of clicks."""

from __future__ import annotations

import click

from trainer.config import TrainerSettings
from worker.commandline import origin
from worker.core.event import Decoder
from worker.kafka.interface import Connection


def connect(chosen: TrainerSettings) -> Connection:
    """Return a connection to the configured brokers.

    A caller in the same process, such as a test, may pass another connection as click's `obj`.
    """
    given: Connection | None = click.get_current_context().find_root().obj
    return given or chosen.kafka.connection(origin(chosen, "kafka.bootstrap_servers"))


def decoder(chosen: TrainerSettings) -> Decoder:
    """Return the decoder for records of clicks. It skips events that move no network. Raises SettingError."""
    return chosen.click.decoder(chosen.registry.parser(), where=chosen.events.clauses())
