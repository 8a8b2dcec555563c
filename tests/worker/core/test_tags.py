"""Tags of items: what is put is what is there, however often it changes, in bounded memory."""

from __future__ import annotations

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
