"""Looking through the records of the state topic, whatever they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from worker.core import blocks
from worker.core.states import States
from worker.topics.state_scan import Contents, Entry, trace
from worker.topics.states import Forget, Replay


def block(clicks: Mapping[str, int]) -> bytes:
    """A block of some users and how often they clicked."""
    states = States(state_size=4)
    rows = states.rows(0, list(clicks))
    counts = np.array(list(clicks.values()), np.int32)
    states.item_codes.codes(["lamp"])
    states.write(rows, replace(states.read(rows), clicks=counts, offset=counts.astype(np.int64)))
    return blocks.encode(states, rows)


OLD: Final = block({"ada": 1, "bob": 1})
NEW: Final = block({"ada": 2})


def test_copies_count_while_their_record_is_the_latest() -> None:
    """Under the same key in another partition nothing is superseded."""
    entries = [
        Entry(0, 0, b"block/1", OLD),
        Entry(1, 0, b"block/1", OLD),
        Entry(0, 1, b"block/2", NEW),
        Entry(0, 2, b"block/1", None),
    ]

    found = trace(entries, "ada")

    assert [(copy.partition, copy.block, copy.at) for copy in found.copies] == [(1, 1, 0), (0, 2, 1)]
    assert [(copy.partition, copy.block, copy.at) for copy in found.superseded] == [(0, 1, 0)]
    assert [copy.saved.user_ids for copy in found.copies] == [["ada"], ["ada"]]
    assert found
    assert not trace(entries, "ad")


def test_a_wish_counts_until_it_is_fulfilled() -> None:
    """Of this user alone."""
    wish = Entry(0, 0, b"forget/ada", Forget(5, 1).value())

    assert trace([wish], "ada").wishes == {0: Forget(5, 1)}
    assert not trace([wish], "bob")
    assert not trace([wish, replace_value(wish, None)], "ada")


def test_what_cannot_be_read_is_named() -> None:
    """Only where it may concern the user: a damaged block of our format without the id does not."""
    damaged = OLD[:-3]

    assert len(trace([Entry(0, 0, b"block/1", damaged)], "ada").unreadable) == 1
    assert trace([Entry(0, 0, b"block/1", damaged)], "eve").unreadable == []
    assert len(trace([Entry(0, 0, b"block/1", b"another format")], "eve").unreadable) == 1


def test_contents_are_what_counts() -> None:
    """Sizes of the latest values, and of all for the log; a key that comes again replaces what was."""
    contents = Contents()
    entries = [
        Entry(0, 0, b"block/1", b"damaged"),
        Entry(0, 1, b"replay", Replay(4, 1).value()),
        Entry(0, 2, b"block/1", OLD),
        Entry(0, 3, b"block/2", NEW),
        Entry(0, 4, b"block/1", None),
        Entry(0, 5, b"what", b"x"),
        Entry(0, 6, b"forget/eve", Forget(5, 1).value()),
    ]
    for entry in entries:
        contents.take(entry)

    assert contents.blocks == 1
    assert contents.users == {b"block/2": ["ada"]}
    assert contents.sizes[b"block/2"] == len(NEW) + 7
    assert contents.log_bytes == sum(len(one.key) + len(one.value or b"") for one in entries)
    assert contents.replay == Replay(4, 1)
    assert contents.wishes == {"eve": Forget(5, 1)}
    assert contents.unreadable == {b"what": "no such key is known"}


def replace_value(entry: Entry, value: bytes | None) -> Entry:
    """The next record under the same key."""
    return entry._replace(offset=entry.offset + 1, value=value)
