"""The walk of a batch: clicks in, recommendations and dead letters out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgpack
import orjson
import pytest

from tests.builders import ITEMS, successor_release_parts
from tests.records import Record
from tests.worker.desk import Desk, records, successor_desk
from tests.worker.judging import assert_sound
from worker.kafka.memory.broker import Call

BAD: list[bytes | None] = [
    b"",
    b"\xff\xfe",
    b"{",
    b"[1]",
    b'{"user_id": 1}',
    b'{"user_id": true, "item_id": 1}',
    None,
]
REASONS = [
    "null_value",
    "unknown_format",
    "malformed",
    "not_a_map",
    "missing_field",
    "wrong_type",
    "null_value",
]


def answers(desk: Desk, *, committed: bool = True) -> list[Record]:
    """The recommendations."""
    return records(desk.answers(committed=committed))


def test_a_click_becomes_a_recommendation() -> None:
    """The answer names user, click and release, has the best item first, and stands in its partition."""
    desk = successor_desk(partitions=4)
    desk.serving()
    offset = desk.send(b'{"user_id": "ada", "item_id": "item-3", "timestamp": 1699999999000}', partition=2)
    sent_ms = desk.cluster.now_ms
    desk.settle()
    (answer,) = answers(desk)

    assert (answer.key, answer.partition) == (b"ada", 2)
    assert answer.header("id") == f"{desk.topics.clicks}/2/{offset}"
    assert answer.json["user_id"] == "ada"
    assert answer.json["items"][0] == "item-4"
    assert "item-3" not in answer.json["items"]
    assert len(answer.json["items"]) == len(answer.json["scores"]) == len(ITEMS) - 1
    assert (answer.json["release"], answer.json["reason"]) == (1, "model")
    assert answer.json["produced_at"] >= sent_ms
    assert answer.json["event"] == {
        "partition": 2,
        "offset": offset,
        "item_id": "item-3",
        "timestamp": 1_699_999_999_000,
    }


@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_both_formats_say_the_same(format: Literal["json", "msgpack"]) -> None:
    """JSON and MessagePack are read, told apart by the first byte, and either is written."""
    desk = successor_desk(recommend={"format": format, "top": 3})
    desk.serving()
    document = {"user_id": 7, "item_id": "item-1"}
    for value in (orjson.dumps(document), msgpack.packb(document)):
        desk.send(value)
    desk.settle()
    values = [answer.value or b"" for answer in answers(desk)]
    read = [orjson.loads(value) if format == "json" else msgpack.unpackb(value) for value in values]

    assert [answer["user_id"] for answer in read] == ["7", "7"]
    assert [answer["items"][0] for answer in read] == ["item-2", "item-2"]
    assert [len(answer["scores"]) for answer in read] == [3, 3]


def test_a_topic_of_others_is_read_as_it_is() -> None:
    """Field names are settings: dotted paths reach into nested maps, `@key` is the record's key."""
    desk = successor_desk(click={"user_id": "@key", "item_id": "product.sku", "timestamp": "at"})
    desk.serving()
    desk.send(b'{"product": {"sku": "item-5"}, "at": "2023-11-14T10:00:00+01:00"}', key=b"eve")
    desk.settle()
    (answer,) = answers(desk)

    assert (answer.json["user_id"], answer.json["items"][0]) == ("eve", "item-6")
    assert answer.json["event"]["timestamp"] == 1_699_952_400_000


def test_an_unknown_item_gets_the_popular_ones() -> None:
    """Before a known item is clicked the answer is the release's popular list, and says so."""
    desk = Desk(release=successor_release_parts(popular=["item-9", "item-8"]))
    desk.serving()
    desk.click("ada", "never seen")
    desk.settle()
    (answer,) = answers(desk)

    assert (answer.json["items"], answer.json["scores"]) == (["item-9", "item-8"], [])
    assert answer.json["reason"] == "cold"


