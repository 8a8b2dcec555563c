"""A real worker process between real topics: clicks in, recommendations out, by a foreign client."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import msgpack
import orjson
import pytest

from tests.broker.client import Isolation, Record
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import Deployment
from tests.builders import ITEMS, successor_release_parts
from tests.waiting import eventually
from worker.core.release import Pointer, to_records
from worker.core.release import Record as ReleaseRecord


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_a_click_becomes_a_recommendation(
    deployment: Deployment, worker: WorkerFactory, isolation: Isolation
) -> None:
    """The answer names user, click and release, has the best item first, and stands in its partition."""
    release = deployment.publish_successor()
    worker(deployment.settings())
    value = b'{"user_id": "ada", "item_id": "item-3", "timestamp": 1700000000000}'
    (click,) = deployment.send([Record(value, partition=2)])

    (answer,) = deployment.answers(isolation=isolation, at_least=1)

    assert (answer.key, answer.partition) == (b"ada", 2)
    assert answer.header("id") == deployment.click_id(click)
    assert answer.json["user_id"] == "ada"
    assert answer.json["items"][0] == "item-4"
    assert "item-3" not in answer.json["items"]
    assert len(answer.json["items"]) == len(answer.json["scores"]) == len(ITEMS) - 1
    assert (answer.json["release"], answer.json["reason"]) == (release, "model")
    assert answer.json["event"] == {
        "partition": 2,
        "offset": click.offset,
        "item_id": "item-3",
        "timestamp": 1700000000000,
    }


@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_both_formats_say_the_same(
    deployment: Deployment, worker: WorkerFactory, format: Literal["json", "msgpack"]
) -> None:
    """JSON and MessagePack are read, told apart by the first byte, and either is written."""
    deployment.publish_successor()
    worker(deployment.settings(recommend={"format": format, "top": 3}))
    document = {"user_id": 7, "item_id": "item-1"}
    clicks = [orjson.dumps(document), msgpack.packb(document)]
    deployment.send(Record(value, partition=0) for value in clicks)

    values = [answer.value or b"" for answer in deployment.answers(at_least=2)]
    read = [orjson.loads(value) if format == "json" else msgpack.unpackb(value) for value in values]

    assert [answer["user_id"] for answer in read] == ["7", "7"]
    assert [answer["items"][0] for answer in read] == ["item-2", "item-2"]
    assert [len(answer["scores"]) for answer in read] == [3, 3]


def test_a_topic_of_others_is_read_as_it_is(deployment: Deployment, worker: WorkerFactory) -> None:
    """Field names are settings: dotted paths reach into nested maps, `@key` is the record's key."""
    deployment.publish_successor()
    worker(deployment.settings(click={"user_id": "@key", "item_id": "product.sku", "timestamp": "at"}))
    value = b'{"product": {"sku": "item-5"}, "at": "2024-01-31T10:00:00+01:00"}'
    deployment.send([Record(value, key=b"eve", partition=0)])

    (answer,) = deployment.answers(at_least=1)

    assert (answer.json["user_id"], answer.json["items"][0]) == ("eve", "item-6")
    assert answer.json["event"]["timestamp"] == 1706691600000


def test_an_unknown_item_gets_the_popular_ones(deployment: Deployment, worker: WorkerFactory) -> None:
    """Before a known item is clicked the answer is the release's popular list, and says so."""
    deployment.publish(*successor_release_parts(popular=["item-9", "item-8"]))
    worker(deployment.settings())
    deployment.send([Record(b'{"user_id": "ada", "item_id": "never seen"}', partition=0)])

    (answer,) = deployment.answers(at_least=1)

    assert (answer.json["reason"], answer.json["items"], answer.json["scores"]) == (
        "cold",
        ["item-9", "item-8"],
        [],
    )


def test_latest_answers_the_newest_click_of_each_user(deployment: Deployment, worker: WorkerFactory) -> None:
    """With `latest` a backlog costs few answers, and the last click of every user has one."""
    deployment.publish_successor()
    clicks = deployment.send_clicks(2000, users=4)
    worker(deployment.settings(recommend={"publish": "latest"}))
    newest = {click.partition: click for click in sorted(clicks, key=lambda click: click.offset or 0)}
    last = {deployment.click_id(click) for click in newest.values()}

    eventually(
        lambda: last <= {answer.header("id") for answer in deployment.answers()},
        what="answers to the last clicks",
    )

    assert len(deployment.answers()) < 1000


