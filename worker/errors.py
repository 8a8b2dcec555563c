"""All errors that the worker raises on purpose.

The class hierarchy tells a caller whether a retry makes sense::

    NextclickError
      Retriable                 the same call may succeed later: back off and retry
        KafkaAway               no broker answers in time
        NotStable               a committed offset may still change
        CheckpointFailed        a transaction was refused, fenced or timed out
        RegistryAway            the schema registry does not answer in time
        TopicGone               a topic was suitable at the start, but is now missing or too small
      SettingError              a setting is invalid; nothing was started
      TopicError                a topic is missing or unsuitable
      NotAllowed                Kafka denies access or rejects the credentials
      SharedIdentity            two workers run with the same transactional id
      ReleaseRefused            a release does not match its manifest
      StateRefused              the state topic is unreadable or inconsistent
      RegistryRefused           the schema registry rejects the credentials or a schema, or lacks a schema

Any other exception is a bug. Only `worker.loop` decides how to handle an error.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

__all__ = [
    "CheckpointFailed",
    "KafkaAway",
    "NextclickError",
    "NotAllowed",
    "NotStable",
    "RegistryAway",
    "RegistryRefused",
    "ReleaseRefused",
    "Retriable",
    "SettingError",
    "SharedIdentity",
    "StateRefused",
    "TopicError",
    "TopicGone",
]


Failure = Literal[
    "kafka_away", "not_stable", "fenced", "revoked", "timeout", "refused", "registry_away", "topic_gone"
]
FAILURES: Final[tuple[Failure, ...]] = get_args(Failure)
"""The reasons of retriable errors, as labels of metrics."""

Refusal = Literal[
    "checksum",
    "co_occurrences",
    "format",
    "golden",
    "item_ids",
    "lists",
    "manifest",
    "missing",
    "not_finite",
    "pointer",
    "shape",
    "size",
    "tensors",
    "transitions",
]
REFUSALS: Final[tuple[Refusal, ...]] = get_args(Refusal)
"""The reasons why a worker refuses a release, as labels of metrics."""


EXIT_CODE: Final = 2
"""Exit code of a program that ends with a NextclickError."""


class NextclickError(Exception):
    """The base class of all errors. `retriable`: whether the same call may succeed later."""

    retriable = False

    def __reduce__(self) -> tuple[Any, ...]:
        # For pickling: the constructors of some classes take arguments other than the message.
        return _again, (type(self), self.args, self.__dict__)


class Retriable(NextclickError):
    """Raised when the same call may succeed later, so that the caller should wait and retry."""

    retriable = True
    reason: Failure


class KafkaAway(Retriable):
    """Raised when no broker answers in time."""

    reason = "kafka_away"


class NotStable(Retriable):
    """Raised when a committed offset may still change, because a transaction with a newer offset is open."""

    reason = "not_stable"


class CheckpointFailed(Retriable):
    """Raised when a transaction did not commit, so that its work must be repeated.

    `reason`: `fenced` (a newer producer has the same transactional id), `revoked` (other workers have
    partitions of the transaction), `timeout` (no answer in time) or `refused` (any other answer of Kafka).
    """

    def __init__(
        self, message: str, *, reason: Literal["fenced", "revoked", "timeout", "refused"] = "refused"
    ) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def fenced(self) -> bool:
        """Whether a newer producer has the same transactional id."""
        return self.reason == "fenced"


class RegistryAway(Retriable):
    """Raised when the schema registry does not answer in time."""

    reason = "registry_away"


class TopicGone(Retriable):
    """Raised when a topic was suitable at the start, but is now missing or has too few partitions."""

    reason = "topic_gone"


class SettingError(NextclickError):
    """Raised when settings are invalid; the message names each key, its value and the remedy."""


class TopicError(NextclickError):
    """Raised when a topic is missing or unsuitable, for example because it has too few partitions."""

    def __init__(self, message: str, *, topic: str) -> None:
        super().__init__(message)
        self.topic = topic


class NotAllowed(NextclickError):
    """Raised when Kafka denies the worker an operation that it needs, or rejects its credentials."""


class SharedIdentity(NextclickError):
    """Raised when another worker runs with this worker's transactional id."""


class ReleaseRefused(NextclickError):
    """Raised when a release is invalid, does not match its manifest, or cannot be used.

    `reason` is one of `REFUSALS`, or `doubtful` if `publish` asks for a confirmation; the message has the
    details.
    """

    def __init__(self, reason: Refusal | Literal["doubtful"], message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StateRefused(NextclickError):
    """Raised when the contents of the state topic are unreadable, or contradict Kafka's offsets."""


class RegistryRefused(NextclickError):
    """Raised when the schema registry rejects the credentials or a schema, or lacks a needed schema."""


def _again(kind: type[NextclickError], args: tuple[Any, ...], facts: dict[str, Any]) -> NextclickError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(facts)
    return error