def test_latest_answers_the_newest_click_of_each_user_in_a_batch() -> None:
    """A backlog costs few answers, all clicks move the states, and the last of every user has an answer."""
    desk = successor_desk(partitions=1, recommend={"publish": "latest"})
    last = {}
    for number in range(200):
        user = f"user-{number % 4}"
        last[user] = desk.click(user, ITEMS[number % 12])
    worker = desk.serving()
    found = answers(desk)

    assert {one.json["user_id"]: one.json["event"]["offset"] for one in found} == last
    assert len(found) == 4
    assert worker.metric("nextclick_clicks_total") == 200
    assert worker.recent("user-3")[-1] == ITEMS[199 % 12]


def test_every_answers_each_click_of_a_batch() -> None:
    """In order in each partition."""
    desk = successor_desk(partitions=2)
    for number in range(50):
        desk.click(f"user-{number % 4}", ITEMS[number % 12])
    desk.serving()

    desk.assert_answered_once()


def test_old_clicks_move_states_and_get_no_answer() -> None:
    """By the record's timestamp: whoever catches up hands out no stale lists."""
    desk = successor_desk(recommend={"publish_max_age": 60})
    desk.click("ada", "item-1")
    desk.advance(61)
    new = desk.click("ada", "item-2")
    worker = desk.serving()

    assert [one.json["event"]["offset"] for one in answers(desk)] == [new]
    assert worker.metric("nextclick_clicks_total") == 2
    assert worker.recent("ada") == ["item-1", "item-2"]


def test_bad_records_become_dead_letters_and_good_ones_are_answered() -> None:
    """Nothing malformed stops the worker or is lost; each keeps its bytes, with the reason and the place."""
    desk = Desk()
    worker = desk.serving()
    for value in BAD:
        desk.cluster.produce(desk.topics.clicks, value, key=b"k", headers=[("trace", b"7")])
    desk.click("ada", partition=0)
    desk.settle()
    letters = records(desk.letters())

    assert [letter.value for letter in letters] == BAD
    assert all(letter.key == b"k" and letter.header("trace") == "7" for letter in letters)
    assert [letter.header("nextclick.reason") for letter in letters] == REASONS
    assert [int(letter.header("nextclick.offset")) for letter in letters] == list(range(len(BAD)))
    assert {letter.header("nextclick.partition") for letter in letters} == {"0"}
    assert {letter.header("nextclick.topic") for letter in letters} == {desk.topics.clicks}
    assert worker.metric("nextclick_dead_letters_total", reason="null_value") == 2
    assert_sound(desk)


def test_a_record_too_large_for_a_letter_keeps_its_begin_and_its_hash() -> None:
    """What cannot be written again stays where the letter says, and can be recognised by size and SHA-256."""
    desk = Desk()
    desk.serving()
    value = b"{" + b"x" * 950_000
    desk.send(value, partition=1)
    desk.settle()
    (letter,) = records(desk.letters())

    assert letter.value is not None
    assert value.startswith(letter.value)
    assert (letter.header("nextclick.reason"), letter.header("nextclick.size")) == ("too_large", "950001")
    assert letter.header("nextclick.sha256") == hashlib.sha256(value).hexdigest()
    assert (letter.header("nextclick.partition"), letter.header("nextclick.offset")) == ("1", "0")


def test_letters_go_to_a_partition_that_there_is() -> None:
    """The topic of dead letters may have fewer partitions than the clicks."""
    desk = Desk(partitions=3)
    desk.cluster.add_partitions(desk.topics.dead_letters, 2)
    desk.serving()
    for partition in range(3):
        desk.send(b"garbage", partition=partition)
    desk.settle()

    assert [(one.partition, dict(one.headers)["nextclick.partition"]) for one in desk.letters()] == [
        (0, b"0"),
        (0, b"2"),
        (1, b"1"),
    ]


def test_replayed_clicks_are_answered_by_nobody() -> None:
    """Neither they nor the bad records among them leave anything a second time, committed or not."""
    desk = Desk(state={"flush_interval": 3_600})
    desk.serving()
    for number in range(10):
        desk.click(f"user-{number}")
        desk.send(b"garbage")
    desk.settle()
    before = desk.written()
    worker = desk.restart()
    desk.step(10)

    assert worker.metric("nextclick_replayed_clicks_total") == 10
    assert desk.written() == before


