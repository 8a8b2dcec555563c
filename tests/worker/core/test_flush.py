"""What a flush writes, and what the ledger knows of it; the laws of both stand in `tests/laws`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import clicked, item_names
from tests.examples import examples
from worker.core import blocks
from worker.core.blocks import MAX_BYTES, MAX_ROWS, decode
from worker.core.flush import SMALL_BLOCKS, Flush, Ledger
from worker.core.states import States

LONG: Final = "x" * 240


def names(begin: int, end: int) -> list[str]:
    """Users `user-<begin>` to before `user-<end>`."""
    return [f"user-{number}" for number in range(begin, end)]


class Saved:
    """The states of partition 0 and what was written of them."""

    def __init__(self, *, state_size: int = 2, recent_items: int = 2) -> None:
        self.states = States(state_size=state_size, recent_items=recent_items, slab_rows=1 << 12)
        self.ledger = Ledger()
        self.blocks: dict[int, bytes] = {}
        """What a reader of the topic finds after compaction."""
        self._offset = 0

    def click(self, user_ids: Sequence[str], item_ids: Sequence[str] = ("lamp",), *, times: int = 1) -> None:
        """All of these click these items so often."""
        self._offset += 1
        clicked(self.states, 0, user_ids, [*item_ids] * times, offset=self._offset)

    def flush(self, condemned: Collection[int] = ()) -> list[list[str]]:
        """Write all; whose states each new block holds."""
        flush = Flush(self.states, self.ledger, partition=0, condemned=condemned)
        return [decode(value).user_ids for _, value in self.written(flush)]

    def written(self, flush: Flush, at_most: int = 1000) -> list[tuple[int, bytes]]:
        """What the next part of a flush writes."""
        written = flush.next_blocks(at_most)
        self.blocks |= dict(written)
        for number in flush.tombstones if flush.done else ():
            del self.blocks[number]
        return written

    def read_back(self) -> tuple[States, Ledger]:
        """What another owner finds."""
        states, ledger = States(state_size=2, recent_items=2), Ledger()
        for number, value in self.blocks.items():
            ledger.load(states, 0, number, decode(value))
        return states, ledger


def test_where_nothing_changed_nothing_is_written() -> None:
    """It is done at once, and can be asked for more in vain."""
    saved = Saved()
    saved.click(names(0, 3))
    saved.flush()
    flush = Flush(saved.states, saved.ledger, partition=0)

    assert (flush.done, flush.blocks_left, flush.tombstones) == (True, 0, [])
    assert flush.next_blocks(9) == flush.next_blocks(9) == []
    assert len(saved.ledger) == 1


def test_only_what_changed_is_written() -> None:
    """Bytes follow those who are active, not those who exist."""
    saved = Saved()
    saved.click(names(0, 9))
    saved.flush()
    saved.click(names(3, 5))

    assert saved.flush() == [names(3, 5)]
    assert saved.ledger.sizes == {1: 9, 2: 2}


def test_a_flush_comes_in_parts() -> None:
    """What changes meanwhile is written as it is, or with the next flush; tombstones wait for the end."""
    saved = Saved()
    saved.click(names(0, 3 * MAX_ROWS))
    flush = Flush(saved.states, saved.ledger, partition=0)
    saved.click(["late"])
    assert (flush.blocks_left, flush.done) == (3, False)
    first = saved.written(flush, 1)
    saved.click(names(0, 1))
    saved.click(names(3 * MAX_ROWS - 1, 3 * MAX_ROWS))
    rest = saved.written(flush, 2)

    assert [number for number, _ in first + rest] == [1, 2, 3]
    assert flush.done
    assert decode(rest[-1][1]).states.clicks[-1] == 2
    assert saved.flush() == [["user-0", "late"]]


def test_who_clicks_a_lot_is_saved_with_others_who_do() -> None:
    """Their blocks will soon be hollow, and the others' will not."""
    saved = Saved()
    saved.click(names(0, 2 * MAX_ROWS))
    saved.click(names(0, 2 * MAX_ROWS)[::2])
    busy, quiet = saved.flush()

    assert busy == names(0, 2 * MAX_ROWS)[::2]
    assert quiet == names(0, 2 * MAX_ROWS)[1::2]


def test_what_a_hollow_block_still_holds_is_taken_along() -> None:
    """And the block is dropped; one that is half current stays."""
    saved = Saved()
    saved.click(names(0, 10))
    saved.flush()
    saved.click(names(0, 5))
    assert saved.flush() == [names(0, 5)]
    saved.click(names(5, 6))
    flush = Flush(saved.states, saved.ledger, partition=0)

    assert flush.tombstones == [1]
    written = [decode(value).user_ids for _, value in saved.written(flush)]
    assert written == [["user-5"], names(6, 10)]
    assert saved.ledger.sizes == {2: 5, 3: 1, 4: 4}


