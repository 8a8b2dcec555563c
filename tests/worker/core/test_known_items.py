"""What is known of items: availability by records and by the clock, against a model that asks each time."""

from __future__ import annotations

import tracemalloc
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from worker.core import known_items
from worker.core.known_items import Change, Item, KnownItems

IDS: Final = ["lamp", "rug", "sofa"]

times = st.none() | st.integers(0, 20)
items = st.builds(
    Item, available=st.booleans(), tags=st.just(("new",)), valid_from_ms=times, valid_until_ms=times
)
puts = st.lists(st.tuples(st.sampled_from(IDS), st.none() | items), max_size=4)
steps = st.lists(st.tuples(puts, st.integers(-2, 6)), max_size=20)


def is_available(item: Item | None, now_ms: int) -> bool:
    """The definition."""
    if item is None or not item.available:
        return False
    begins, ends = item.valid_from_ms, item.valid_until_ms
    return (begins is None or now_ms >= begins) and (ends is None or now_ms < ends)


@given(steps)
def test_records_and_clock_decide_together(steps: list[tuple[list[Change], int]]) -> None:
    """After every change of either; what is reported as changed is what has changed."""
    known, said = KnownItems(), dict[str, Item | None]()
    now_ms, latest_ms = 0, -1_000
    before = dict.fromkeys(IDS, True)
    for changes, passed in steps:
        now_ms += passed
        latest_ms = max(latest_ms, now_ms)
        changed = known.advance(now_ms)
        changed += known.put(changes, now_ms=now_ms)
        said |= dict(changes)
        after = {one: one not in said or is_available(said[one], latest_ms) for one in IDS}

        assert {one: known.is_available(one) for one in IDS} == after
        assert known.available(IDS).tolist() == [*after.values()]
        assert {one for one in IDS if before[one] != after[one]} <= set(changed)
        assert sorted(known.unavailable()) == [one for one in IDS if not after[one]]
        assert known.unavailable_count == len(known.unavailable())
        described = [one for one, item in said.items() if item is not None]
        assert (len(known), [one for one in IDS if known.describes(one)]) == (
            len(described),
            sorted(described),
        )
        assert [known.tags(one) for one in IDS] == [["new"] if one in described else [] for one in IDS]
        before = after


@given(steps)
def test_all_that_is_known_can_be_put_elsewhere(steps: list[tuple[list[Change], int]]) -> None:
    """As changes: then the other one knows the same."""
    known = KnownItems()
    for changes, _ in steps:
        known.put(changes, now_ms=0)
    other = KnownItems()
    other.put(known.changes(), now_ms=0)

    assert [*other.changes()] == [*known.changes()]
    for now_ms in range(22):
        assert [known.advance(now_ms), sorted(known.unavailable())] == [
            other.advance(now_ms),
            sorted(other.unavailable()),
        ]


def test_times_that_change_again_and_again_take_no_more_memory() -> None:
    """An item may get a new end with every record."""
    known = KnownItems()
    for number in range(10_000):
        known.put([("lamp", Item(valid_until_ms=1_000_000 - number))], now_ms=0)

    assert len(known._changes) <= known_items._STALE + 3
    assert known.advance(990_001) == ["lamp"]
    assert known.advance(1_000_000) == []
    assert known._changes == []


def test_times_may_be_very_far_away() -> None:
    """As in any record that anyone writes."""
    known = KnownItems()
    known.put([("lamp", Item(valid_from_ms=10**30)), ("rug", Item(valid_until_ms=-(10**30)))], now_ms=0)
    known.put([("sofa", Item(valid_from_ms=-(10**30), valid_until_ms=10**30))], now_ms=0)

    assert known.unavailable() == ["lamp", "rug"]
    assert known.advance(10**15) == []


def test_an_item_takes_little_memory() -> None:
    """With five tags; `worker/README.md` states it per million."""
    changes = [
        (f"item-{one}", Item(tags=tuple(f"tag:{one % 97}:{n}" for n in range(5)))) for one in range(20_000)
    ]
    tracemalloc.start()
    known = KnownItems()
    known.put(((f"{item_id}", item) for item_id, item in changes), now_ms=0)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert len(known) == 20_000
    assert size / 20_000 < 120