def test_what_nobody_can_decode_becomes_one_letter_and_is_passed() -> None:
    """For all of its offsets: the position behind them is committed with it, and reading goes on there."""
    desk = Desk(partitions=1)
    worker = desk.serving()
    desk.click("ada", "item-1")
    first = desk.cluster.produce_unreadable(
        desk.topics.clicks, b"\xff", offsets=5, why="its checksum is wrong"
    )
    desk.click("ada", "item-2")
    desk.settle()
    (letter,) = records(desk.letters())

    places = [int(letter.header(f"nextclick.{name}")) for name in ("offset", "last_offset")]
    assert places == [first, first + 4]
    assert (letter.header("nextclick.reason"), letter.value) == ("unreadable", b"\xff")
    assert letter.header("nextclick.error") == "its checksum is wrong"
    assert worker.metric("nextclick_dead_letters_total", reason="unreadable") == 1
    assert worker.recent("ada") == ["item-1", "item-2"]
    assert desk.committed() == {0: first + 6}
    assert [one.json["event"]["offset"] for one in answers(desk)] == [0, first + 5]


@pytest.mark.parametrize(
    ("call", "after"), [("send", False), ("send", True), ("commit", False), ("commit", True), ("end", False)]
)
def test_a_crash_around_a_stretch_leaves_one_letter(call: Call, after: bool) -> None:
    """The letter and the position behind the stretch are committed together, or neither is."""
    desk = Desk(partitions=1, state={"flush_interval": 3_600})
    desk.serving()
    desk.cluster.crash_at(call, after=after)
    desk.cluster.produce_unreadable(desk.topics.clicks, offsets=3)
    desk.click("ada", "item-1")
    desk.until(lambda: not desk.workers, "the crash")
    worker = desk.restart()

    assert len(desk.letters()) == len(answers(desk)) == 1
    assert worker.recent("ada") == ["item-1"]


def test_replay_passes_a_stretch_in_silence() -> None:
    """Its letter is there already."""
    desk = Desk(partitions=1, state={"flush_interval": 3_600})
    desk.serving()
    desk.click("ada", "item-1")
    desk.cluster.produce_unreadable(desk.topics.clicks, offsets=3)
    desk.click("ada", "item-2")
    desk.settle()
    before = desk.written()
    worker = desk.restart()
    desk.step(10)

    assert worker.metric("nextclick_replayed_clicks_total") == 2
    assert desk.written() == before


def test_metrics_watch_the_walk() -> None:
    """Clicks, lists by reason and role, bad records by reason, and where the time went."""
    desk = successor_desk()
    worker = desk.serving()
    desk.click("ada", "item-1")
    desk.click("eve", "never seen")
    desk.send(b"garbage")
    desk.settle()
    expected: Mapping[str, tuple[Mapping[str, Any], float]] = {
        "nextclick_clicks_total": ({}, 2),
        "nextclick_recommendations_total": ({"reason": "model", "role": "champion"}, 1),
        "nextclick_dead_letters_total": ({"reason": "unknown_format"}, 1),
        "nextclick_checkpoints_total": ({"outcome": "committed"}, 1),
    }

    for name, (labels, value) in expected.items():
        assert worker.metric(name, **labels) == value
    assert worker.metric("nextclick_recommendations_total", reason="cold", role="champion") == 1
    for stage in ("poll", "decode", "apply", "rank", "publish", "save", "commit", "recover"):
        assert (
            worker.process.metrics.registry.get_sample_value(
                "nextclick_stage_seconds_total", {"stage": stage}
            )
            is not None
        )


