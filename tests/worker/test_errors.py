"""The tree of errors answers whether to try again."""

from __future__ import annotations

import pickle

import pytest

from worker import errors
from worker.errors import CheckpointFailed, NextclickError, NotStable, ReleaseRefused, Retriable, TopicError

RETRIABLE = {"Retriable", "KafkaAway", "RegistryAway", "TopicGone", "CheckpointFailed", "NotStable"}


@pytest.mark.parametrize("name", errors.__all__)
def test_who_may_try_again_says_so(name: str) -> None:
    """A fact of the class; all have one root."""
    kind = getattr(errors, name)

    assert issubclass(kind, NextclickError)
    assert kind.retriable == issubclass(kind, Retriable)
    assert kind.retriable == (name in RETRIABLE)


@pytest.mark.parametrize(
    "error",
    [
        NotStable("it is open"),
        CheckpointFailed("send", reason="fenced"),
        TopicError("none", topic="clicks"),
        ReleaseRefused("checksum", "another"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_keeps_what_it_carries(error: NextclickError) -> None:
    """Also between processes."""
    found = pickle.loads(pickle.dumps(error))  # our own

    assert type(found) is type(error)
    assert (str(found), vars(found)) == (str(error), vars(error))