def test_old_clicks_move_states_and_get_no_answer(deployment: Deployment, worker: WorkerFactory) -> None:
    """A record older than `publish_max_age_seconds` is applied silently."""
    deployment.publish_successor()
    process = worker(deployment.settings(recommend={"publish_max_age_seconds": 60}))
    old = replace(deployment.click(0), timestamp_ms=1_700_000_000_000)
    _, new = deployment.send([old, deployment.click(10)])

    (answer,) = deployment.answers(at_least=1)

    assert answer.header("id") == deployment.click_id(new)
    assert process.metric("nextclick_clicks_total") == 2


def test_bad_records_become_dead_letters_and_good_ones_are_answered(
    deployment: Deployment, worker: WorkerFactory
) -> None:
    """Nothing malformed stops the worker or is lost; each keeps its bytes, with the reason and the place."""
    deployment.publish_successor()
    process = worker(deployment.settings())
    bad = [b"", b"\xff\xfe", b"{", b"[1]", b'{"user_id": 1}', b'{"user_id": true, "item_id": 1}', None]
    headers = (("trace", b"7"),)
    records = [Record(value, key=b"k", partition=0, headers=headers) for value in bad]
    sent = deployment.send([*records, deployment.click(0)])

    letters = deployment.letters(at_least=len(bad))

    assert [letter.value for letter in letters] == bad
    assert all(letter.key == b"k" and letter.header("trace") == "7" for letter in letters)
    assert [letter.header("nextclick.reason") for letter in letters] == [
        "null_value",
        "unknown_format",
        "malformed",
        "unknown_format",
        "missing_field",
        "wrong_type",
        "null_value",
    ]
    assert [int(letter.header("nextclick.offset")) for letter in letters] == list(range(len(bad)))
    assert process.metric("nextclick_dead_letters_total") == len(bad)
    assert process.metric("nextclick_dead_letters_total", reason="null_value") == 2
    deployment.assert_answered_once(sent[-1:])


def test_a_record_too_large_for_a_letter_keeps_its_begin_and_its_hash(
    deployment: Deployment, worker: WorkerFactory
) -> None:
    """What cannot be written again stays where the letter says, and can be recognised by size and SHA-256."""
    deployment.publish_successor()
    worker(deployment.settings())
    value = b"{" + b"x" * 950_000
    deployment.send([Record(value, partition=0)])

    (letter,) = deployment.letters(at_least=1)

    assert letter.value is not None
    assert value.startswith(letter.value)
    assert (letter.header("nextclick.reason"), letter.header("nextclick.size")) == ("too_large", "950001")
    assert letter.header("nextclick.offset") == "0"


def test_a_worker_waits_for_a_release(deployment: Deployment, worker: WorkerFactory) -> None:
    """Without a champion the worker is alive, not ready, and says what is missing; then it serves."""
    process = worker(deployment.settings(), ready=False)
    eventually(lambda: "no release" in process.http("/readyz")[1], what="the reason")

    assert process.http("/livez")[0] == 200
    assert "nextclick-trainer publish" in process.http("/readyz")[1]

    deployment.publish_successor()
    process.wait_until_ready()

    deployment.assert_answered_once(deployment.send_clicks(20))


def test_a_corrupted_release_is_refused_with_its_reason(
    deployment: Deployment, worker: WorkerFactory
) -> None:
    """A blob whose bytes were changed never serves; the worker says why, and takes the next good one."""
    manifest, blob = successor_release_parts()
    broken = blob[:-1] + bytes([blob[-1] ^ 1])
    records = [*to_records(1, manifest, broken), ReleaseRecord("@champion", Pointer(1).value())]
    deployment.client.send(deployment.releases, [Record(one.value, key=one.key.encode()) for one in records])
    process = worker(deployment.settings(), ready=False)

    eventually(lambda: "SHA-256" in process.http("/readyz")[1], what="the refusal")

    assert process.metric("nextclick_releases_refused_total", reason="checksum") == 1

    assert deployment.publish_successor() == 2
    process.wait_until_ready()


def test_a_stop_is_clean(deployment: Deployment, worker: WorkerFactory) -> None:
    """SIGTERM under load: what was applied is committed, the process ends with 0 within 10 s."""
    deployment.publish_successor()
    process = worker(deployment.settings(commit_interval_seconds=5))
    clicks = deployment.send_clicks(100)
    deployment.answers(isolation="read_uncommitted", at_least=100)

    process.terminate()

    assert process.wait(10) == 0
    deployment.assert_answered_once(clicks)