def test_the_number_of_a_dropped_block_is_used_again() -> None:
    """By the next flush, not by the one that drops it: until then both are in the topic."""
    saved = Saved()
    for _ in range(2):
        saved.click(names(0, 9))
        saved.flush()
    assert saved.ledger.sizes == {2: 9}
    saved.click(names(0, 9))
    saved.flush()

    assert saved.ledger.sizes == {1: 9}
    assert saved.ledger.new_number() == 2


def test_many_small_blocks_become_one() -> None:
    """Few clicks make small flushes: more than sixteen small blocks are merged by the next."""
    saved = Saved()
    for number in range(SMALL_BLOCKS + 1):
        saved.click([f"user-{number}"])
        saved.flush()
    assert len(saved.ledger) == SMALL_BLOCKS + 1
    saved.click(["last"])
    saved.flush()

    assert saved.ledger.sizes.keys() == {SMALL_BLOCKS + 2, SMALL_BLOCKS + 3}
    assert sum(saved.ledger.sizes.values()) == SMALL_BLOCKS + 2


def test_long_ids_divide_a_block() -> None:
    """Each part stays below the limit, and none is lost."""
    saved = Saved(recent_items=20)
    for number in range(0, MAX_ROWS, 8):
        saved.click(names(number, number + 8), [f"{LONG}{number}{nth}" for nth in range(20)])
    flush = Flush(saved.states, saved.ledger, partition=0)
    written = flush.next_blocks(1)

    assert flush.done
    assert len(written) > 1
    assert max(len(value) for _, value in written) <= MAX_BYTES
    assert [one for _, value in written for one in decode(value).user_ids] == names(0, MAX_ROWS)


def test_blocks_that_ids_make_long_are_not_written_again_and_again() -> None:
    """They hold few rows and are not small: a click of one user is saved as one block."""
    saved = Saved(recent_items=20)
    for number in range(3000):
        saved.click([f"user-{number}"], [f"{LONG}{number}{nth}" for nth in range(20)])
    first = saved.flush()
    assert len(first) > SMALL_BLOCKS
    assert max(map(len, first)) <= MAX_ROWS // 4
    saved.click(["user-0"])

    assert saved.flush() == [["user-0"]]


