"""The transactional producer, through which the worker writes all its output.

KIP-98 (transactions) and KIP-447 (offsets fenced by the consumer group's generation).

Rule c: after any abort, refusal or timeout, the client is closed and a new one is created with the same
transactional id. kafka-python 3.0.12 keeps refused offsets and sends them with the next transaction, even for
partitions that the member no longer owns; in a prototype this lost records.

Some calls of the client may block for ever, so a commit runs in a separate thread, with a time limit.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from kafka import KafkaProducer, TopicPartition
from kafka import errors as kafka_errors
from kafka.errors import AuthorizationError, KafkaError
from kafka.structs import OffsetAndMetadata

from worker.errors import CheckpointFailed, KafkaAway, NextclickError, NotAllowed, TopicError
from worker.kafka.appending import append, can_append, knows
from worker.kafka.client import Endpoint, bounded, without_connection
from worker.kafka.interface import Meanwhile, NewRecord, SentHeaders

_REASONS: Final[
    tuple[tuple[tuple[type[BaseException], ...], Literal["fenced", "revoked", "timeout"]], ...]
] = (
    ((kafka_errors.ProducerFencedError, kafka_errors.InvalidProducerEpochError), "fenced"),
    (
        (
            kafka_errors.IllegalGenerationError,
            kafka_errors.UnknownMemberIdError,
            kafka_errors.FencedInstanceIdError,
            kafka_errors.CommitFailedError,
        ),
        "revoked",
    ),
    ((KafkaAway, kafka_errors.KafkaTimeoutError, kafka_errors.RequestTimedOutError), "timeout"),
)
"""The reasons of failed transactions, by the client's errors."""

_MOVING: Final = kafka_errors.UnknownTopicOrPartitionError
"""The error for a missing partition; a broker that has just lost a partition's leadership also returns it."""

_METADATA_SECONDS: Final = 5.0

_BUFFER_BYTES: Final = 32 << 20
"""Maximum size of the values that wait in the client, if records are sent one at a time.

kafka-python 3.0.12 has no limit of its own: all of a large release would wait there.
"""