def test_the_sum_of_what_becomes_of_records_holds() -> None:
    """Each record is one with clicks, a skipped one or a dead letter, which has a part that is not valid."""
    desk = Desk(
        click={"item_id": "items[]", "where": "type != scroll"}, recommend={"publish": "latest"}, partitions=1
    )
    worker = desk.serving()
    documents: list[Any] = [
        {"user_id": "ada", "items": ["item-1", "item-2"]},
        {"user_id": "ada", "items": ["item-1"], "type": "scroll"},
        [{"user_id": " bob ", "items": ["item-1", None, "item-2"]}, {"user_id": "eve", "items": ["item-3"]}],
        [{"user_id": "bob", "items": ["item-1"], "type": "scroll"}],
        {"items": ["item-1"]},
        7,
    ]
    for document in documents:
        desk.send(orjson.dumps(document))
    desk.settle()
    letters = records(desk.letters())

    names = ("clicks", "skipped", "dead_letter")
    assert [worker.metric("nextclick_records_total", became=name) for name in names] == [1, 2, 3]
    assert worker.metric("nextclick_skipped_total", reason="where") == 2
    assert worker.metric("nextclick_clicks_total") == 5
    assert worker.metric("nextclick_ids_trimmed_total") == 3
    assert [letter.header("nextclick.offset") for letter in letters] == ["2", "4", "5"]
    assert letters[0].header("nextclick.parts") == "[0].items[1]: missing_field"
    assert {one.header("id") for one in answers(desk)} == {"clicks/0/0", "clicks/0/2/1", "clicks/0/2/2"}


def test_every_event_of_a_record_has_one_answer_after_its_last_item() -> None:
    """With an id of its own; the states know all items."""
    desk = successor_desk(click={"item_id": "items[].id"})
    worker = desk.serving()
    event = {"user_id": "ada", "items": [{"id": "item-5"}, {"id": "item-1"}]}
    desk.send(orjson.dumps(event))
    desk.send(orjson.dumps([event, {"user_id": "ada", "items": [{"id": "item-3"}]}]))
    desk.settle()

    found = {one.header("id"): one.json for one in answers(desk)}
    assert {name: one["event"]["item_id"] for name, one in found.items()} == {
        "clicks/0/0": "item-1",
        "clicks/0/1/1": "item-1",
        "clicks/0/1/2": "item-3",
    }
    assert found["clicks/0/0"]["items"][0] == "item-2"
    assert worker.recent("ada") == ["item-5", "item-1", "item-5", "item-1", "item-3"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_poll_of_large_records_is_committed_in_groups_of_records(fails: bool) -> None:
    """Each of a few thousand clicks; a failure takes back its own group, not those before it in the poll."""
    # No time passes within a round: with so short an interval, a commit is due whenever the loop asks.
    desk = successor_desk(partitions=2, commit_interval=1e-300, recommend={"publish": "latest"})
    worker = desk.start()
    event = {"user_id": "ada", "item_id": "item-1"}
    for number in range(12):
        desk.send(orjson.dumps([event] * 1_500), partition=number // 6)
        desk.send(b"garbage", partition=number // 6)
    if fails:
        # A group has three letters and two lists; this is the last list of the third group.
        desk.cluster.fail("send", skip=14, connection=worker.connection)
    desk.settle()

    assert worker.metric("nextclick_checkpoints_total", outcome="failed") == fails
    assert worker.metric("nextclick_checkpoints_total", outcome="committed") >= 4
    assert worker.metric("nextclick_clicks_total") == 18_000
    assert len(desk.letters()) == 12
    assert desk.written()[desk.topics.dead_letters] == 12 + 3 * fails
    assert len({one.headers for one in desk.answers()}) == len(desk.answers())


@pytest.mark.parametrize("flushed", [False, True])
def test_the_clicks_of_a_record_are_replayed_together(flushed: bool) -> None:
    """They share an offset, by which recovery tells what a state holds: none is missing, none comes twice."""
    desk = Desk(click={"item_id": "items[]"}, state={"flush_interval": 1 if flushed else 3_600})
    desk.serving()
    for number in range(6):
        items = [f"item-{number}", "item-0", f"item-{number}"]
        desk.send(orjson.dumps([{"user_id": user, "items": items} for user in ("ada", "bob", "ada")]))
        desk.settle()
        if flushed:
            desk.step(40)
    before = {user: desk.workers["a"].recent(user) for user in ("ada", "bob")}

    after = desk.restart()

    assert {user: after.recent(user) for user in ("ada", "bob")} == before
    assert len(before["bob"]) == 18
    assert after.metric("nextclick_replayed_clicks_total") == (0 if flushed else 54)
