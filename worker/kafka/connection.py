"""A connection to a Kafka cluster: implements `worker.kafka.interface` over kafka-python."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Final

from worker.errors import KafkaAway
from worker.kafka import probe
from worker.kafka.admin import KafkaAdmin
from worker.kafka.client import Endpoint, bounded
from worker.kafka.group import KafkaGroupMember
from worker.kafka.interface import FETCH_MAX_WAIT_MS, MAX_REQUEST_BYTES
from worker.kafka.reader import KafkaReader
from worker.kafka.refusals import Refused
from worker.kafka.transactions import KafkaTransactions, missing_partition

REFUSAL_SECONDS: Final = probe.SECONDS + probe.STEP_SECONDS
"""The time limit for the search for a reason."""


class KafkaConnection(Endpoint):
    """The brokers' addresses and credentials, as a `Connection`."""

    def refusal(self) -> Refused | None:
        """Connect once more, and return the reason why no connection is possible.

        None if brokers answer, or if the search takes too long: the loop waits for it, and nothing else
        bounds the time in which a name is resolved.
        """
        setting = f"kafka.bootstrap_servers ({self.origin})" if self.origin else "kafka.bootstrap_servers"
        try:
            return bounded(
                lambda: probe.refusal(self.bootstrap_servers, self.security, setting=setting),
                seconds=REFUSAL_SECONDS,
                doing="find the reason",
            )
        except KafkaAway:
            return None

    def reader(
        self,
        client_id: str,
        *,
        group: str | None = None,
        committed: bool = True,
        fetch: Mapping[str, int] | None = None,
    ) -> KafkaReader:
        """Return a reader. Raises kafka-python's errors; use the reader inside `errors`."""
        return KafkaReader(self.consumer(client_id, group=group, committed=committed, **(fetch or {})))

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
    ) -> KafkaGroupMember:
        """Return a group member that has not joined yet."""
        return KafkaGroupMember(
            self,
            topic=topic,
            group=group,
            client_id=client_id,
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=heartbeat_interval_ms,
            fetch_max_wait_ms=fetch_max_wait_ms,
            static_member=static_member,
            address=address,
        )

    def transactions(
        self, transactional_id: str, *, timeout_ms: int, max_request_bytes: int = MAX_REQUEST_BYTES
    ) -> KafkaTransactions:
        """Return a transactional producer; it must be started with `renew`."""
        return KafkaTransactions(
            self,
            transactional_id=transactional_id,
            timeout_ms=timeout_ms,
            max_request_bytes=max_request_bytes,
        )

    def write(self, topic: str, key: bytes, values: Mapping[int, bytes]) -> dict[int, int]:
        """Write one record to each partition in `values`; return the records' offsets, by partition."""
        with self.errors(f"write to topic {topic}"), closing(self.producer("nextclick-writer")) as client:
            sent = {}
            for partition, value in values.items():
                try:
                    sent[partition] = client.send(topic, key=key, value=value, partition=partition)
                except ValueError as error:
                    raise missing_partition(topic, partition, error) from None
            client.flush()
            return {partition: future.get().offset for partition, future in sent.items()}

    def admin(self) -> KafkaAdmin:
        """Return an admin connection."""
        return KafkaAdmin(self)
