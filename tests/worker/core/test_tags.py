"""Tags of items: what is put is what is there, however often it changes, in bounded memory."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.core.tags import Tags

texts = st.lists(st.sampled_from(["new", "category:shoes", "brand:acme", "x", "y"]), unique=True)


@given(st.lists(st.tuples(st.integers(0, 4), texts), max_size=60))
def test_the_last_tags_stand(puts: list[tuple[int, list[str]]]) -> None:
    """For every item, in their order; the pool has little that nobody uses."""
    tags, expected = Tags(waste=3), list[list[str]]()
    for place, some in puts:
        at = min(place, len(expected))
        expected[at : at + 1] = [some]
        tags.put(at, some)

        assert [tags.of(one) for one in range(len(expected))] == expected
        used = sum(map(len, expected))
        assert len(tags._pool) <= max(used + 3, 2 * used) + len(some)


@given(st.lists(texts, max_size=5), st.lists(st.integers(-1, 4), max_size=8))
def test_the_tags_of_many_items_are_those_of_each(every: list[list[str]], places: list[int]) -> None:
    """In their order; a negative place has none."""
    tags = Tags()
    for place, some in enumerate(every):
        tags.put(place, some)
    asked = [place for place in places if place < len(every)]

    owners, numbers = tags.of_all(np.array(asked, np.int32))

    found = [[tags.names[one] for one in numbers[owners == at].tolist()] for at in range(len(asked))]
    assert found == [every[place] if place >= 0 else [] for place in asked]


def test_what_changes_is_said() -> None:
    """An item without tags that gets none has not changed."""
    tags = Tags()

    assert [tags.put(0, some) for some in ([], ["a"], ["a"], ["a", "b"], [])] == [
        False,
        True,
        False,
        True,
        True,
    ]


def test_the_same_tag_has_one_id() -> None:
    """So that a rule compares integers."""
    tags = Tags()
    tags.put(0, ["a", "b"])
    tags.put(1, ["b"])

    assert tags.ids(1) == tags.ids(0)[1:]


def test_tags_that_do_not_change_cost_nothing() -> None:
    """A shop may send all its items again every night."""
    tags = Tags()
    for _ in range(1_000):
        tags.put(0, ["a", "b"])

    assert len(tags._pool) == 2
