"""What rules cost: CPU per click with ten rules over none, and the time of a change of rules or tags.

`.venv/bin/python -m tests.benchmarks.rules`: 100,000 items with 20 tags each. A click is applied and answered
with a list, in batches of 500; two equal recommenders take turns, one with rules and one without.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from tests.benchmarks.items import BATCH, ITEMS, TOP, release_of
from worker.core.batch import Clicks
from worker.core.known_items import Item, KnownItems
from worker.core.recommender import Recommender
from worker.core.release import Release
from worker.core.rules import Allow, Boost, Exclude, Limit, Pin, Rule
from worker.core.states import States
from worker.core.tables import Ranking

TAGS: Final = 20
USERS: Final = 20_000

ALWAYS: Final[Mapping[str, Rule]] = {
    "exclude": Rule(Exclude(("brand:1", "brand:2"))),
    "exclude more": Rule(Exclude(("word:7",))),
    "allow": Rule(Allow(tuple(f"category:{number}" for number in range(90)))),
    "boost": Rule(Boost(("word:8",), 2.0)),
    "boost more": Rule(Boost(("brand:3",), 3.0)),
    "lower": Rule(Boost(("word:9",), 0.5)),
    "pin": Rule(Pin("item-17", 3)),
}
"""Rules for all lists, without caps."""

CAPS: Final[Mapping[str, Rule]] = {
    "cap": Rule(Limit("category:", 3)),
    "cap more": Rule(Limit("brand:", 5)),
}

CONDITIONAL: Final[Mapping[str, Rule]] = {
    "after": Rule(Exclude(("category:1",)), last_event_tags=("category:1",)),
}
"""For one click in a hundred."""

ALL: Final[Mapping[str, Rule]] = {**ALWAYS, **CAPS, **CONDITIONAL}


def described(items: int) -> KnownItems:
    """A category, a brand and words of each item: 20 tags of 5,300."""
    random, known = np.random.default_rng(2), KnownItems()
    numbers = random.integers((100, 200, *[5_000] * (TAGS - 2)), size=(items, TAGS)).tolist()
    known.put(
        (
            (
                f"item-{at}",
                Item(tags=(f"category:{its[0]}", f"brand:{its[1]}", *(f"word:{n}" for n in its[2:]))),
            )
            for at, its in enumerate(numbers)
        ),
        now_ms=0,
    )
    return known


class Fed:
    """A recommender that is given the same clicks as another."""

    def __init__(self, release: Release, ranking: Ranking) -> None:
        self.recommender = Recommender(
            release, States(state_size=release.state_size), top=TOP, ranking=ranking
        )
        self._random, self._offset = np.random.default_rng(3), 0

    def seconds(self) -> float:
        """Apply and answer a batch; the CPU seconds that it took."""
        users, items = (self._random.integers(most, size=BATCH).tolist() for most in (USERS, ITEMS))
        times = np.full(BATCH, 1_700_000_000_000 + self._offset, np.int64)
        clicks = Clicks(
            partitions=np.zeros(BATCH, np.int32),
            offsets=np.arange(BATCH, dtype=np.int64) + self._offset,
            user_ids=[f"user-{number}" for number in users],
            item_ids=[f"item-{number}" for number in items],
            timestamps_ms=times,
            record_timestamps_ms=times,
        )
        self._offset += BATCH
        started = time.process_time()
        self.recommender.rank(self.recommender.apply(clicks, now_ms=int(times[0])))
        return time.process_time() - started


def rules_over_none(rules: Mapping[str, Rule], known: KnownItems, *, ranking: Ranking, rounds: int) -> float:
    """Return the CPU time per click with rules over that with none: the median of `rounds` batches."""
    plain, ruled = (Fed(release_of(ITEMS), ranking) for _ in range(2))
    ruled.recommender.listing.constraints.set(rules, known)
    ratios = list[float]()
    with threadpool_limits(1, user_api="blas"):
        for number in range(rounds + 2):
            first, second = (plain, ruled) if number % 2 else (ruled, plain)
            found = {id(one): one.seconds() for one in (first, second)}
            ratios.append(found[id(ruled)] / found[id(plain)])
    return statistics.median(ratios[2:])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    known = described(ITEMS)
    kinds = {"none of them": {}, "for all lists": ALWAYS, "and caps": {**ALWAYS, **CAPS}}
    kinds["and a condition"] = ALL
    rankings: tuple[Ranking, ...] = ("exact", "approximate")
    for ranking in rankings:
        for name, rules in kinds.items():
            ratio = rules_over_none(rules, known, ranking=ranking, rounds=options.rounds)
            print(f"{ranking} ranking, {len(rules)} rules ({name}) over none: {ratio:.3f}")
    recommender = Fed(release_of(ITEMS), "exact").recommender
    started = time.perf_counter()
    recommender.listing.constraints.set(ALL, known)
    first = time.perf_counter()
    recommender.listing.constraints.set({**ALL, "new": Rule(Exclude(("word:3",)))}, known)
    second = time.perf_counter()
    for number in range(1_000):
        changed = known.put([(f"item-{number}", Item(tags=("category:1",)))], now_ms=0)
        recommender.listing.constraints.retag(changed)
    third = time.perf_counter()
    print(f"all rules for a new release: {1000 * (first - started):.0f} ms")
    print(f"one rule more: {1000 * (second - first):.0f} ms")
    print(f"other tags of an item: {1000 * (third - second):.0f} us")


if __name__ == "__main__":
    main()
