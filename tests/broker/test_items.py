"""Items on a real Kafka: what a foreign client writes about an item decides the lists of the next clicks."""

from __future__ import annotations

import time
from typing import Final

import orjson

from tests.broker.client import Record
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import Deployment
from tests.conftest import TopicFactory
from tests.waiting import eventually

BEFORE: Final = 20_000
"""Items that are described before the worker starts."""

CHANGES: Final = 6
CLICKS: Final = 20
CLICK: Final = b'{"user_id": "ada", "item_id": "item-2"}'


def described(item: str, available: object) -> Record:
    """A record of an item."""
    document = {"available": available, "tags": ["category:lights", "new"], "price": 12.5}
    return Record(orjson.dumps(document), key=item.encode())


def test_a_worker_heeds_the_items(
    deployment: Deployment, worker: WorkerFactory, topics: TopicFactory
) -> None:
    """All that it reads at its start, and each change once its metrics show it; a bad record is a letter."""
    items = topics("items")
    deployment.publish_successor()
    old = (described(f"old-{number}", number % 2) for number in range(BEFORE))
    deployment.client.send(items, [*old, described("item-4", 0)])
    process = worker(deployment.settings(topics={"items": items}))
    shown, seconds = [], []
    for number in range(CHANGES):
        unavailable = 1 - number % 2
        if number:
            deployment.client.send(items, [described("item-4", number % 2)])
        began = time.monotonic()
        eventually(
            lambda wanted=unavailable: process.metric("nextclick_items_unavailable_in_catalogue") == wanted,  # type: ignore[misc]
            what="the change",
        )
        seconds.append(round(time.monotonic() - began, 3))
        clicks = deployment.send(Record(CLICK, partition=one % 4) for one in range(CLICKS))
        ids = {deployment.click_id(one) for one in clicks}
        answers = deployment.answers(at_least=CLICKS * (number + 1))
        those = [one.json["items"] for one in answers if one.header("id") in ids]
        shown.append([sum("item-4" in one for one in those), len(those)])
    print("seconds until the metrics showed it:", seconds)
    deployment.client.send(items, [described("item-4", "perhaps")])
    eventually(lambda: deployment.letters() != [], what="the letter")

    assert shown == [[0, CLICKS], [CLICKS, CLICKS]] * (CHANGES // 2)
    (letter,) = deployment.letters()
    assert (letter.key, letter.header("nextclick.reason")) == (b"item-4", "wrong_type")
    assert process.metric("nextclick_items") == BEFORE + 1
    assert process.metric("nextclick_items_catch_up_seconds") > 0
