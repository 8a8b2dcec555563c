"""Rules in service: what the topic and the clock say reaches every list, under every release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
import pytest
from structlog.typing import EventDict

from tests.builders import ITEMS, successor_release_parts, tiny_release_parts
from tests.worker.desk import Desk, successor_desk
from tests.worker.items.test_letters import headers
from tests.worker.items.test_updates import answer, describe, lists, shown
from tests.worker.topics.test_rights import all_of
from worker.commands.check import roles
from worker.errors import NotAllowed
from worker.items.rules import COMPARE_SECONDS
from worker.kafka import history
from worker.topics.releases import CANDIDATE

EXCLUDE: Final[dict[str, Any]] = {"exclude": {"tags": ["shoes"]}}


def rule_desk(**sections: Any) -> Desk:
    """A desk with topics of items and rules; item-3 and item-5 are shoes."""
    desk = successor_desk(**{"topics": {"items": "items", "rules": "rules"}, **sections})
    for item in ("item-3", "item-5"):
        describe(desk, item, {"tags": ["shoes"]})
    return desk


def rule(desk: Desk, document: Mapping[str, Any] | bytes | None, name: str = "rule") -> None:
    """Write a record of a rule."""
    value = document if document is None or isinstance(document, bytes) else orjson.dumps(document)
    desk.cluster.produce("rules", value, key=name.encode())


def test_a_rule_is_in_force_from_the_batch_after_its_record_until_it_is_gone() -> None:
    """Then everything is as before."""
    desk = rule_desk()
    desk.serving()
    before = shown(desk)
    rule(desk, EXCLUDE)
    without = shown(desk)
    rule(desk, {"boost": {"tags": ["shoes"], "factor": 1000}})
    boosted = shown(desk, "item-0")
    rule(desk, None)

    assert before[0] == "item-3"
    assert without == [one for one in before if one not in ("item-3", "item-5")]
    assert boosted[:3] == ["item-3", "item-5", "item-1"]
    assert shown(desk) == before
    desk.assert_answered_once()


def test_a_worker_that_starts_knows_all_rules(
    logged: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ready when it has read them, and says how many are left."""
    monkeypatch.setattr(history, "FETCH", {"max_poll_records": 2})
    desk = rule_desk()
    for number in range(5):
        rule(desk, EXCLUDE, f"rule-{number}")
    worker = desk.new()
    loop, said = worker.worker.loop, list[str]()
    items, rules = loop._followed
    loop._await(loop._adoption)
    loop._await(items)
    rules.start()
    while not rules.wait(0):
        said.append(worker.reason)
    (line,) = (one for one in logged if one["event"] == "read the rules")
    desk.kill()
    worker = desk.serving()

    assert said == [f"reading the rules: {left} records are left" for left in (3, 1)]
    assert (line["rules"], line["in_force"], line["refused"]) == (5, 5, {})
    assert "item-3" not in shown(desk)
    assert worker.metric("nextclick_rules") == 5


