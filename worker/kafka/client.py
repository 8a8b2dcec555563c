"""Makes kafka-python's clients, and translates their errors into ours.

Every client is made here, with the arguments and the time limits that all clients share.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from kafka import KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from worker.errors import KafkaAway, NextclickError, NotAllowed, SettingError, SharedIdentity, TopicError
from worker.kafka.fetcher import read_past_damage
from worker.kafka.interface import ANSWER_MS

T = TypeVar("T")

BOOTSTRAP_TIMEOUT_MS: Final = 5_000
"""The time to reach the first broker in. After it we say so and try again."""

RECONNECT_MAX_MS: Final = 1_000
"""The longest pause before a client tries a broker again that was away. With the default of 30 s a worker
served again 37 s after an outage of 20 s, with this within 2 s."""

METADATA_MAX_AGE_MS: Final = 10_000
"""A member of a group notices within this time that partitions were added."""

_TOO_LARGE: Final = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)
_WRONG_GROUP: Final = (
    kafka_errors.InconsistentGroupProtocolError,
    kafka_errors.InvalidGroupIdError,
    kafka_errors.InvalidSessionTimeoutError,
)
_NOT_ALLOWED: Final = (kafka_errors.AuthorizationError, kafka_errors.SaslAuthenticationFailedError)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the brokers are and how to prove who we are; makes clients and translates their errors."""

    bootstrap_servers: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_ca_file: str | None = None
    ssl_certificate_file: str | None = None
    ssl_key_file: str | None = None
    ssl_key_password: str | None = field(default=None, repr=False)
    ssl_check_hostname: bool = True
    origin: str = field(default="", compare=False)
    """From where the address comes, for messages."""

    def consumer(
        self, client_id: str, *, group: str | None = None, committed: bool = True, **more: Any
    ) -> KafkaConsumer:
        """Return a consumer that commits nothing by itself and reads from the first record on.

        It hands over records that it cannot decode as `unreadable`.
        """
        consumer = KafkaConsumer(
            **self.arguments(),
            client_id=client_id,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed" if committed else "read_uncommitted",
            allow_auto_create_topics=False,
            metrics_enabled=False,
            **more,
        )
        read_past_damage(consumer)
        return consumer

    def producer(self, client_id: str) -> KafkaProducer:
        """Return a producer without transactions, for a record now and then."""
        return KafkaProducer(
            **self.arguments(),
            client_id=client_id,
            acks="all",
            enable_idempotence=False,
            allow_auto_create_topics=False,
            max_block_ms=ANSWER_MS,
            metrics_enabled=False,
        )

    def transactional_producer(
        self, transactional_id: str, *, timeout_ms: int, max_request_bytes: int
    ) -> KafkaProducer:
        """Return a producer for `worker.kafka.transactions`."""
        return KafkaProducer(
            **self.arguments(),
            client_id=transactional_id,
            transactional_id=transactional_id,
            transaction_timeout_ms=timeout_ms,
            # An expired batch leaves a transaction that can be committed without its records: no
            # batch may expire before its transaction does.
            delivery_timeout_ms=timeout_ms + 5_000,
            request_timeout_ms=timeout_ms,
            max_block_ms=timeout_ms,
            # With the default of 100 a commit takes 110 ms, with 5 it takes 10.
            retry_backoff_ms=5,
            # Under load a request then carries 400 recommendations, not 17: two thirds of the client's work.
            batch_size=262_144,
            max_request_size=max_request_bytes,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )

    def admin_client(self) -> KafkaAdminClient:
        """Return a client for administration."""
        return KafkaAdminClient(**self.arguments(), client_id="nextclick-admin")

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that every client takes."""
        return {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS,
            "reconnect_backoff_max_ms": RECONNECT_MAX_MS,
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
            "ssl_cafile": self.ssl_ca_file,
            "ssl_certfile": self.ssl_certificate_file,
            "ssl_keyfile": self.ssl_key_file,
            "ssl_password": self.ssl_key_password,
            "ssl_check_hostname": self.ssl_check_hostname,
        }

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Raise the client's errors as ours: KafkaAway where trying again may help. `doing` begins it."""
        try:
            yield
        except KafkaError as error:
            raise self.translated(error, doing) from error

    def translated(self, error: BaseException, doing: str) -> NextclickError:
        """Return what an error of the client means for us."""
        text = f"{doing}: {error}"
        if isinstance(error, _NOT_ALLOWED):
            return NotAllowed(f"{text}. `nextclick-worker check` prints the ACLs that the worker needs")
        if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
            return TopicError(f"{text}. `nextclick-worker topics` creates what is missing", topic="")
        if isinstance(error, kafka_errors.FencedInstanceIdError):
            return SharedIdentity(
                f"{text}. Another member of the group has this worker_id: give each its own"
            )
        if isinstance(error, _WRONG_GROUP):
            return SettingError(
                f"{text}. The consumer group `group` is used by others in another way, or the broker does "
                "not take kafka.session_timeout_ms: change the one that the error names"
            )
        if isinstance(error, _TOO_LARGE):
            return TopicError(
                f"{text}. Raise max.message.bytes of the topic, or lower recommend.top", topic=""
            )
        if isinstance(error, kafka_errors.CorruptRecordError):
            helps = (
                "The broker cannot read its own log; its messages name the file. A sound replica helps, or "
                "the deletion of the records up to there (kafka-delete-records)"
            )
        else:
            setting = ", ".join(filter(None, ["kafka.bootstrap_servers", self.origin]))
            helps = f"Is a broker running at {self.bootstrap_servers} ({setting})?"
        return KafkaAway(f"{text}. {helps}")


def bounded(call: Callable[[], T], *, seconds: float, doing: str) -> T:
    """Return the result of `call`, run in a thread of its own. Raises KafkaAway after `seconds`.

    Several calls of the client wait without a limit. One that expires goes on in its thread; the caller
    must drop the client that it belongs to.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001  # handed to the caller, whatever it is
            outcome.set_exception(error)

    threading.Thread(target=run, name=f"nextclick-{doing}", daemon=True).start()
    try:
        return outcome.result(timeout=seconds)
    except TimeoutError:
        raise KafkaAway(f"{doing}: no answer within {seconds:g} s") from None
