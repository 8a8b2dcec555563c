"""A connection to the in-memory cluster, which stands for one client process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final

from worker.kafka.client import Endpoint
from worker.kafka.interface import FETCH_MAX_WAIT_MS, MAX_REQUEST_BYTES
from worker.kafka.memory.admin import MemoryAdmin
from worker.kafka.memory.broker import Broker, Process
from worker.kafka.memory.member import MemoryGroupMember
from worker.kafka.memory.reader import MemoryReader
from worker.kafka.memory.transactions import MemoryTransactions
from worker.kafka.transactions import missing_partition

_POLL_RECORDS: Final = 500
"""The client's default of max_poll_records."""


class MemoryConnection:
    """Implements `worker.kafka.interface.Connection`. All its clients belong to one process."""

    def __init__(self, broker: Broker) -> None:
        self.process = Process(broker)
        self._endpoint = Endpoint("memory")

    @property
    def bootstrap_servers(self) -> str:
        """The addresses of the brokers, as text for messages."""
        return self._endpoint.bootstrap_servers

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Translate the client's errors inside the context to NextclickErrors that start with `doing`."""
        return self._endpoint.errors(doing)

    def reader(
        self,
        client_id: str,
        *,
        group: str | None = None,
        committed: bool = True,
        fetch: Mapping[str, int] | None = None,
    ) -> MemoryReader:
        """Return a reader. Raises kafka-python's errors; use the reader inside `errors`."""
        at_most = (fetch or {}).get("max_poll_records", _POLL_RECORDS)
        return MemoryReader(self.process, group=group, committed=committed, at_most=at_most)

    def member(
        self,
        *,
        topic: str,
        group: str,
        client_id: str,
        session_timeout_ms: int,
        heartbeat_interval_ms: int,
        fetch_max_wait_ms: int = FETCH_MAX_WAIT_MS,
        static_member: str | None = None,
        address: str = "",
    ) -> MemoryGroupMember:
        """Return a group member that has not joined yet."""
        return MemoryGroupMember(
            self.process,
            self._endpoint,
            topic=topic,
            group=group,
            client_id=client_id,
            session_timeout_ms=session_timeout_ms,
            static_member=static_member,
            address=address,
        )

    def transactions(
        self, transactional_id: str, *, timeout_ms: int, max_request_bytes: int = MAX_REQUEST_BYTES
    ) -> MemoryTransactions:
        """Return a transactional producer; it must be started with `renew`."""
        return MemoryTransactions(
            self.process,
            self._endpoint,
            transactional_id=transactional_id,
            timeout_ms=timeout_ms,
            max_request_bytes=max_request_bytes,
        )

    def write(self, topic: str, key: bytes, values: Mapping[int, bytes]) -> dict[int, int]:
        """Write one record to each partition in `values`; return the records' offsets, by partition."""
        broker = self.process.broker
        with broker.lock, self.errors(f"write to topic {topic}"):
            self.process.live().reach()
            written = {}
            for partition, value in values.items():
                try:
                    log = broker.written(topic, partition)
                except ValueError as error:
                    raise missing_partition(topic, partition, error) from None
                self.process.rights.require("topic", topic, "WRITE")
                written[partition] = broker.append(log, key=key, value=value)
            return written

    def admin(self) -> MemoryAdmin:
        """Return an admin connection."""
        return MemoryAdmin(self.process, self._endpoint)
