"""Clicks whose answers show what a worker remembers of its users, and what it should remember."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Unpack

import orjson
import pytest

from tests.broker.client import Record
from tests.broker.deployment import Deployment
from tests.builders import ITEMS, Options, tiny_release_parts
from tests.reference import OneClick, Reference

USERS: Final = 40


def publish(deployment: Deployment, **options: Unpack[Options]) -> Reference:
    """Publish a release that remembers; the definition of what it answers."""
    parts = tiny_release_parts(**options)
    deployment.publish(*parts)
    return Reference(*parts, ITEMS)


def one_click(deployment: Deployment, record: Record) -> OneClick:
    """The same click for the reference."""
    document = orjson.loads(record.value or b"")
    return OneClick(
        record.partition or 0,
        record.offset or 0,
        document["user_id"],
        document["item_id"],
        document["timestamp"],
        0,
    )


def clicks(number: int, *, first: int = 0) -> list[Record]:
    """Clicks of all users in turn, with times of their own: sessions end now and then."""
    return [
        Record(
            orjson.dumps(
                {
                    "user_id": f"user-{click % USERS}",
                    "item_id": ITEMS[click * 7 % len(ITEMS)] if click % 11 else "unknown",
                    "timestamp": 1_700_000_000_000 + click * 40_000,
                }
            ),
            partition=click % USERS % 4,
        )
        for click in range(first, first + number)
    ]


def assert_remembered(
    deployment: Deployment, reference: Reference, sent: Sequence[Record], asked: Sequence[Record]
) -> None:
    """The answers to `asked` are those of one who has seen all of `sent`, and `asked`, exactly once."""
    for record in sent:
        reference.apply(one_click(deployment, record))
    wanted = {deployment.click_id(record): record for record in asked}
    answers = {
        answer.header("id"): answer.json
        for answer in deployment.answers(at_least=len(sent) + len(asked))
        if answer.header("id") in wanted
    }

    assert set(answers) == set(wanted)
    for name, record in wanted.items():
        user = reference.apply(one_click(deployment, record))
        expected = reference.answer(user, top=20, exclude_recent=1)
        answer = answers[name]
        assert answer["reason"] == expected.reason
        assert set(answer["items"]) == set(expected.items)
        if expected.reason == "model":
            scores = [expected.scores[item] for item in answer["items"]]
            assert answer["scores"] == pytest.approx(scores, abs=0.1)