@pytest.mark.parametrize("state_size", [128, 256, 2048])
def test_blocks_have_as_many_rows_as_fit(state_size: int) -> None:
    """With usual ids they are below the limit at the first try, and not far below."""
    saved = Saved(state_size=state_size, recent_items=20)
    items = item_names(2000)
    for number in range(0, 3000, 10):
        saved.click(names(number, number + 10), [items[(7 * number + nth) % 2000] for nth in range(20)])
    flush = Flush(saved.states, saved.ledger, partition=0)
    parts = flush.blocks_left
    written = flush.next_blocks(100)

    assert len(written) == parts
    assert all(MAX_BYTES // 3 < len(value) <= MAX_BYTES for _, value in written)


def test_a_user_larger_than_a_block_is_a_block() -> None:
    """What cannot be divided is written as it is."""
    saved = Saved(state_size=MAX_BYTES)
    saved.click(names(0, 2))

    assert saved.flush() == [["user-0"], ["user-1"]]


def test_a_condemned_block_is_dropped_whatever_it_holds() -> None:
    """Its rows move on; a number that no block has any more is passed over."""
    saved = Saved()
    saved.click(names(0, 3))
    saved.flush()
    saved.click(names(3, 6))
    saved.flush()

    assert saved.flush(condemned=[1, 77]) == [names(0, 3)]
    assert saved.ledger.sizes == {2: 3, 3: 3}


def test_users_who_are_freed_during_a_flush_are_not_written() -> None:
    """Nor those of another partition who got their rows."""
    saved = Saved()
    saved.click(names(0, 4))
    flush = Flush(saved.states, saved.ledger, partition=0)
    saved.states.free(saved.states.rows(0, ["user-1", "user-2"]))
    saved.states.rows(7, ["new"])
    clicked(saved.states, 7, ["other"], offset=1)

    assert [decode(value).user_ids for _, value in flush.next_blocks(9)] == [["user-0", "user-3"]]
    assert saved.states.users(7) == 2
    assert len(saved.states.changed(7)) == 1


def test_where_all_users_are_freed_during_a_flush_no_block_is_written() -> None:
    """It is done all the same."""
    saved = Saved()
    saved.click(names(0, 4))
    flush = Flush(saved.states, saved.ledger, partition=0)
    saved.states.free(saved.states.owned(0))

    assert (flush.next_blocks(9), flush.done, len(saved.ledger)) == ([], True, 0)


def test_a_block_of_users_who_were_freed_is_dropped() -> None:
    """Nothing of it is current."""
    saved = Saved()
    saved.click(names(0, 4))
    saved.flush()
    saved.states.free(saved.states.owned(0))

    assert saved.flush() == []
    assert len(saved.ledger) == 0


def test_a_tombstone_drops_the_rows_that_the_block_still_holds() -> None:
    """Of this partition only; rows that a later block holds, or that others got, stay."""
    saved, other = Saved(), Ledger()
    saved.click(names(0, 4))
    saved.flush()
    clicked(saved.states, 7, ["user-0"], offset=1)
    Flush(saved.states, other, partition=7).next_blocks(1)
    saved.states.free(saved.states.rows(0, ["user-3"]))
    clicked(saved.states, 7, ["user-9"], offset=2)
    Flush(saved.states, Ledger(), partition=7).next_blocks(1)
    saved.click(["user-1"])
    saved.flush()
    saved.ledger.drop(saved.states, 0, 1)
    saved.ledger.drop(saved.states, 0, 99)

    assert saved.states.user_ids(saved.states.owned(0)) == ["user-1"]
    assert sorted(saved.states.user_ids(saved.states.owned(7))) == ["user-0", "user-9"]
    assert saved.ledger.sizes.keys() == {2}


def test_a_block_that_comes_again_replaces_what_it_held() -> None:
    """Compaction may have taken the tombstone between the two."""
    states, ledger = States(state_size=2), Ledger()
    values = []
    for users, offset in ((["ada", "bob"], 1), (["cyd"], 2)):
        source = States(state_size=2)
        values.append(blocks.encode(source, clicked(source, 0, users, offset=offset)))
    taken = [ledger.load(states, 0, 4, decode(value)) for value in values]

    assert taken == [2, 1]
    assert states.user_ids(states.owned(0)) == ["cyd"]
    assert states.users(0) == 1
    assert (ledger.sizes, ledger.bytes) == ({4: 1}, {4: len(values[1])})


def test_of_several_copies_the_highest_offset_wins() -> None:
    """Wherever it stands; of equals the later one."""
    states, ledger = States(state_size=2), Ledger()
    taken = []
    for number, offset in enumerate((5, 9, 7, 9, 3), 1):
        source = States(state_size=2)
        value = blocks.encode(source, clicked(source, 0, ["ada"], [f"item-{number}"], offset=offset))
        taken.append(ledger.load(states, 0, number, decode(value)))

    assert taken == [1, 1, 0, 1, 0]
    rows = states.owned(0)
    assert (states.blocks(rows).tolist(), states.read(rows).offset.tolist()) == ([4], [9])
    assert len(states.changed(0)) == 0


def test_what_is_read_back_is_what_was_written() -> None:
    """Users, blocks, sizes and bytes, and the number that comes next."""
    saved = Saved()
    for number in range(30):
        saved.click(names(number * 7 % 50, number * 7 % 50 + 20))
        saved.flush()
    states, ledger = saved.read_back()

    assert (ledger.sizes, ledger.bytes) == (saved.ledger.sizes, saved.ledger.bytes)
    assert ledger.bytes == {number: len(value) for number, value in saved.blocks.items()}
    assert ledger.new_number() == saved.ledger.new_number()
    rows, back = saved.states.owned(0), states.rows(0, saved.states.user_ids(saved.states.owned(0)))
    assert len(states) == len(rows)
    assert np.array_equal(states.blocks(back), saved.states.blocks(rows))
    assert np.array_equal(states.read(back).hidden, saved.states.read(rows).hidden)


activity = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 40)), min_size=1, max_size=30)


@given(activity, st.sampled_from([1, 4, 16]))
@examples(0.6)
def test_the_topic_holds_at_most_twice_the_users(history: list[tuple[int, int]], max_rows: int) -> None:
    """After every flush: of each block at least half is current, few are small, nobody is lost."""
    saved = Saved()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "MAX_ROWS", max_rows)
        for begin, count in history:
            saved.click(names(begin, begin + count))
            written = saved.flush()

            users, rows = saved.states.users(0), saved.states.owned(0)
            current = np.bincount(saved.states.blocks(rows)).tolist()
            assert saved.ledger.sizes.keys() == {number for number, held in enumerate(current) if held}
            assert all(2 * current[number] >= size for number, size in saved.ledger.sizes.items())
            assert sum(saved.ledger.sizes.values()) <= 2 * users
            small = [one for one in current if 2 * one <= max_rows and one]
            assert len(small) <= SMALL_BLOCKS + len(written)
            assert len(saved.states.changed(0)) == 0
    assert set(saved.read_back()[0].user_ids(saved.read_back()[0].owned(0))) == {*saved.states._indexes[0]}
