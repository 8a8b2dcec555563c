"""The wiring: every setting reaches the part that it is for."""

from __future__ import annotations

import orjson

from tests.builders import ITEMS
from tests.records import Record
from tests.worker.desk import Desk, records, successor_desk
from worker.wiring import topics_needed


def answers(desk: Desk) -> list[Record]:
    """The recommendations."""
    return records(desk.answers())


def test_what_is_recommended_is_as_the_settings_say() -> None:
    """How many, and without how many recent items."""
    desk = successor_desk(recommend={"top": 4, "exclude_recent": 3})
    desk.serving()
    for item in ITEMS[:5]:
        desk.click("ada", item)
    desk.settle()
    items = answers(desk)[-1].json["items"]

    assert len(items) == 4
    assert not set(items) & {*ITEMS[2:5]}


def test_what_is_a_click_is_as_the_settings_say() -> None:
    """A record that is larger than it may be is none."""
    desk = Desk(click={"max_bytes": 64})
    desk.serving()
    desk.send(orjson.dumps({"user_id": "ada", "item_id": "x" * 60}))
    desk.settle()

    assert [one.header("nextclick.reason") for one in records(desk.letters())] == ["too_large"]


def test_who_starts_afresh_is_as_the_settings_say() -> None:
    """After the time to live a user is new, decided with their click."""
    desk = Desk(state={"user_ttl": 100})
    worker = desk.serving()
    desk.click("ada", "item-1", timestamp=desk.cluster.now_ms - 101_000)
    desk.click("ada", "item-2")
    desk.settle()

    assert worker.recent("ada") == ["item-2"]


def test_workers_are_named_as_the_settings_say() -> None:
    """Members and transactional ids carry group and worker id; a static member has a name."""
    desk = Desk(static_membership=True)
    desk.serving("w7")
    (member,) = desk.connection.admin().members("desk", topic=desk.topics.clicks)

    assert desk.settings("w7").transactional_id == "desk/w7"
    assert member.client_id == "desk/w7"
    assert desk.cluster._broker.producers.keys() >= {"desk/w7"}
    assert next(iter(desk.cluster._broker.group("desk").members.values())).instance == "w7"


def test_a_static_worker_that_comes_back_takes_its_partitions_at_once() -> None:
    """Without a session to time out, and nobody else is disturbed."""
    desk = Desk(static_membership=True)
    desk.serving("a")
    desk.click("ada")
    desk.settle()
    desk.kill("a")
    desk.serving("a")

    assert desk.cluster.steady() < 10


def test_all_topics_that_are_needed_have_their_names() -> None:
    """Those of the group carry its name, so that two groups never share them."""
    desk = Desk()

    assert [one.topic for one in topics_needed(desk.settings())] == [
        "clicks",
        "recommendations",
        "clicks.dead-letter",
        "nextclick.releases",
        "desk.state",
        "nextclick.quality",
    ]
