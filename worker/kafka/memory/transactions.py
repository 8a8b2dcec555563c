"""A transactional producer of the in-memory cluster: KIP-98 (transactions), KIP-447 (offsets)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from kafka import errors as kafka_errors
from kafka.errors import KafkaError

from worker.errors import CheckpointFailed, NextclickError
from worker.kafka.client import Endpoint
from worker.kafka.interface import Meanwhile, NewRecord, SentHeaders
from worker.kafka.memory.broker import Process, record_bytes
from worker.kafka.memory.log import PartitionLog
from worker.kafka.transactions import failure, missing_partition

_Record = tuple[PartitionLog, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]


class MemoryTransactions:
    """Implements `worker.kafka.interface.Transactions`.

    As with kafka-python, a send returns before the broker has answered. Records wait here while the cluster
    is unreachable, and a refusal by the broker is raised by a later send or the commit.
    """

    def __init__(
        self,
        process: Process,
        endpoint: Endpoint,
        *,
        transactional_id: str,
        timeout_ms: int,
        max_request_bytes: int,
    ) -> None:
        self._process = process
        self._endpoint = endpoint
        self._transactional_id = transactional_id
        self._timeout_ms = timeout_ms
        self.meanwhile: Meanwhile | None = None
        self._max_request_bytes = max_request_bytes
        self._epoch: int | None = None
        """The producer's epoch; None before `renew` and after a failure (rule c)."""
        self._unsent: list[_Record] = []
        self._refused: KafkaError | None = None

    def renew(self) -> None:
        """Start a new producer; abort the open transaction of its predecessor, and fence the predecessor."""
        self.drop()
        doing = f"start transactions as {self._transactional_id}"
        with self._process.broker.lock, self._endpoint.errors(doing):
            broker = self._process.live()
            self._process.strike("renew")
            self._process.rights.require("transactional-id", self._transactional_id, "WRITE")
            self._epoch = broker.init_producer(self._transactional_id, self._timeout_ms)

    def send(
        self,
        topic: str,
        partition: int,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: SentHeaders | None = None,
    ) -> None:
        """Add a record. Raises CheckpointFailed, or TopicError if the partition does not exist."""
        try:
            with self._process.broker.lock:
                self._started()
                self._process.strike("send")
                log = self._process.broker.written(topic, partition)
                self._fit(key, value)
                self._unsent.append((log, key, value, tuple(headers or ())))
                self._flush()
                self._process.strike("send", after=True)
        except KafkaError as error:
            raise self._failed(error, f"send to {topic}") from error
        except ValueError as error:
            self._epoch = None
            raise missing_partition(topic, partition, error) from None
        except Exception:
            self._epoch = None
            raise

    def send_many(self, topic: str, partition: int, records: Sequence[NewRecord]) -> None:
        """Add records of one partition, in order. Raises the errors of `send`."""
        for key, value, headers in records:
            self.send(topic, partition, key=key, value=value, headers=headers)

    def commit(self, topic: str, offsets: Mapping[int, int], group: Any, *, seconds: float) -> None:
        """Commit all sent records, and `offsets` (partition of `topic` -> next offset) for `group`."""
        if self.meanwhile is not None:
            done = Future[None]()
            done.set_result(None)
            self.meanwhile(done, seconds)
        try:
            with self._process.broker.lock:
                self._started()
                self._process.strike("commit")
                self._process.broker.reach()
                if self._refused is None:
                    self._flush()
                if self._refused is not None:
                    raise self._refused
                self._end({(topic, number): offset for number, offset in offsets.items()}, group)
                self._process.strike("commit", after=True)
        except KafkaError as error:
            raise self._failed(error, "commit") from error
        except Exception:
            self._epoch = None
            raise

    def drop(self) -> None:
        """Close the producer.

        The broker aborts an uncommitted transaction after the transaction's timeout, or when another producer
        starts with the same transactional id.
        """
        self._epoch, self._unsent, self._refused = None, [], None

    def _started(self) -> int:
        self._process.live()
        if self._epoch is None:
            raise CheckpointFailed("the transactional producer has not been started")
        return self._epoch

    def _fit(self, key: bytes | None, value: bytes | None) -> None:
        size = record_bytes(key, value)
        if size > self._max_request_bytes:
            limit = self._max_request_bytes
            raise kafka_errors.MessageSizeTooLargeError(f"a record of {size} bytes is larger than {limit}")

    def _flush(self) -> None:
        """Send waiting records to the broker, unless it is unreachable; record a refusal."""
        broker = self._process.broker
        if broker.away:
            return
        if isinstance(self._refused, kafka_errors.AuthorizationError):
            # kafka-python 3.0.12 reports an earlier refusal so.
            raise KafkaError("an earlier request was refused", self._refused)
        if self._refused is not None:
            raise self._refused
        unsent, self._unsent = self._unsent, []
        try:
            for log, key, value, headers in unsent:
                self._process.rights.require("transactional-id", self._transactional_id, "WRITE")
                self._process.rights.require("topic", log.topic, "WRITE")
                broker.append(
                    log,
                    key=key,
                    value=value,
                    headers=headers,
                    transaction=broker.transaction(self._transactional_id, self._started()),
                )
        except KafkaError as error:
            self._refused = error

    def _end(self, offsets: Mapping[tuple[str, int], int], group: Any) -> None:
        broker, epoch = self._process.broker, self._started()
        if offsets:
            transaction = broker.transaction(self._transactional_id, epoch)
            self._must_commit(offsets, group)
            broker.add_offsets(transaction, offsets, group)
        self._process.strike("end")
        if broker.producers[self._transactional_id].open is not None:
            broker.transaction(self._transactional_id, epoch)
            broker.commit(self._transactional_id)

    def _must_commit(self, offsets: Mapping[tuple[str, int], int], group: Any) -> None:
        name = group if isinstance(group, str) else group.group_id
        self._process.rights.require("group", name, "READ")
        for topic, _ in offsets:
            try:
                self._process.rights.require("topic", topic, "READ")
            except kafka_errors.TopicAuthorizationFailedError as error:
                # kafka-python 3.0.12 has only the text of this error.
                raise KafkaError(f"unexpected error in the answer: {error}") from None

    def _failed(self, error: KafkaError, doing: str) -> NextclickError:
        self._epoch = None
        return failure(self._endpoint, error, doing)
