"""`item` shows what is known of an item, and why it is recommended or not."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from tests.worker.commands.test_look import saved_clicks
from tests.worker.conftest import Command
from tests.worker.desk import Desk
from tests.worker.items.test_letters import item_desk
from tests.worker.items.test_updates import describe

DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def _topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_TOPICS_ITEMS", "items")


def shown(command: Command, desk: Desk, item: str) -> Any:
    """What `item --json` says."""
    return orjson.loads(command(desk.cluster, "item", "--json", item)[1])


def test_all_that_is_known_of_an_item(command: Command) -> None:
    """Its record and where it is; whether the champion knows it, and its place among the popular items."""
    desk = item_desk()
    document = {"available": False, "tags": ["category:lights"], "title": "A lamp", "price": 12.5}
    describe(desk, "item-3", {})
    describe(desk, "item-3", document)

    code, text = command(desk.cluster, "item", " item-3 ")
    found = shown(command, desk, "item-3")

    assert code == 0
    assert found["record"]["tags"] == ["category:lights"]
    assert (found["record"]["offset"], found["record"]["price"]) == (1, 12.5)
    assert (found["available"], found["recommended"], found["in_catalogue"]) == (False, False, True)
    assert text.startswith("item-3\n  last record: items, partition 0, offset 1, ")
    for line in ("available: no", "tags: category:lights", "title: A lamp", "price: 12.5"):
        assert f"\n  {line}\n" in text
    assert f"release 1, the champion, knows it; place {found['popularity_rank']} of its popular items" in text
    assert text.endswith("not recommended: its record says that it is not available\n")


def test_the_reasons_of_items(command: Command) -> None:
    """Gone, too early, too late, unknown to the champion; or none at all."""
    desk, now_ms = item_desk(), round(time.time() * 1000)
    describe(desk, "item-1", None)
    describe(desk, "item-2", {"valid_from": now_ms + DAY_MS})
    describe(desk, "item-3", {"valid_until": now_ms - DAY_MS})
    describe(desk, "new", {})

    reasons = {
        item: shown(command, desk, item)["because"]
        for item in ("item-1", "item-2", "item-3", "new", "item-4")
    }

    assert reasons["item-1"] == ["it is gone: its last record has no value"]
    assert reasons["item-2"][0].startswith("it is not valid before 20")
    assert reasons["item-3"][0].startswith("it is not valid any more since 20")
    assert reasons["new"] == ["release 1, the champion, does not know it: train on newer clicks"]
    assert reasons["item-4"] == [
        "available, because no record says otherwise",
        "left out for users who clicked it among the last 1",
    ]
    assert "gone: the record has no value" in command(desk.cluster, "item", "item-1")[1]
    assert "no record in items" in command(desk.cluster, "item", "item-4")[1]


def test_refused_records_are_shown(command: Command) -> None:
    """Until a good one comes; the good one before stands."""
    desk = item_desk()
    describe(desk, "item-3", {"available": 0})
    describe(desk, "item-3", {"available": "perhaps"})

    found, text = shown(command, desk, "item-3"), command(desk.cluster, "item", "item-3")[1]
    describe(desk, "item-3", {})

    assert [one["reason"] for one in found["refused"]] == ["wrong_type"]
    assert found["available"] is False
    assert "refused: wrong_type, items, partition 0, offset 1; the record before it stands" in text
    assert shown(command, desk, "item-3")["refused"] == []


def test_an_item_that_nobody_knows(command: Command) -> None:
    """Exit code 1."""
    desk = item_desk(publish=False)

    code, text = command(desk.cluster, "item", "item-3")

    assert code == 1
    assert "not recommended: topic nextclick.releases has no @champion" in text


def test_without_the_topic_the_champion_knows(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """All items are available."""
    monkeypatch.delenv("NEXTCLICK_TOPICS_ITEMS")
    code, text = command(Desk().cluster, "item", "item-3")

    assert code == 0
    assert "no items topic (topics.items): all items are available" in text
    assert "\n  recommended: available" in text


def test_user_shows_the_list_without_unavailable_items(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the worker would publish it now; the clicks of a desk are old."""
    monkeypatch.setenv("NEXTCLICK_STATE_USER_TTL", "0")
    desk = item_desk(state={"flush_interval": 0.4})
    desk.serving()
    desk.click("ada", "item-2", partition=0)
    desk.until(lambda: saved_clicks(command, desk) == 1, "ada to be saved")
    before = orjson.loads(command(desk.cluster, "user", "--json", "ada")[1])["state"]["recommendations"]
    describe(desk, "item-3", {"available": False})
    after = orjson.loads(command(desk.cluster, "user", "--json", "ada")[1])["state"]["recommendations"]

    assert before["items"][0] == "item-3"
    assert after["items"] == before["items"][1:]


def test_topics_and_check_know_the_topic(command: Command) -> None:
    """With its settings, its rights and its records."""
    desk = item_desk()
    desk.cluster.delete("items")

    missing = command(desk.cluster, "check")[1]
    created = command(desk.cluster, "topics")[1]
    describe(desk, "item-3", {"tags": ["new"]})
    code, text = command(desk.cluster, "check")

    assert "topic items does not exist" in missing
    assert "topic items created with 1 partition" in created
    assert code == 0
    assert "topic items: cleanup.policy is compact" in text
    assert f"topic items: delete.retention.ms is {365 * DAY_MS}" in text
    assert "topic items, last 1 records: 0 unavailable, 0 gone, 1 with tags, 0 with a validity" in text
    assert "@champion, release 1, knows 1 of the items of 1 records" in text
    assert "--topic items --operation Read " in text
