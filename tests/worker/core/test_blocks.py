"""How user states are written down, and what is refused when they are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import clicked
from tests.examples import examples
from worker.core import blocks
from worker.core.blocks import decode, encode, recent_items
from worker.core.ranking import NO_ITEM
from worker.core.recent import RECENT_ITEMS
from worker.core.slabs import Rows
from worker.core.states import States
from worker.core.user_states import NO_OFFSET, Saved
from worker.errors import StateRefused

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)


def block_of(count: int = 3, **sizes: int) -> bytes:
    """A block of users u0, u1, ... who each clicked a lamp, a rug, a sofa."""
    states = States(state_size=sizes.get("state_size", 4), recent_items=sizes.get("recent_items", 20))
    return encode(
        states, clicked(states, 0, [f"u{n}" for n in range(count)], ["lamp", "rug", "sofa"], offset=9)
    )


def changed(value: bytes, **entries: Any) -> bytes:
    """The value with other entries in its map."""
    return msgpack.packb(msgpack.unpackb(value) | entries)


def drawn(states: States, user_ids: list[str], item_ids: list[str], seed: int) -> Rows:
    """Rows with random values in every column, as far as these can be."""
    random = np.random.default_rng(seed)
    rows = states.rows(0, user_ids)
    users, count = states.read(rows), len(rows)
    codes = states.item_codes.codes(["none of these", *item_ids])[1:]
    users.hidden[:] = random.standard_normal(users.hidden.shape)
    users.clicks[:] = random.choice([1, 2, 3, 50, 2**31 - 1], count)
    users.recent[:] = random.choice(codes, users.recent.shape) if len(codes) else NO_ITEM
    users.session[:] = np.minimum(random.integers(0, 21, count), users.ring.kept)
    users.warm[:] = random.random(count) < 0.5
    users.timestamp_ms[:] = random.integers(-(2**63), 2**63 - 1, count)
    users.offset[:] = random.choice([0, 1, 2**63 - 1], count)
    users.release[:] = random.choice([0, 1, 2**31 - 1], count)
    states.write(rows, users)
    return rows


def check_equal(states: States, rows: Rows, saved: Saved) -> None:
    """All that the rows hold stands in the block."""
    users = states.read(rows)
    assert saved.user_ids == states.user_ids(rows)
    for field in fields(users):
        if field.name != "recent":
            found, wanted = (getattr(one, field.name) for one in (saved.states, users))
            assert found.dtype == wanted.dtype
            assert np.array_equal(found, wanted)
    for place in range(len(users)):
        assert recent_items(saved, place) == states.item_codes.ids(users.ring.oldest_first(place))


@given(
    st.lists(ids, min_size=1, max_size=20, unique=True),
    st.lists(ids, max_size=30, unique=True),
    st.sampled_from([1, 4, 256]),
    st.sampled_from([1, 2, 20]),
    st.integers(0, 2**32 - 1),
)
def test_what_is_read_is_what_was_written(
    user_ids: list[str], item_ids: list[str], state_size: int, recent: int, seed: int
) -> None:
    """For any ids, sizes and values; read by a worker that has other codes for the items, too."""
    states = States(state_size=state_size, recent_items=recent)
    rows = drawn(states, user_ids, item_ids, seed)
    value = encode(states, rows)
    saved = decode(value)
    other = States(state_size=state_size, recent_items=recent, slab_rows=4)
    other.item_codes.codes(item_ids[::-1])
    taken = other.load(0, 1, saved)

    check_equal(states, rows, saved)
    assert saved.size_bytes == len(value)
    check_equal(other, taken, decode(encode(other, taken)))
    check_equal(other, taken, saved)


def test_the_longest_ids_are_kept() -> None:
    """256 bytes of the widest characters."""
    states, long = States(state_size=4), "🛋" * 64
    saved = decode(encode(states, clicked(states, 0, [long], [long], offset=1)))

    assert (saved.user_ids, recent_items(saved, 0)) == ([long], [long])


@pytest.mark.parametrize("items", [32_767, 32_768])
def test_places_of_items_are_short_where_that_is_enough(items: int) -> None:
    """Two bytes each up to 32,767 items, four above."""
    states = States(state_size=1, recent_items=32)
    rows = states.rows(0, [f"u{number}" for number in range(1024)])
    users = states.read(rows)
    users.clicks[:] = 32
    users.recent[:] = (np.arange(1024 * 32) % items).reshape(1024, 32)
    states.item_codes.codes([f"item-{number}" for number in range(items)])
    states.write(rows, users)
    value = encode(states, rows)

    assert len(msgpack.unpackb(value)["recent"]) == 1024 * 32 * (2 if items == 32_767 else 4)
    check_equal(states, rows, decode(value))


def test_only_the_items_that_its_rows_name_stand_in_a_block() -> None:
    """Not those of others, nor those that left the ring."""
    states = States(state_size=4, recent_items=2)
    clicked(states, 0, ["bob"], ["chair"], offset=1)
    rows = clicked(states, 0, ["ada"], ["lamp", "rug", "sofa", "rug"], offset=2)

    assert decode(encode(states, rows)).item_ids == ["rug", "sofa"]


def test_a_row_costs_little_more_than_what_is_in_it() -> None:
    """With H=128, 20 recent items out of 1,000 and ids of 12 letters: 346 bytes of columns and ids."""
    states = States(state_size=128)
    items = [f"item-{number:07d}" for number in range(1000)]
    for number in range(100):
        users = [f"user-{number:03d}{place:04d}" for place in range(10)]
        clicked(states, 0, users, items[number * 10 : number * 10 + 10] * 2, offset=number)

    value = encode(states, states.owned(0))
    assert len(value) < 1000 * (256 + 40 + 26 + 13 + 13 + 1)


@given(st.binary(max_size=200))
@examples(2)
def test_any_bytes_are_a_block_or_refused(value: bytes) -> None:
    """Nothing else is raised."""
    with pytest.raises(StateRefused):
        decode(value)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary()
    | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=6,
)
keys = st.sampled_from(sorted(msgpack.unpackb(block_of())))


@given(st.integers(0, 4), st.dictionaries(keys, anything, min_size=1, max_size=2))
@examples(2)
def test_a_map_with_anything_in_it_is_a_block_or_refused(count: int, entries: dict[str, Any]) -> None:
    """And what is taken for a block can be loaded."""
    load_or_refuse(changed(block_of(count), **entries))


GOOD = block_of(recent_items=3)


@given(st.data())
@examples(3)
def test_damaged_bytes_are_a_block_or_refused(data: st.DataObject) -> None:
    """Cut, lengthened, and with some bytes changed."""
    value = bytearray(GOOD[: data.draw(st.integers(0, len(GOOD)) | st.just(len(GOOD)))])
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, max(0, len(value) - 1)))
        value[place : place + 1] = data.draw(st.binary(max_size=2))

    load_or_refuse(bytes(value))


def load_or_refuse(value: bytes) -> None:
    """Read a value and use it in every way, or see it refused."""
    states, saved, said = States(state_size=4), None, ""
    try:
        saved = decode(value)
    except StateRefused as refused:
        said = str(refused)
    if saved is None:
        assert 10 < len(said) < 300
        return
    rows = states.load(0, 1, saved)
    assert sorted(states.user_ids(rows)) == sorted(saved.user_ids)
    encode(states, rows)
    for place in range(len(saved.user_ids)):
        recent_items(saved, place)


def raw(kind: str, *values: float) -> bytes:
    """A column."""
    return np.array(values, kind).tobytes()


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"format": 2}, "its format is 2, but this worker reads 1"),
        ({"format": 0}, "its format is 0, but this worker reads 1"),
        ({"format": "1"}, "not a map with an integer `format`"),
        ({"format": [[]] * 3}, "not a map with an integer `format`"),
        ({"rows": 2**63}, f"it has {2**63} rows and 3 users"),
        ({"rows": -1}, "it has -1 rows and 3 users"),
        ({"rows": 3.0}, "its rows is of type float, not int"),
        ({"rows": True}, "its rows is of type bool, not int"),
        ({"users": ["u0", "u1"]}, "it has 3 rows and 2 users"),
        ({"users": ["u0", "u1", "u1"]}, "it has 3 rows and 2 users"),
        ({"users": ["u0", "u1", ""]}, "it has 3 rows and 2 users"),
        ({"users": ["u0", "u1", 2]}, "one of its users is not text"),
        ({"users": None}, "its users is of type NoneType, not list"),
        ({"items": ["lamp", "rug", b"sofa"]}, "one of its items is not text"),
        ({"items": ["lamp", "rug"]}, "a row refers to an item outside the 2 items of its block"),
        ({"items": {}}, "its items is of type dict, not list"),
        ({"hidden": bytes(25)}, "its hidden has 25 bytes, which does not fit 3 rows of 2-byte values"),
        ({"hidden": raw("<f2", *[0] * 11, np.nan)}, "a hidden state has values that are not finite"),
        ({"hidden": raw("<f2", *[0] * 11, -np.inf)}, "a hidden state has values that are not finite"),
        ({"recent": raw("<i2", -2, *[0] * 59)}, "a row refers to an item outside the 3 items of its block"),
        ({"recent": bytes(7)}, "its recent has 7 bytes, which does not fit 3 rows of 2-byte values"),
        ({"clicks": raw("<i4", 1, 0, 1)}, "a row has no clicks"),
        ({"clicks": raw("<i4", 1, 1)}, "its clicks has 8 bytes, which does not fit 3 rows of 4-byte values"),
        ({"session": raw("<i1", 0, -1, 0)}, "has more clicks than the row keeps"),
        ({"session": raw("<i1", 0, 4, 0)}, "has more clicks than the row keeps"),
        ({"warm": bytes([0, 1, 2])}, "a row's `warm` is neither 0 nor 1"),
        ({"offset": raw("<i8", 0, -2, 0)}, "a negative offset"),
        ({"release": raw("<i4", 0, -1, 0)}, "a negative offset or release"),
        ({"timestamp_ms": "now"}, "its timestamp_ms is of type str, not bytes"),
    ],
)
def test_a_refusal_says_what_is_wrong(entries: dict[str, Any], said: str) -> None:
    """Whatever of the map is not as it must be."""
    with pytest.raises(StateRefused, match=said):
        decode(changed(block_of(), **entries))


@pytest.mark.parametrize(
    "value", [b"", b"\xc1", GOOD[:-1], GOOD + b"\x00", b"\xdd\xff\xff\xff\xff", b"\x91" * 5000]
)
def test_what_is_no_messagepack_is_refused(value: bytes) -> None:
    """Nothing, a wrong byte, too few, too many, a list of four thousand million, lists without end."""
    with pytest.raises(StateRefused, match="it is not MessagePack"):
        decode(value)


def test_what_is_not_known_of_a_block_is_passed_over() -> None:
    """A later worker may write more into the same format."""
    assert decode(changed(block_of(), more=[1])).user_ids == ["u0", "u1", "u2"]


@pytest.mark.parametrize("sizes", [{"state_size": 7}, {"state_size": 1}])
def test_a_hidden_state_of_another_size_is_of_no_release(sizes: dict[str, int]) -> None:
    """All else is taken; no release takes the zeros in its place for a state that it made."""
    saved = decode(block_of(**sizes))
    states = States(state_size=4)
    users = states.read(states.load(0, 1, saved))

    assert users.hidden.shape == (3, 4)
    assert not users.hidden.any()
    assert users.release.tolist() == [0, 0, 0]
    assert users.clicks.tolist() == users.session.tolist() == [3, 3, 3]


@pytest.mark.parametrize(("kept", "keeps"), [(2, 5), (5, 2), (3, 4), (20, 1), (1, 20), (20, 64), (64, 20)])
@pytest.mark.parametrize("clicks", [1, 2, 7, 70])
def test_a_ring_of_another_size_keeps_the_last_items(kept: int, keeps: int, clicks: int) -> None:
    """As many as fit and as there were; and goes on where it was."""
    items = [f"item-{number}" for number in range(clicks)]
    old, new = (States(state_size=4, recent_items=size) for size in (kept, keeps))
    new.load(0, 1, decode(encode(old, clicked(old, 0, ["ada"], items, offset=1))))
    rows = clicked(new, 0, ["ada"], ["new"], offset=2)
    saved = decode(encode(new, rows))

    assert recent_items(saved, 0) == [*items[-min(kept, keeps) :], "new"][-keeps:]
    assert saved.states.clicks.tolist() == [clicks + 1]
    assert saved.states.session.tolist() == [min(clicks + 1, keeps, RECENT_ITEMS)]


def test_a_block_is_read_without_copying_its_hidden_states() -> None:
    """They stand in memory as they stand in the value."""
    assert not decode(block_of()).states.hidden.flags.owndata


def test_limits_are_below_what_brokers_take() -> None:
    """A batch of the default 1 MiB has room for the largest block and its headers."""
    check: Callable[[int], bool] = (1 << 20).__gt__

    assert check(blocks.MAX_BYTES * 3 // 2)


def test_states_without_offsets_are_the_same_states() -> None:
    """No record of another topic was applied to them."""
    value = block_of()
    kept, before = decode(blocks.without_offsets(value)), decode(value)

    assert kept.user_ids == before.user_ids
    assert kept.states.offset.tolist() == [NO_OFFSET] * 3
    for column in fields(before.states):
        if column.name != "offset":
            assert np.array_equal(getattr(kept.states, column.name), getattr(before.states, column.name))


def bought_block(days: int = 30) -> tuple[States, Rows]:
    """Ada clicked and bought nothing, bob clicked and bought a rug and a sofa, eve only bought a rug."""
    states = States(state_size=4)
    states.keep_bought(days)
    clicked(states, 0, ["ada", "bob"], offset=9)
    rows = states.rows(0, ["ada", "bob", "eve"])
    rug, sofa = states.item_codes.codes(["rug", "sofa"])
    codes, days_bought = np.array([rug, rug, sofa], np.int32), np.array([20_000, 20_001, 20_002])
    states.buy(rows[[1, 2, 1]], codes, days_bought, np.array([10, 11, 12]))
    return states, rows


def bought_by(states: States, user_id: str) -> list[tuple[str, int]]:
    """What a user bought, oldest first, and the days."""
    row = states.find(0, user_id)
    if row is None or states.bought is None:
        return []
    (codes,), (days,) = states.bought.of(np.array([row]))
    kept = codes != NO_ITEM
    return [*zip(states.item_codes.ids(codes[kept]), days[kept].tolist(), strict=True)]


def test_bought_items_are_written_and_read() -> None:
    """Oldest first, with their days; users who only bought have a row, too."""
    states, rows = bought_block()
    value = encode(states, rows)
    other = States(state_size=4, slab_rows=1)
    other.keep_bought(30)
    other.item_codes.codes(["sofa"])
    loaded = other.load(0, 1, decode(value))

    assert len(loaded) == 3
    assert bought_by(other, "ada") == []
    assert bought_by(other, "bob") == [("rug", 20_000), ("sofa", 20_002)]
    assert bought_by(other, "eve") == [("rug", 20_001)]
    assert other.read_column("offset", loaded).tolist() == [9, 12, 11]
    assert encode(other, loaded) == encode(other, other.load(0, 1, decode(value)))


def test_a_block_without_bought_items_is_the_same_as_ever() -> None:
    """It is read by a worker that keeps them, and takes none that are newer away from others."""
    states = States(state_size=4)
    states.keep_bought(30)
    rows = clicked(states, 0, [f"u{n}" for n in range(3)], ["lamp", "rug", "sofa"], offset=9)

    assert encode(states, rows) == block_of()


def test_a_newer_block_takes_bought_items_away_that_it_lacks() -> None:
    """What stands in the newest block of a user is all that is known."""
    states, _ = bought_block()
    states.load(0, 2, decode(encode(other := States(state_size=4), clicked(other, 0, ["bob"], offset=20))))

    assert bought_by(states, "bob") == []
    assert bought_by(states, "eve") == [("rug", 20_001)]


def test_a_worker_that_keeps_no_bought_items_reads_blocks_with_them() -> None:
    """It has the clicks; who only bought is nobody to it."""
    states, rows = bought_block()
    value = encode(states, rows)
    other = States(state_size=4)

    assert other.user_ids(other.load(0, 1, decode(value))) == ["ada", "bob"]
    assert len(other) == 2
    assert b"bought" not in encode(other, other.owned(0))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"bought_days": None}, "its bought_days is of type NoneType, not bytes"),
        ({"bought_days": b"12345"}, "its columns of 3 bought items have [3, 12, 5] bytes"),
        ({"bought_counts": b"\1\1"}, "its columns of 2 bought items have [2, 12, 6] bytes"),
        ({"bought": raw("<i4", 0, 1, 3)}, "a row refers to an item outside the 3 items of its block"),
        ({"bought_counts": b"\0\3\0"}, "a row has no clicks, or a negative offset or release"),
    ],
)
def test_bought_items_that_do_not_fit_are_refused(entries: dict[str, Any], said: str) -> None:
    """Like any other column."""
    value = encode(*bought_block())

    with pytest.raises(StateRefused, match=re.escape(said)):
        decode(changed(value, **entries))
