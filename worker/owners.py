"""The addresses of the workers that serve the partitions of the clicks, as known to the consumer group."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Final

import structlog

from worker.errors import NextclickError
from worker.kafka.interface import Connection

log = structlog.get_logger("worker")

_URL: Final = re.compile(r"https?://[^\s/?#@]+")
"""The only addresses that requests are sent to: a token goes with them."""


class Owners:
    """Looks up the owners of partitions. The look-up may take as long as a broker takes to answer."""

    def __init__(self, connection: Connection, *, group: str, topic: str) -> None:
        self._connection = connection
        self._group = group
        self._topic = topic

    def look_up(self) -> dict[int, str]:
        """Return the address of each partition's owner, if it has one; empty if Kafka does not answer."""
        try:
            with closing(self._connection.admin()) as admin:
                members = admin.members(self._group, topic=self._topic)
        except NextclickError as error:
            log.warning("could not look up the owners of partitions", error=str(error))
            return {}
        return {
            partition: member.address
            for member in members
            if _URL.fullmatch(member.address)
            for partition in member.partitions
        }
