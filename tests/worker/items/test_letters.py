"""Dead letters of the items topic: one worker writes them, with a checkpoint; none is lost with one."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.worker.desk import Desk, successor_desk
from worker.items import letters
from worker.kafka.memory import MemoryRecord

BAD: Final = b'{"available": "perhaps"}'


def item_desk(**sections: Any) -> Desk:
    """A desk with a topic of items."""
    return successor_desk(**{"topics": {"items": "items"}, **sections})


def refuse(desk: Desk, value: bytes = BAD, item: str = "item-3") -> None:
    """Write a bad record."""
    desk.cluster.produce("items", value, key=item.encode())


def headers(letter: MemoryRecord) -> dict[str, bytes | None]:
    """Those that the worker adds, without their common beginning."""
    return {name.removeprefix("nextclick."): value for name, value in letter.headers}


def test_one_of_the_workers_writes_the_letter() -> None:
    """With the reason and where the record is; all of them count it."""
    desk = item_desk()
    workers = [desk.start("a"), desk.serving("b")]
    refuse(desk)
    desk.until(desk.letters, "the letter")
    desk.step(20)

    (letter,) = desk.letters()
    assert (letter.key, letter.value) == (b"item-3", BAD)
    assert headers(letter)["reason"] == b"wrong_type"
    assert (headers(letter)["topic"], headers(letter)["offset"]) == (b"items", b"0")
    for worker in workers:
        assert worker.metric("nextclick_item_records_refused_total", reason="wrong_type") == 1
        assert worker.metric("nextclick_dead_letters_total", reason="wrong_type") == 0


def test_a_letter_survives_a_transaction_that_fails() -> None:
    """It is in the next one."""
    desk = item_desk()
    desk.serving()
    desk.cluster.fail("commit")
    refuse(desk)
    refuse(desk, item="item-4")
    desk.until(lambda: len(desk.letters()) >= 2, "the letters")
    desk.step(20)

    assert sorted(letter.key or b"" for letter in desk.letters()) == [b"item-3", b"item-4"]


def test_whoever_gets_the_partition_in_time_writes_it() -> None:
    """The worker that wrote letters is killed before it has written this one."""
    desk = item_desk(partitions=1)
    desk.serving("a")
    desk.start("b")
    desk.freeze("a")
    refuse(desk)
    desk.step(5)
    before = desk.letters()
    desk.kill("a")
    desk.advance(11)
    desk.settle()
    desk.until(desk.letters, "the letter")

    assert before == []


def test_old_letters_are_forgotten() -> None:
    """A worker without the partition keeps them for a minute: then another one has written them."""
    desk = item_desk(partitions=1)
    desk.serving("a")
    desk.start("b")
    refuse(desk)
    desk.until(desk.letters, "the letter")
    desk.advance(letters._KEPT_SECONDS + 1)
    desk.stop("a")
    desk.settle()
    desk.step(20)

    assert len(desk.letters()) == 1


def test_a_worker_writes_no_letters_for_what_it_reads_at_its_start() -> None:
    """Or every restart would write them again."""
    desk = item_desk()
    refuse(desk)
    worker = desk.serving()
    desk.step(20)

    assert desk.letters() == []
    assert worker.metric("nextclick_item_records_refused_total", reason="wrong_type") == 1


def test_letters_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many bad records at once, the first have letters."""
    monkeypatch.setattr(letters, "_KEPT", 3)
    desk = item_desk()
    desk.serving()
    for _ in range(10):
        refuse(desk)
    desk.until(desk.letters, "letters")
    desk.step(20)

    assert 3 <= len(desk.letters()) < 10


def test_a_worker_that_writes_none_has_room_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old letters do not keep those out that it has to write after a takeover."""
    monkeypatch.setattr(letters, "_KEPT", 3)
    desk = item_desk(partitions=1)
    desk.serving("a")
    desk.start("b")
    for _ in range(3):
        refuse(desk)
        desk.step(3)
    desk.until(lambda: len(desk.letters()) == 3, "the letters of the first")
    desk.advance(letters._KEPT_SECONDS + 1)
    desk.step(5)
    desk.freeze("a")
    refuse(desk, item="item-4")
    desk.step(5)
    desk.kill("a")
    desk.advance(11)
    desk.settle()
    desk.until(lambda: len(desk.letters()) == 4, "the letter of the second")

    assert desk.letters()[-1].key == b"item-4"


def test_large_letters_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept up to a size, whatever their number."""
    monkeypatch.setattr(letters, "_KEPT_BYTES", 2 * len(BAD))
    desk = item_desk()
    desk.serving()
    desk.cluster.fail("commit")
    for _ in range(5):
        refuse(desk)
    desk.until(desk.letters, "letters")
    desk.step(20)

    assert 2 <= len(desk.letters()) < 5
