"""Creation of kafka-python's clients, and translation of their errors to NextclickErrors.

All clients are created here, with the same arguments and time limits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from kafka import KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

from worker.errors import KafkaAway, NextclickError, NotAllowed, SettingError, SharedIdentity, TopicError
from worker.kafka.fetcher import read_past_damage
from worker.kafka.interface import ANSWER_MS, Meanwhile
from worker.kafka.refusals import Refused
from worker.kafka.security import Security

T = TypeVar("T")

BOOTSTRAP_TIMEOUT_MS: Final = 5_000
"""Time limit for the first connection to a broker; a call that exceeds it is reported and retried."""

RECONNECT_MAX_MS: Final = 1_000
"""Maximum pause before a client reconnects to an unreachable broker. After an outage of 20 s, a worker served
again within 2 s; with the default of 30 s, only after 37 s."""

METADATA_MAX_AGE_MS: Final = 10_000
"""Maximum time until a group member notices added partitions."""

_TOO_LARGE: Final = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)
_WRONG_SETTING: Final[tuple[tuple[tuple[type[KafkaError], ...], str], ...]] = (
    (
        (
            kafka_errors.InconsistentGroupProtocolError,
            kafka_errors.InvalidGroupIdError,
            kafka_errors.InvalidSessionTimeoutError,
        ),
        (
            "Either other programs use the consumer group differently, or the broker does not allow this "
            "session timeout; change `group` or kafka.session_timeout_ms"
        ),
    ),
    (
        (kafka_errors.InvalidTransactionTimeoutError,),
        (
            "The broker does not allow such long transactions; lower "
            "kafka.transaction_timeout_ms, or raise the broker's transaction.max.timeout.ms"
        ),
    ),
)
"""The errors that only another setting can end, with the remedy."""


_ANSWERED: Final = kafka_errors.BrokerResponseError
_CONNECTION: Final = (
    kafka_errors.RequestTimedOutError,  # also raised by the client itself
    kafka_errors.NetworkExceptionError,
    kafka_errors.IllegalSaslStateError,
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
)
"""The errors with a broker's error code that are about the connection."""


def without_connection(error: BaseException) -> bool:
    """Return whether the client may have failed because it has no connection."""
    return isinstance(error, _CONNECTION) or not isinstance(error, _ANSWERED)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The brokers' addresses and credentials; creates clients and translates their errors."""

    bootstrap_servers: str
    security: Security = field(default_factory=Security)
    origin: str = field(default="", compare=False)
    """The source of the address, as text for messages."""

    def consumer(
        self, client_id: str, *, group: str | None = None, committed: bool = True, **more: Any
    ) -> KafkaConsumer:
        """Return a consumer without auto-commit; without a committed offset, it starts at the first record.

        The consumer returns records that it cannot decode as `unreadable`.
        """
        consumer = self._connected(
            KafkaConsumer,
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
        """Return a producer without transactions, for occasional records."""
        return self._connected(
            KafkaProducer,
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
        return self._connected(
            KafkaProducer,
            client_id=transactional_id,
            transactional_id=transactional_id,
            transaction_timeout_ms=timeout_ms,
            # A transaction can be committed without the records of an expired batch, so no batch may
            # expire before its transaction does.
            delivery_timeout_ms=timeout_ms + 5_000,
            request_timeout_ms=timeout_ms,
            max_block_ms=timeout_ms,
            # With this value, a commit takes 10 ms; with the default of 100 ms, it takes 110 ms.
            retry_backoff_ms=5,
            # Under load, a request carries 400 lists instead of 17, which saves a third of the client's work.
            batch_size=262_144,
            max_request_size=max_request_bytes,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )

    def admin_client(self) -> KafkaAdminClient:
        """Return an admin client."""
        return self._connected(KafkaAdminClient, client_id="nextclick-admin")

    def _connected(self, kind: Callable[..., T], **more: Any) -> T:
        """Return a client that has found a broker. Leaves nothing open if there is none.

        kafka-python 3.0.12 keeps the thread and the sockets of a client whose first connection fails.
        """
        opened: list[KafkaNetClient] = []

        def opening(**arguments: Any) -> KafkaNetClient:
            opened.append(KafkaNetClient(**arguments))
            return opened[-1]

        try:
            return kind(**self.arguments(), kafka_client=opening, **more)
        except BaseException:
            for network in opened:
                network.close()
            raise

    def arguments(self) -> dict[str, Any]:
        """Return the arguments common to all clients."""
        return {
            "bootstrap_servers": self.bootstrap_servers.split(","),
            "bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS,
            "reconnect_backoff_max_ms": RECONNECT_MAX_MS,
            **self.security.arguments(),
        }

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Translate the client's errors inside the context to NextclickErrors that start with `doing`."""
        try:
            yield
        except KafkaError as error:
            raise self.translated(error, doing) from error

    def refusal(self) -> Refused | None:
        """Return the reason why no connection is possible; None if it is not known."""
        return None

    def translated(self, error: BaseException, doing: str) -> NextclickError:
        """Return the NextclickError for an error of the client."""
        text = f"{doing}: {error}"
        if isinstance(error, kafka_errors.AuthorizationError):
            return NotAllowed(f"{text}. `nextclick-worker check` prints the ACLs that the worker needs")
        if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
            return TopicError(f"{text}. `nextclick-worker topics` creates missing topics", topic="")
        if isinstance(error, kafka_errors.FencedInstanceIdError):
            return SharedIdentity(
                f"{text}. Another member of the group has this worker_id; give each worker a different one"
            )
        for kinds, remedy in _WRONG_SETTING:
            if isinstance(error, kinds):
                return SettingError(f"{text}. {remedy}")
        if isinstance(error, _TOO_LARGE):
            return TopicError(
                f"{text}. Raise max.message.bytes of the topic, or lower recommend.top", topic=""
            )
        return self._away(error, doing)

    def _away(self, error: BaseException, doing: str) -> KafkaAway:
        """Return the KafkaAway for an error that may go away by itself, with its reason if that is known."""
        if isinstance(error, kafka_errors.CorruptRecordError):
            return KafkaAway(
                f"{doing}: {error}. The broker cannot read its own log; the broker's log messages name the "
                "file. Restore the partition from a healthy replica, or delete the records up to the "
                "damage (kafka-delete-records)"
            )
        if not without_connection(error):
            return KafkaAway(f"{doing}: {error}")
        if reason := self.refusal():
            return KafkaAway(f"{doing}: {reason}")
        setting = ", ".join(filter(None, ["kafka.bootstrap_servers", self.origin]))
        return KafkaAway(f"{doing}: {error}. Is a broker running at {self.bootstrap_servers} ({setting})?")


def bounded(call: Callable[[], T], *, seconds: float, doing: str, meanwhile: Meanwhile | None = None) -> T:
    """Return the result of `call`, which runs in a separate thread. Raises KafkaAway after `seconds`.

    Some calls of kafka-python's clients may block for ever. After a timeout, `call` continues in its thread,
    so the caller must discard the client. `meanwhile` is called in this thread.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            outcome.set_exception(error)

    deadline = time.monotonic() + seconds
    threading.Thread(target=run, name=f"nextclick-{doing}", daemon=True).start()
    if meanwhile is not None:
        meanwhile(outcome, seconds)
    try:
        return outcome.result(timeout=max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise KafkaAway(f"{doing}: no answer within {seconds:g} s") from None
