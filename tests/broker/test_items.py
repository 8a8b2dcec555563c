"""Items on a real Kafka: a record from a foreign client reaches the lists within a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import orjson

from tests.broker.client import Record
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import Deployment
from tests.conftest import TopicFactory
from tests.waiting import eventually

WITHIN_MS: Final = 1_000
BEFORE: Final = 20_000
"""Items that are described before the worker starts."""

CHANGES: Final = 6
CLICKS: Final = 1_000
CLICK: Final = b'{"user_id": "ada", "item_id": "item-2"}'
PAUSE_SECONDS: Final = 0.01


def described(item: str, available: object) -> Record:
    """A record of an item."""
    document = {"available": available, "tags": ["category:lights", "new"], "price": 12.5}
    return Record(orjson.dumps(document), key=item.encode())


def paced() -> Iterator[Record]:
    """Yield clicks that lead to lists with item 4, one after the other, for longer than the changes take."""
    for number in range(CLICKS):
        yield Record(CLICK, partition=number % 4)
        time.sleep(PAUSE_SECONDS)


def test_a_worker_heeds_the_items(
    deployment: Deployment, worker: WorkerFactory, topics: TopicFactory
) -> None:
    """Those it reads at its start, and every change within a second; a bad record is a letter."""
    items = topics("items")
    deployment.publish_successor()
    old = (described(f"old-{number}", number % 2) for number in range(BEFORE))
    deployment.client.send(items, [*old, described("item-4", 0)])
    process = worker(deployment.settings(topics={"items": items}))
    changed_ms = [0]
    with ThreadPoolExecutor(1) as shop:
        clicking = shop.submit(deployment.send, paced())
        for number in range(1, CHANGES + 1):
            time.sleep(WITHIN_MS / 1000)
            deployment.client.send(items, [described("item-4", number % 2)])
            changed_ms.append(round(time.time() * 1000))
        clicks = clicking.result()
    answers = [answer.json for answer in deployment.answers(at_least=len(clicks))]
    late_ms = []
    for number, begin in enumerate(changed_ms):
        end = [*changed_ms, 1 << 62][number + 1]
        those = [one for one in answers if begin <= one["produced_at"] < end]
        wrong = [one for one in those if ("item-4" in one["items"]) != bool(number % 2)]
        late_ms.append(max((one["produced_at"] - begin for one in wrong), default=0))
    print("late by", late_ms, "ms")
    deployment.client.send(items, [described("item-4", "perhaps")])
    eventually(lambda: deployment.letters() != [], what="the letter")

    assert len(answers) == len(clicks)
    assert late_ms[0] == 0
    assert max(late_ms) < WITHIN_MS
    (letter,) = deployment.letters()
    assert (letter.key, letter.header("nextclick.reason")) == (b"item-4", "wrong_type")
    assert process.metric("nextclick_items") == BEFORE + 1
    assert process.metric("nextclick_items_catch_up_seconds") > 0
    print("caught up in", process.metric("nextclick_items_catch_up_seconds"), "s")
