from __future__ import annotations

import pickle

import pytest

from trainer.errors import MissingColumn, UnreadableFile
from worker.errors import CheckpointFailed, KafkaAway, NextclickError, ReleaseRefused, TopicError


@pytest.mark.parametrize(
    "error",
    [
        KafkaAway("no broker"),
        CheckpointFailed("send", reason="fenced"),
        ReleaseRefused("checksum", "the blob is another"),
        TopicError("there is no topic", topic="clicks"),
        UnreadableFile("clicks.csv", "it is empty"),
        MissingColumn("no column of users", role="user", existing=["a", "b"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_stays_the_same_between_processes(error: NextclickError) -> None:
    """Its class, its text and what it carries, whatever its constructor takes."""
    found = pickle.loads(pickle.dumps(error))  # our own

    assert type(found) is type(error)
    assert (str(found), vars(found)) == (str(error), vars(error))
