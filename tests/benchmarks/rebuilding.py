"""Whether rebuilt states are what the items make of them, and what live quality costs: without a broker."""

from __future__ import annotations

import time
from typing import Final

import numpy as np
from safetensors.numpy import load
from threadpoolctl import threadpool_limits

from tests.benchmarks.clicks import zipf
from tests.benchmarks.stand import HIDDEN_SIZE
from tests.builders import item_names, step_one, tiny_release_parts
from worker.core.batch import Clicks
from worker.core.manifest import Manifest
from worker.core.quality import Quality
from worker.core.recommender import Recommender
from worker.core.release import Release, verify
from worker.core.serving import Serving
from worker.core.states import States

ITEMS: Final = 20_000
BATCH: Final = 250
NOW_MS: Final = 1_700_000_000_000

TOLERANCE: Final = 1e-3

_SAMPLE: Final = 300


def batches(number: int, *, users: int) -> list[Clicks]:
    """Return `number` batches of clicks of Zipf users on Zipf items."""
    random, names = np.random.default_rng(4), np.array(item_names(ITEMS))
    drawn = ((zipf(random, users, BATCH), zipf(random, ITEMS, BATCH)) for _ in range(number))
    return [
        Clicks(
            partitions=np.zeros(BATCH, np.int32),
            offsets=np.arange(nth * BATCH, (nth + 1) * BATCH),
            user_ids=[f"user-{user}" for user in clicking.tolist()],
            item_ids=names[clicked].tolist(),
            timestamps_ms=np.full(BATCH, NOW_MS + nth),
            record_timestamps_ms=np.full(BATCH, NOW_MS + nth),
        )
        for nth, (clicking, clicked) in enumerate(drawn)
    ]


def release(number: int) -> Release:
    """Return one of several releases."""
    return verify(*parts(number), number=number)


def parts(number: int) -> tuple[Manifest, bytes]:
    """Return manifest and blob of that one."""
    return tiny_release_parts(item_names(ITEMS), hidden_size=HIDDEN_SIZE, seed=number)


def rebuild_equal() -> dict[str, float]:
    """Return the largest difference between rebuilt states and the formula's, over some users."""
    states = States(state_size=HIDDEN_SIZE)
    before = Recommender(release(1), states)
    for batch in batches(200, users=5_000):
        before.apply(batch, now_ms=0)
    serving = Serving(states, Recommender(release(2), states))
    rows = states.used(0, states.end)
    serving.rebuild(rows)
    tensors, largest = load(parts(2)[1]), 0.0
    for row in np.random.default_rng(0).choice(rows, _SAMPLE, replace=False):
        user = states.read(np.array([row]))
        state = np.zeros(states.state_size, np.float16)
        for item_id in states.item_codes.ids(user.ring.session(user.session)[0]):
            index = int(item_id.removeprefix("item-"))
            state = step_one(tensors, "gru", index, state.astype(np.float32)).astype(np.float16)
        largest = max(largest, float(np.abs(user.hidden[0] - state.astype(np.float32)).max()))
    return {"rebuild_equal": float(largest <= TOLERANCE), "rebuild_difference": largest}


def quality_cost(*, rounds: int) -> dict[str, float]:
    """Return the time that live quality adds to applying and ranking: batches with and without it by turns.

    With few users, so that nearly every click has a list to be judged: the most that it can cost a worker
    that has served for a while. The first round, in which users and items are new, is not counted.
    """
    clicks = batches(40, users=2_000)
    shared = release(1)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    walks = {}
    for counted in (True, False):
        states = States(state_size=HIDDEN_SIZE)
        quality = Quality(states, top=20) if counted else None
        walks[counted] = Recommender(shared, states, publish="every", publish_max_age_ms=0, quality=quality)
    with threadpool_limits(1, user_api="blas"):
        for nth, batch in enumerate(clicks * (1 + rounds)):
            for counted in (True, False) if nth % 2 else (False, True):
                began = time.process_time()
                walks[counted].rank(walks[counted].apply(batch, now_ms=0))
                if nth >= len(clicks):
                    seconds[counted].append(time.process_time() - began)
    with_it, without = (np.median(np.array(seconds[counted])) for counted in (True, False))
    return {
        "live_quality_cost_share": float(with_it / without - 1),
        "live_quality_microseconds": float((with_it - without) / BATCH * 1e6),
    }
