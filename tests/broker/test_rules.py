"""Rules on a real Kafka: what a foreign client writes decides the lists of the next clicks."""

from __future__ import annotations

from typing import Any, Final

import orjson

from tests.broker.client import Record
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import Deployment
from tests.conftest import TopicFactory
from tests.waiting import eventually

CLICKS: Final = 20
CLICK: Final = b'{"user_id": "ada", "item_id": "item-2"}'


def ruled(document: dict[str, Any] | None, name: str = "rule") -> Record:
    """A record of a rule."""
    return Record(None if document is None else orjson.dumps(document), key=name.encode())


def test_a_worker_heeds_the_rules(
    deployment: Deployment, worker: WorkerFactory, topics: TopicFactory
) -> None:
    """Those that it reads at its start, and each change once its metrics show it; a bad one is a letter."""
    items, rules = topics("items"), topics("rules")
    deployment.publish_successor()
    tagged = Record(orjson.dumps({"tags": ["shoes"]}), key=b"item-3")
    deployment.client.send(items, [tagged])
    deployment.client.send(rules, [ruled({"exclude": {"tags": ["shoes"]}})])
    process = worker(deployment.settings(topics={"items": items, "rules": rules}))

    def shown(in_force: int) -> list[list[str]]:
        eventually(lambda: process.metric("nextclick_rules_in_force") == in_force, what="the rules")
        before = len(deployment.answers(at_least=0))
        ids = {
            deployment.click_id(one)
            for one in deployment.send(Record(CLICK, partition=one % 4) for one in range(CLICKS))
        }
        answers = deployment.answers(at_least=before + CLICKS)
        return [one.json["items"][:2] for one in answers if one.header("id") in ids]

    excluded = shown(1)
    deployment.client.send(rules, [ruled({"pin": {"item_id": "item-9", "place": 2}}, "pin")])
    pinned = shown(2)
    deployment.client.send(rules, [ruled(None)])
    back = shown(1)
    deployment.client.send(rules, [ruled({"pin": {"item": "item-9"}}, "pin")])
    eventually(lambda: deployment.letters() != [], what="the letter")

    assert excluded == [["item-0", "item-1"]] * CLICKS
    assert pinned == [["item-0", "item-9"]] * CLICKS
    assert back == [["item-3", "item-9"]] * CLICKS
    (letter,) = deployment.letters()
    assert (letter.key, letter.header("nextclick.reason")) == (b"pin", "invalid_rule")
