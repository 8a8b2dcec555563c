"""Clicks whose answers show what a worker remembers of its users, and what it should remember."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import orjson
import pytest

from tests.builders import ITEMS
from tests.records import Record
from tests.reference import OneClick, Reference

USERS: Final = 40


def one_click(record: Record) -> OneClick:
    """The same click for the reference."""
    one = record.json
    return OneClick(
        record.partition or 0, record.offset or 0, one["user_id"], one["item_id"], one["timestamp"], 0
    )


def clicks(number: int, *, first: int = 0, partitions: int = 4) -> list[Record]:
    """Clicks of all users in turn, with times of their own: sessions end now and then."""
    return [
        Record(
            orjson.dumps(
                {
                    "user_id": f"user-{click % USERS}",
                    "item_id": ITEMS[click * 7 % len(ITEMS)] if click % 11 else "unknown",
                    "timestamp": 1_690_000_000_000 + click * 40_000,
                }
            ),
            partition=click % USERS % partitions,
        )
        for click in range(first, first + number)
    ]


def assert_remembered(
    reference: Reference, sent: Sequence[Record], asked: Sequence[Record], answers: Iterable[Record]
) -> None:
    """The answers to `asked` are those of one who has seen all of `sent`, and `asked`, exactly once."""
    for record in sent:
        reference.apply(one_click(record))
    wanted = {(record.partition, record.offset): record for record in asked}
    events = ((answer.json["event"], answer.json) for answer in answers)
    found = {(event["partition"], event["offset"]): answer for event, answer in events}

    assert set(wanted) <= set(found)
    for at, record in wanted.items():
        user = reference.apply(one_click(record))
        expected = reference.answer(user, top=20, exclude_recent=1)
        answer = found[at]
        assert answer["reason"] == expected.reason
        assert set(answer["items"]) == set(expected.items)
        if expected.reason == "model":
            scores = [expected.scores[item] for item in answer["items"]]
            assert answer["scores"] == pytest.approx(scores, abs=0.1)
