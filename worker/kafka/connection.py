"""How to reach Kafka, and what its errors mean for us."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from kafka import errors as kafka_errors
from kafka.errors import KafkaError

from worker.errors import KafkaAway, NextclickError, NotAllowed, SettingError, SharedIdentity, TopicError

T = TypeVar("T")

BOOTSTRAP_TIMEOUT_MS: Final = 5_000
"""How long a client tries to reach the first broker before we say so and try again."""

RECONNECT_MAX_MS: Final = 1_000
"""How long a client waits at the most before it tries a broker again that was away. With the default of 30 s
a worker served again 37 s after an outage of 20 s; so it does within 2 s."""

_TOO_LARGE: Final = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)
_WRONG_GROUP: Final = (
    kafka_errors.InconsistentGroupProtocolError,
    kafka_errors.InvalidGroupIdError,
    kafka_errors.InvalidSessionTimeoutError,
)
_NOT_ALLOWED: Final = (kafka_errors.AuthorizationError, kafka_errors.SaslAuthenticationFailedError)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the brokers are and how to prove who we are; passed through to the client unchanged."""

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

    def settings(self) -> dict[str, Any]:
        """The keyword arguments that every client of kafka-python takes."""
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

    def reading(self, client_id: str) -> dict[str, Any]:
        """Those of a consumer that is in no group and reads what is committed, from the begin on."""
        return {
            **self.settings(),
            "client_id": client_id,
            "group_id": None,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Raise the client's errors as ours: KafkaAway where trying again may help. `doing` begins it."""
        try:
            yield
        except KafkaError as error:
            raise self.translated(error, doing) from error

    def translated(self, error: BaseException, doing: str) -> NextclickError:
        """What an error of the client means for us."""
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
        return KafkaAway(
            f"{text}. Is a broker running at {self.bootstrap_servers} (kafka.bootstrap_servers)?"
        )


def bounded(call: Callable[[], T], *, seconds: float, doing: str) -> T:
    """The result of `call`, run in a thread of its own; KafkaAway if it is not there after `seconds`.

    Several calls of the client wait without a limit. One that expires goes on in its thread; whoever
    called must drop the client that it belongs to.
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
