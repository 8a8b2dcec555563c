"""How a command reaches Kafka."""

from __future__ import annotations

import os

import click

from trainer import config
from worker.kafka.interface import Connection


def connect(bootstrap_servers: str) -> Connection:
    """Return a connection to the brokers there, with TLS and SASL from the environment. Raises SettingError.

    A caller in this process may give the commands another one as click's `obj`, as tests do.
    """
    given: Connection | None = click.get_current_context().find_root().obj
    return given or config.connection(bootstrap_servers, os.environ)