class KafkaTransactions:
    """Implements `worker.kafka.interface.Transactions`.

    After any failure, only `renew` makes the producer usable again (rule c).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        transactional_id: str,
        timeout_ms: int,
        max_request_bytes: int,
    ) -> None:
        self._endpoint = endpoint
        self._transactional_id = transactional_id
        self._timeout_ms = timeout_ms
        self.meanwhile: Meanwhile | None = None
        self._max_request_bytes = max_request_bytes
        self._client: KafkaProducer | None = None
        self._appends = False
        """Whether the client can append many records at once."""
        self._begun = False
        self._sent: list[Any] = []
        self._waiting_bytes = 0
        """The size of the values that may not have been acknowledged."""
        self._failure = ""
        """The reason why the producer must not be used before `renew`; empty if it may be used."""

    def renew(self) -> None:
        """Start a new producer; abort the open transaction of its predecessor, and fence the predecessor.

        Raises KafkaAway, NotAllowed.
        """
        self.drop()
        doing = f"start transactions as {self._transactional_id}"
        with self._endpoint.errors(doing):
            client = self._endpoint.transactional_producer(
                self._transactional_id, timeout_ms=self._timeout_ms, max_request_bytes=self._max_request_bytes
            )
            try:
                client.init_transactions()
            except BaseException as error:
                _close(client)
                if "InvalidTransactionTimeout" in str(error):  # only the client's text says so
                    raise kafka_errors.InvalidTransactionTimeoutError from error
                raise
        self._client, self._appends = client, can_append(client)

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
        client = self._in_transaction()
        self._bound_memory(client, len(value or b""))
        record = {"value": value, "key": key, "headers": headers}
        try:
            try:
                self._sent.append(client.send(topic, partition=partition, **record))
            except ValueError:
                self._sent.append(_sent_after_asking(client, topic, partition=partition, **record))
        except ValueError as error:
            missing = missing_partition(topic, partition, error)
            self._failure = str(missing)
            raise missing from None
        except KafkaError as error:
            raise self._failed(error, f"send to {topic}") from error

    def send_many(self, topic: str, partition: int, records: Sequence[NewRecord]) -> None:
        """Add records of one partition, in order. Raises the errors of `send`.

        Where `worker.kafka.appending` cannot be used, the records are sent one at a time.
        """
        client = self._in_transaction()
        if not (records and self._appends and knows(client, topic, partition)):
            for key, value, headers in records:
                self.send(topic, partition, key=key, value=value, headers=headers)
            return
        try:
            self._sent += append(client, topic, partition, records)
        except KafkaError as error:
            raise self._failed(error, f"send to {topic}") from error

    def commit(self, topic: str, offsets: Mapping[int, int], group: Any, *, seconds: float) -> None:
        """Commit all sent records, and `offsets` (partition of `topic` -> next offset) for `group`.

        `group` is the metadata of a member, or the id of a group without members. The numbers in the code are
        the steps of a checkpoint (`worker.checkpoint`). Raises CheckpointFailed, NotAllowed.
        """
        client = self._in_transaction()

        def steps() -> None:
            client.flush()  # 2
            for future in self._sent:
                if not future.succeeded():
                    raise future.exception or KafkaAway("a record was not acknowledged")
            if offsets:
                _add_offsets(client, topic, offsets, group)  # 3
            client.commit_transaction()  # 4

        try:
            bounded(steps, seconds=seconds, doing="commit", meanwhile=self.meanwhile)
        except (KafkaError, KafkaAway) as error:
            raise self._failed(error, "commit") from error
        self._begun = False
        self._sent, self._waiting_bytes = [], 0

    def drop(self) -> None:
        """Close the producer; the broker aborts an uncommitted transaction later."""
        if self._client is not None:
            _close(self._client)
        self._client = None
        self._begun = False
        self._sent, self._waiting_bytes = [], 0
        self._failure = ""

    def _bound_memory(self, client: KafkaProducer, size: int) -> None:
        """Wait until the broker has the earlier records, if they and `size` bytes more take much memory."""
        if self._waiting_bytes + size > _BUFFER_BYTES:
            try:
                bounded(client.flush, seconds=self._timeout_ms / 1_000, doing="send")
            except (KafkaError, KafkaAway) as error:
                raise self._failed(error, "send") from error
            self._waiting_bytes = 0
        self._waiting_bytes += size

    def _in_transaction(self) -> KafkaProducer:
        if self._client is None:
            raise CheckpointFailed("the transactional producer has not been started")
        if self._failure:
            raise CheckpointFailed(f"the transactional producer has failed ({self._failure})")
        if not self._begun:
            try:
                self._client.begin_transaction()
            except KafkaError as error:
                raise self._failed(error, "begin a transaction") from error
            self._begun = True
        return self._client

    def _failed(self, error: BaseException, doing: str) -> NextclickError:
        if isinstance(error, kafka_errors.IllegalStateError):
            # After a record has failed, the client refuses further calls, but does not say why.
            earlier = (future.exception for future in self._sent if future.is_done)
            error = next((one for one in earlier if one is not None), error)
        self._failure = f"{doing}: {error}"
        return failure(self._endpoint, error, doing)


def failure(endpoint: Endpoint, error: BaseException, doing: str) -> NextclickError:
    """Return the NextclickError for an error of the client during a transaction."""
    error = _refusal(error) or error
    # Without a connection, the reason is searched for when the producer is renewed.
    if not (isinstance(error, _MOVING) or without_connection(error)):
        translated = endpoint.translated(error, doing)
        if isinstance(translated, NotAllowed | TopicError):
            return translated
    # kafka-python 3.0.12 reports some errors only as the text of a KafkaError.
    reasons = (
        reason
        for kinds, reason in _REASONS
        if isinstance(error, kinds) or any(kind.__name__ in str(error) for kind in kinds)
    )
    return CheckpointFailed(f"{doing}: {error}", reason=next(reasons, "refused"))


def _refusal(error: BaseException) -> AuthorizationError | None:
    """Return the missing right that caused an error of the client; None if there was another cause.

    kafka-python 3.0.12 reports a missing right as such only in the call that meets it. The next call raises a
    KafkaError with this error as an argument. If the right to the topic of the offsets is missing, only the
    text of a KafkaError says so.
    """
    for inner in error.args:
        if isinstance(inner, AuthorizationError):
            return inner
    if type(error) is KafkaError and "TopicAuthorizationFailed" in str(error):
        return kafka_errors.TopicAuthorizationFailedError("READ on the topic of the offsets")
    return None


def missing_partition(topic: str, partition: int, error: BaseException) -> TopicError:
    """Return the error for a record whose partition does not exist."""
    return TopicError(
        f"cannot write to partition {partition} of topic {topic}: {error}. The topic needs at least as many "
        "partitions as the clicks topic; `nextclick-worker topics` adds them",
        topic=topic,
    )


def _sent_after_asking(client: KafkaProducer, topic: str, *, partition: int, **record: Any) -> Any:
    """Update the client's metadata, then send to a partition that the client did not know before."""
    known = threading.Event()
    client._metadata.request_update().add_both(lambda _: known.set())  # noqa: SLF001  # no public way
    known.wait(_METADATA_SECONDS)
    return client.send(topic, partition=partition, **record)


def _add_offsets(client: KafkaProducer, topic: str, offsets: Mapping[int, int], group: Any) -> None:
    consumed = {
        TopicPartition(topic, number): OffsetAndMetadata(at, "", -1) for number, at in offsets.items()
    }
    client.send_offsets_to_transaction(consumed, group)


def _close(client: KafkaProducer) -> None:
    # If the flush inside `close` times out, the sender thread keeps running, so stop it.
    with contextlib.suppress(KafkaError):
        client.close(timeout=0.5)
    client._sender.force_close()  # noqa: SLF001  # there is no public way
