"""`rules` shows the rules, which of them are in force, and what they do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import orjson
import pytest
from prometheus_client import generate_latest

from tests.worker.conftest import Command
from tests.worker.desk import Desk
from tests.worker.items.test_rules import EXCLUDE, rule, rule_desk
from tests.worker.items.test_updates import describe, shown

DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def _topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_TOPICS_ITEMS", "items")
    monkeypatch.setenv("NEXTCLICK_TOPICS_RULES", "rules")


@pytest.fixture
def desk() -> Desk:
    """With a rule of each action; item-3 and item-5 are shoes."""
    desk, now_ms = rule_desk(), round(time.time() * 1000)
    describe(desk, "item-4", {"tags": ["hats"]})
    rule(desk, EXCLUDE | {"until": now_ms + DAY_MS}, "a")
    rule(desk, {"allow": {"tags": ["shoes"]}, "from": now_ms + DAY_MS}, "b")
    rule(desk, {"boost": {"tags": ["hats"], "factor": 2}, "placements": ["home", "cart"]}, "c")
    rule(desk, {"cap": {"prefix": "sh", "at_most": 1}, "last_event_tags": ["hats"]}, "d")
    rule(desk, {"pin": {"item_id": "item-4", "place": 2}}, "e")
    rule(desk, {"pin": {"item_id": "unknown", "place": 1}}, "f")
    rule(desk, {"pin": {"item_id": "item-1", "place": 1}}, "gone")
    rule(desk, None, "gone")
    return desk


def test_all_rules_are_shown(command: Command, desk: Desk) -> None:
    """With how many items of the champion they reach."""
    code, text = command(desk.cluster, "rules")
    document = orjson.loads(command(desk.cluster, "rules", "--json")[1])

    assert code == 0
    first, *lines = text.splitlines()
    assert first == "6 rules in rules, 5 in force"
    assert lines[::2] == [
        "a: exclude shoes",
        "b: allow only shoes",
        "c: boost hats by 2",
        "d: at most 1 items with the same sh...",
        "e: pin item-4 to place 2",
        "f: pin unknown to place 1",
    ]
    assert lines[1].startswith("  in force until 20")
    assert lines[3].startswith("  not in force from 20")
    assert lines[5:12:2] == [
        "  in force; at the placements home, cart; 1 items of release 1",
        "  in force; after events on items with hats; 2 items of release 1",
        "  in force; 1 items of release 1",
        "  in force; 0 items of release 1",
    ]
    assert [one["items"] for one in document["rules"]] == [2, 2, 1, 2, 1, 0]
    assert [one["in_force"] for one in document["rules"]] == [True, False, True, True, True, True]
    assert (document["compared_lists"], document["release"], document["refused"]) == (None, 1, [])


def test_refused_records_are_shown_until_a_good_one_follows(command: Command, desk: Desk) -> None:
    """The rule before a refused record stands; `check` names it, too."""
    rule(desk, {"exclude": {}}, "a")
    rule(desk, b"garbage", "new")
    code, text = command(desk.cluster, "rules")
    checked = command(desk.cluster, "check")[1]
    for name in ("a", "new"):
        rule(desk, EXCLUDE, name)
    after, document = command(desk.cluster, "rules", "--json")

    assert code == 1
    assert "\na: exclude shoes\n" in text
    assert text.endswith(
        "refused: a, partition 0, offset 8: invalid_rule: exclude.tags is missing or empty\n"
        "refused: new, partition 0, offset 9: unknown_format\n"
    )
    assert (
        "note  topic rules: 6 rules, 2 records refused; the first one, at partition 0, offset 8: " in checked
    )
    assert (after, orjson.loads(document)["refused"]) == (0, [])
    assert "ok    topic rules: 7 rules\n" in command(desk.cluster, "check")[1]


def test_without_a_topic_or_a_champion_there_is_less_to_show(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so."""
    desk = rule_desk(publish=False)
    rule(desk, EXCLUDE)
    without_champion = command(desk.cluster, "rules")[1]
    monkeypatch.delenv("NEXTCLICK_TOPICS_RULES")

    assert without_champion.endswith("  in force; topic nextclick.releases has no @champion\n")
    assert command(desk.cluster, "rules") == (0, "no rules topic (topics.rules): there are no rules\n")


@pytest.fixture
def page() -> Iterator[dict[str, Any]]:
    """A server of metrics: its `url`, and the `text` that it answers."""
    found: dict[str, Any] = {"text": b""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(found["text"])

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found["url"] = f"http://127.0.0.1:{server.server_port}/"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_worker_says_how_often_rules_changed_lists(
    command: Command, desk: Desk, page: dict[str, Any]
) -> None:
    """By its metrics."""
    worker = desk.serving()
    shown(desk)
    desk.step(2)
    page["text"] = generate_latest(worker.process.metrics.registry)
    text = command(desk.cluster, "rules", "--worker", page["url"])[1]
    document = orjson.loads(command(desk.cluster, "rules", "--worker", page["url"], "--json")[1])

    assert "  in force; 1 items of release 1; changed 1 of 1 compared lists\n" in text
    assert document["compared_lists"] == 1
    changed = {one["name"]: one["changed_lists"] for one in document["rules"]}
    assert changed == {"a": 1, "b": 0, "c": 0, "d": 0, "e": 1, "f": 0}


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "localhost:9464", "file:///etc/passwd"])
def test_a_worker_that_does_not_answer_is_named(command: Command, desk: Desk, url: str) -> None:
    """Instead of a result."""
    code, text = command(desk.cluster, "rules", "--worker", url)

    assert code > 0
    assert url in text
    assert "6 rules" not in text


def test_an_item_shows_what_rules_say_of_it(command: Command, desk: Desk) -> None:
    """Why it is in no list, or where it is."""
    found = {
        item: orjson.loads(command(desk.cluster, "item", "--json", item)[1])
        for item in ("item-3", "item-4", "item-6")
    }

    assert found["item-3"]["because"] == ["left out by the rule a"]
    assert (found["item-3"]["recommended"], found["item-4"]["recommended"]) == (False, True)
    assert found["item-4"]["because"][2:] == [
        "boosted by 2 by the rule c, only at the placements home, cart",
        "pinned to place 2 by the rule e",
    ]
    assert found["item-6"]["recommended"] is True
