"""Users who were there before: their states, in memory or in the state topic as the worker writes them."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from numpy.typing import NDArray

from tests.benchmarks.clicks import zipf
from tests.benchmarks.stand import HIDDEN_SIZE
from tests.builders import item_names
from worker.core.flush import Flush, Ledger
from worker.core.states import States
from worker.core.user_states import UserStates
from worker.topics.states import BLOCK, REPLAY, Replay

Numbers = NDArray[np.int64]

CLICKS_EACH: Final = 10
"""How many clicks the users have behind them, on an average: the first of them most, most of them few."""

_AT_ONCE: Final = 1 << 14
_BLOCKS: Final = 16


def spread(users: int, partitions: int) -> dict[int, Numbers]:
    """Return the users of each partition, by the hash of the client that sends their clicks."""
    of = np.array([zlib.crc32(b"user-%d" % user) % partitions for user in range(users)])
    return {partition: np.flatnonzero(of == partition) for partition in range(partitions)}


def histories(users: int) -> Numbers:
    """Return how many clicks each of `users` Zipf users has made; everyone has made one."""
    shares = 1 / np.arange(1, users + 1)
    return np.maximum(1, np.round(CLICKS_EACH * users * shares / shares.sum())).astype(np.int64)


def prime(
    bootstrap: str, settings: Mapping[str, Any], population: Mapping[int, Numbers], *, items: int
) -> None:
    """Write the states of a `population` (users by partition) as if a worker of these settings had.

    As many clicks lie behind them as `histories` says, and none of them is in the topic of clicks.
    """
    topics = settings["topics"]
    clicks = histories(max(int(numbers.max(initial=0)) for numbers in population.values()) + 1)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    for partition, numbers in population.items():
        states, ledger = States(state_size=HIDDEN_SIZE, slab_rows=len(numbers) + 1), Ledger()
        fill(states, partition, [f"user-{n}" for n in numbers.tolist()], clicks[numbers], items=items)
        flush = Flush(states, ledger, partition=partition)
        while not flush.done:
            for number, value in flush.next_blocks(_BLOCKS):
                producer.produce(topics["state"], value, f"{BLOCK}{number}", partition)
            producer.flush()
        producer.produce(topics["state"], Replay(0, 1).value(), REPLAY, partition)
    producer.flush()
    client = Consumer({"bootstrap.servers": bootstrap, "group.id": settings["group"]})
    client.commit(
        offsets=[TopicPartition(topics["clicks"], partition, 0) for partition in population],
        asynchronous=False,
    )
    client.close()


def fill(states: States, partition: int, user_ids: Sequence[str], clicks: Numbers, *, items: int) -> None:
    """Give each user a state that its number of `clicks` on Zipf items may have left."""
    random = np.random.default_rng(partition)
    codes = states.item_codes.codes(item_names(items))
    for begin in range(0, len(user_ids), _AT_ONCE):
        some = slice(begin, begin + _AT_ONCE)
        rows = states.rows(partition, user_ids[some])
        count, recent = len(rows), (len(rows), states.recent_items)
        users = UserStates(
            hidden=random.uniform(-1, 1, (count, states.state_size)).astype(np.float16),
            recent=codes[zipf(random, items, recent[0] * recent[1])].reshape(recent),
            clicks=clicks[some].astype(np.int32),
            session=np.minimum(clicks[some], 5).astype(np.int8),
            warm=np.ones(count, np.bool_),
            timestamp_ms=np.full(count, time.time_ns() // 1_000_000),
            offset=np.zeros(count, np.int64),
            release=np.ones(count, np.int32),
        )
        states.write(rows, users)
