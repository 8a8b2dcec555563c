"""Every error that the worker raises on purpose.

The tree answers the only question a caller has, whether to try again::

    NextclickError
      Retriable                 the same thing may work later: back off, try again
        KafkaAway               no broker answers, or not in time
        NotStable               a committed offset may still change
        CheckpointFailed        a transaction was refused, fenced or ran out of time
        RegistryAway            the schema registry does not answer, or not in time
        TopicGone               a topic that was there is missing or has the wrong shape
      SettingError              a setting is wrong: nothing was started
      TopicError                a topic is missing or has the wrong shape
      NotAllowed                Kafka refuses a right or the credentials
      SharedIdentity            two workers run under one transactional id
      ReleaseRefused            a release is not what its manifest says
      StateRefused              the state topic is not what it must be
      RegistryRefused           the schema registry refuses the credentials or a schema, or lacks one

What is not in this tree is a fault of the program. Only `worker.loop` decides what follows.
"""

from __future__ import annotations

from typing import Any

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


class NextclickError(Exception):
    """The root. `retriable` is a fact of the class: whether the same call may succeed later."""

    retriable = False

    def __reduce__(self) -> tuple[Any, ...]:
        # Between processes: some classes take other arguments than the text that they show.
        return _again, (type(self), self.args, self.__dict__)


class Retriable(NextclickError):
    """Raised when waiting and trying again is the right answer."""

    retriable = True


class KafkaAway(Retriable):
    """Raised when no broker answers, or none answers in time."""


class NotStable(Retriable):
    """Raised when a committed offset may still change: a transaction that is open may commit another."""


class CheckpointFailed(Retriable):
    """Raised when a transaction did not commit; its work must be done again.

    `fenced`: the broker knows a newer producer under the same transactional id.
    """

    def __init__(self, message: str, *, fenced: bool = False) -> None:
        super().__init__(message)
        self.fenced = fenced


class RegistryAway(Retriable):
    """Raised when the schema registry does not answer, or not in time."""


class TopicGone(Retriable):
    """Raised when a topic was deleted, or became too small, while the worker ran: it may be created again."""


class SettingError(NextclickError):
    """Raised when the settings cannot be used; the text names each key, its value and the remedy."""


class TopicError(NextclickError):
    """Raised when a topic is missing or has the wrong shape."""

    def __init__(self, message: str, *, topic: str) -> None:
        super().__init__(message)
        self.topic = topic


class NotAllowed(NextclickError):
    """Raised when Kafka refuses the worker a right that it needs, or its credentials."""


class SharedIdentity(NextclickError):
    """Raised when another worker keeps taking over this worker's transactional id."""


class ReleaseRefused(NextclickError):
    """Raised when a release is not what its manifest says.

    `reason` is one short word of a bounded set (it becomes a metric label); the text has the details.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StateRefused(NextclickError):
    """Raised when what the state topic holds cannot be read or does not fit what else Kafka says."""


class RegistryRefused(NextclickError):
    """Raised when the schema registry refuses the credentials or a schema, or lacks that of the lists."""


def _again(kind: type[NextclickError], args: tuple[Any, ...], facts: dict[str, Any]) -> NextclickError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(facts)
    return error