def test_records_that_came_since_the_last_batch_take_effect_together(
    logged: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many reads they took: a change costs milliseconds, and none must wait for another batch."""
    monkeypatch.setattr(history, "FETCH", {"max_poll_records": 2})
    desk = rule_desk()
    desk.serving()
    for number in range(5):
        rule(desk, EXCLUDE, f"rule-{number}")
    rule(desk, None, "rule-1")

    assert "item-3" not in shown(desk)
    (line,) = (one for one in logged if one["event"] == "other rules are in force")
    assert line["new"] == ["rule-0", "rule-2", "rule-3", "rule-4"]


def test_the_clock_puts_rules_into_force_and_ends_them() -> None:
    """To the second, without another record."""
    desk = rule_desk()
    now_ms = desk.cluster.now_ms
    rule(desk, EXCLUDE | {"from": now_ms + 100_000, "until": now_ms + 200_000})
    worker = desk.serving()
    found = []
    for second in (99, 101, 199, 201):
        desk.advance((now_ms + 1000 * second - desk.cluster.now_ms) / 1000)
        found.append(("item-3" in shown(desk), worker.metric("nextclick_rules_in_force")))

    assert found == [(True, 0), (False, 1), (False, 1), (True, 0)]


def test_a_tag_that_changes_changes_what_a_rule_says() -> None:
    """In both directions, and for an item that is described later."""
    desk = rule_desk()
    rule(desk, EXCLUDE)
    desk.serving()
    before = shown(desk)
    describe(desk, "item-3", {"tags": ["hats"]})
    describe(desk, "item-4", {"tags": ["hats", "shoes"]})
    after = shown(desk)
    describe(desk, "item-4", None)
    describe(desk, "item-5", {"available": False})

    assert ("item-3" in before, "item-4" in before) == (False, True)
    assert ("item-3" in after, "item-4" in after) == (True, False)
    assert {"item-4", "item-5"}.isdisjoint(shown(desk))


def test_every_release_heeds_the_rules() -> None:
    """A champion that is adopted later, and a candidate."""
    desk = rule_desk()
    desk.serving()
    rule(desk, EXCLUDE)
    desk.step(5)
    desk.publish(*successor_release_parts(session_gap_seconds=7.0))
    desk.until(lambda: desk.workers["a"].metric("nextclick_release") == 2, "the new champion")
    champion = answer(desk, "item-2")
    desk.publish(*tiny_release_parts(), pointer=CANDIDATE)
    desk.until(lambda: desk.workers["a"].metric("nextclick_candidate") == 3, "the candidate")
    rule(desk, {"pin": {"item_id": "item-9", "place": 2}}, "pin")
    desk.step(1)
    for number in range(40):
        desk.click(f"user-{number}", "item-2", partition=0)
    desk.settle()

    assert champion["release"] == 2
    assert {one["release"] for one in lists(desk)[-40:]} == {2, 3}
    assert not [one for one in lists(desk)[-41:] if {"item-3", "item-5"} & {*one["items"]}]
    assert {one["items"][1] for one in lists(desk)[-40:]} == {"item-9"}


def test_rules_hold_for_fallback_lists() -> None:
    """As for others."""
    desk = rule_desk(recommend={"top": 3, "publish": "every", "publish_max_age": 0})
    rule(desk, {"pin": {"item_id": "item-3", "place": 1}})
    desk.serving()
    found = answer(desk, "unknown")

    assert (found["reason"], found["items"], found["scores"]) == ("cold", ["item-3", *ITEMS[::-1][:2]], [])


def test_a_bad_rule_is_a_dead_letter_and_the_one_before_stands(logged: list[EventDict]) -> None:
    """Every worker counts it and says what is wrong."""
    desk = rule_desk()
    rule(desk, EXCLUDE)
    workers = [desk.start("a"), desk.serving("b")]
    bad = b'{"exclude": {"tags": ["hats"]}, "untill": 1}'
    rule(desk, bad)
    desk.until(desk.letters, "the letter")
    desk.step(20)

    (letter,) = desk.letters()
    assert (letter.key, letter.value, headers(letter)["topic"]) == (b"rule", bad, b"rules")
    assert headers(letter)["reason"] == b"invalid_rule"
    assert headers(letter)["parts"] == b"unknown field 'untill'; did you mean 'until'?"
    for worker in workers:
        assert worker.metric("nextclick_rule_records_refused_total", reason="invalid_rule") == 1
    (line, _) = (one for one in logged if one["event"] == "records of rules refused")
    assert line["why"] == "unknown field 'untill'; did you mean 'until'?"
    assert "item-3" not in shown(desk)


def test_the_effect_of_rules_is_counted(logged: list[EventDict]) -> None:
    """One list every ten seconds is compared; a rule that ends has no metric any more."""
    desk = rule_desk()
    rule(desk, EXCLUDE)
    rule(desk, {"boost": {"tags": ["none"], "factor": 2}}, "none")
    worker = desk.serving()
    for _ in range(3):
        shown(desk)
        shown(desk)
        desk.advance(COMPARE_SECONDS)
    desk.step(2)
    names: list[tuple[str, dict[str, str]]] = [("rule_lists_compared_total", {})]
    names += [("rule_lists_changed_total", {"rule": one}) for one in ("rule", "none")]
    found = [worker.metric(f"nextclick_{name}", **labels) for name, labels in names]
    rule(desk, None)
    desk.step(2)
    samples = worker.process.metrics.registry.get_sample_value

    assert found == [3, 3, 0]
    assert samples("nextclick_rule_lists_changed_total", {"rule": "rule"}) is None
    assert samples("nextclick_rule_lists_changed_total", {"rule": "none"}) == 0
    changes = [one for one in logged if one["event"] == "other rules are in force"]
    assert (changes[-1]["rules"], changes[-1]["new"], changes[-1]["ended"]) == (1, [], ["rule"])


def test_short_lists_are_counted() -> None:
    """With the worker's other metrics."""
    desk = rule_desk()
    rule(desk, {"allow": {"tags": ["shoes"]}})
    worker = desk.serving()
    found = shown(desk)
    desk.step(2)

    assert found == ["item-3", "item-5"]
    assert worker.metric("nextclick_short_lists_total") == 1


def test_without_a_right_to_the_rules_no_worker_starts() -> None:
    """It says why."""
    desk = rule_desk()
    worker = desk.new()
    rights = [one for one in all_of(roles(desk.settings())[0]) if one.name != "rules"]
    desk.cluster.restrict(worker.connection, rights)

    with pytest.raises(NotAllowed, match="rules"):
        worker.begin()


def test_rules_that_are_created_again_are_read_again() -> None:
    """Those that were in force stay until a record of their name."""
    desk = rule_desk()
    rule(desk, EXCLUDE)
    rule(desk, {"pin": {"item_id": "item-9", "place": 1}}, "pin")
    desk.serving()
    desk.cluster.delete("rules")
    desk.make_topics()
    rule(desk, None, "pin")
    desk.until(lambda: shown(desk)[0] != "item-9", "the new topic")

    assert "item-3" not in shown(desk)
