"""Laws of decoding: whatever the bytes are, they are a click or a reason."""

from __future__ import annotations

from typing import Any, Final

import msgpack
import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from tests.examples import examples
from worker.core.click import Click, Decoded, Several
from worker.core.event import Decoder, Fields
from worker.core.ids import MAX_ID_BYTES
from worker.core.paths import KEY_FIELD, escape
from worker.core.times import EARLIEST_MS, MAX_AHEAD_MS, MAX_TIMESTAMP_MS
from worker.core.where import parse_where
from worker.kafka.memory import MemoryCluster
from worker.topics.clicks import decode

NAMES: Final = ["user_id", "item_id", "timestamp", "who", "id"]

keys = st.none() | st.binary(max_size=300)
record_times = st.sampled_from([-1, 0, 1_700_000_000_000, 2**63 - 1, -(2**63)]) | st.integers(
    -(2**63), 2**63 - 1
)
fields = st.builds(
    Fields,
    user_id=st.sampled_from(
        ["user_id", "who.id", "who.user_id.id", KEY_FIELD, "@key:int", "@key.id", "", ".", "who."]
    ),
    item_id=st.sampled_from(["item_id", "who.item_id", KEY_FIELD, "item_id[].id", "@envelope.id"]),
    timestamp=st.sampled_from(["timestamp", "who.timestamp", "timestamp + who", "@header.at"]),
)

moments = st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat())
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text() | st.text(min_size=250, max_size=260) | moments


def nested(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Documents of lists and maps around `leaves`."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
        max_leaves=12,
    )


names = st.sampled_from(NAMES) | st.text(max_size=3)
documents = nested(scalars, names)
maps = st.dictionaries(names, documents, max_size=5) | st.fixed_dictionaries(
    dict.fromkeys(NAMES[:2], documents), optional=dict.fromkeys(NAMES[2:], documents)
)

extensions = st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20)) | st.builds(
    msgpack.Timestamp, st.integers(-(2**63), 2**63 - 1), st.integers(0, 10**9 - 1)
)
binary_scalars = scalars | st.floats() | st.binary() | extensions
binary_documents = nested(
    binary_scalars, names | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=3) | st.none()
)
good_maps = st.fixed_dictionaries(
    {
        "user_id": st.text(min_size=1, max_size=5) | st.integers(0, 100),
        "item_id": st.text(min_size=1, max_size=5) | st.integers(0, 100),
        "timestamp": st.integers(0, 2 * 10**12) | moments | st.none(),
    },
    optional={"other": documents},
)


def in_json(document: object) -> bytes:
    """`document` as JSON."""
    return orjson.dumps(document)


def in_msgpack(document: object) -> bytes:
    """`document` as MessagePack."""
    packed: bytes = msgpack.packb(document)
    return packed


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """The bytes of a good click, some of them cut out, replaced or put in."""
    value = draw(st.sampled_from([in_json, in_msgpack]))(draw(good_maps))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(value)))
        end = draw(st.integers(start, min(start + 3, len(value))))
        value = value[:start] + draw(st.binary(max_size=3)) + value[end:]
    return value


def check(found: Decoded, record_ms: int) -> None:
    """A reason, or clicks as the contract has it."""
    if isinstance(found, Several):
        for part in found.parts:
            check(part.click, record_ms)
        assert found.parts or found.bad or found.skipped
        return
    if not isinstance(found, Click):
        return
    for one in (found.user_id, found.item_id):
        assert type(one) is str
        assert 0 < len(one.encode()) <= MAX_ID_BYTES
    assert type(found.timestamp_ms) is int
    assert EARLIEST_MS <= found.timestamp_ms <= MAX_TIMESTAMP_MS
    assert record_ms < 0 or found.timestamp_ms <= record_ms + MAX_AHEAD_MS


@given(
    st.none()
    | st.binary()
    | st.builds(bytes.__add__, st.sampled_from([b"{", b"\x82", b"\xde"]), st.binary()),
    keys,
    record_times,
    fields,
)
@examples(5)
@example(b"\x81\xa1a\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", None, 0, Fields())
def test_any_bytes_are_a_click_or_a_reason(
    value: bytes | None, key: bytes | None, record_ms: int, paths: Fields
) -> None:
    """Whatever the value, the key, the record's time and the field names: nothing is raised."""
    found = Decoder(paths).decode(value, key, record_ms)

    check(found, record_ms)


@given(
    documents.map(in_json) | maps.map(in_json) | binary_documents.map(in_msgpack) | maps.map(in_msgpack),
    keys,
    record_times,
    fields,
)
@examples(2)
def test_any_document_is_a_click_or_a_reason(
    value: bytes, key: bytes | None, record_ms: int, paths: Fields
) -> None:
    """Well-formed JSON and MessagePack of any shape, with every type that they have."""
    found = Decoder(paths).decode(value, key, record_ms)

    check(found, record_ms)


@given(mutations(), record_times)
@examples(4)
def test_a_damaged_click_is_a_click_or_a_reason(value: bytes, record_ms: int) -> None:
    """A few bytes lost, changed or added anywhere in a good click."""
    found = Decoder(Fields()).decode(value, None, record_ms)

    check(found, record_ms)


@given(maps, keys, record_times, fields)
@examples(1.5)
def test_json_and_messagepack_of_a_map_are_the_same_click(
    document: dict[str, Any], key: bytes | None, record_ms: int, paths: Fields
) -> None:
    """The format is no part of the meaning: the same click, or the same reason."""
    decoder = Decoder(paths)

    from_json = decoder.decode(in_json(document), key, record_ms)

    assert from_json == decoder.decode(in_msgpack(document), key, record_ms)


@given(
    good_maps,
    st.lists(st.text(max_size=3), min_size=1, max_size=4),
    maps,
)
def test_a_dotted_path_finds_what_the_flat_field_was(
    document: dict[str, Any], path: list[str], around: dict[str, Any]
) -> None:
    """A user id moved along any path, whatever else stands beside it, is the same user id."""
    flat = Decoder(Fields()).decode(in_json(document), None, 10**13)
    moved: Any = document.pop("user_id")
    for name in reversed(path):
        moved = {**around, name: moved}

    decoder = Decoder(Fields(user_id=".".join(["in", *map(escape, path)])))

    assert decoder.decode(in_json({**document, "in": moved}), None, 10**13) == flat


@given(
    good_maps,
    st.text(st.characters(codec="utf-8", exclude_characters='\0"[]{}'), min_size=1, max_size=5),
    maps,
)
def test_the_key_counts_as_the_field_would(
    document: dict[str, Any], user_id: str, around: dict[str, Any]
) -> None:
    """A user id in the key is the same as in the value; what the value says there then is ignored.

    A key may be JSON, and one with a NUL byte is no text.
    """
    named = Decoder(Fields()).decode(in_json({**document, "user_id": user_id}), None, 10**13)

    decoder = Decoder(Fields(user_id=KEY_FIELD))

    assert decoder.decode(in_json({**around, **document}), user_id.encode(), 10**13) == named


decoders = st.builds(
    lambda paths, envelope, where: Decoder(paths, envelope=envelope, where=parse_where(where)),
    fields,
    st.sampled_from(["none", "cloudevents", "debezium"]),
    st.sampled_from(["", "who = 7", "who.id != 7; user_id = a, b", "@header.at != x"]),
)
events = maps | st.lists(maps, max_size=3)
enveloped = st.builds(
    lambda event, operation: {"specversion": "1.0", "data": event, "op": operation, "after": event},
    events,
    st.sampled_from("crudx"),
)
values = st.none() | st.binary(max_size=20) | (documents | events | enveloped).map(in_json)
headers = st.lists(st.tuples(st.sampled_from(["at", "ce_specversion", "ce_id"]), st.binary(max_size=5)))


@given(decoders, st.lists(st.tuples(values, keys, headers), max_size=8))
@examples(2)
def test_every_record_is_clicks_skipped_or_a_dead_letter(
    decoder: Decoder, sent: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]
) -> None:
    """Whatever it is, under whatever settings: the sum holds, and clicks of bad records stand in records."""
    cluster = MemoryCluster()
    cluster.create("clicks")
    for value, key, its in sent:
        cluster.produce("clicks", value, key=key, headers=its)

    decoded = decode(cluster.read("clicks"), decoder)

    assert decoded.records == len(sent)
    bad = {one.record.offset for one in decoded.bad}
    clicked = set(decoded.clicks.offsets.tolist())
    assert len(bad) == len(decoded.bad)
    assert len(clicked - bad) == decoded.clicked
    assert all(one.parts for one in decoded.bad if one.record.offset in clicked)


@given(decoders, maps, keys, record_times)
@examples(2)
def test_an_event_alone_is_what_it_is_in_a_list(
    decoder: Decoder, event: dict[str, Any], key: bytes | None, record_ms: int
) -> None:
    """The ways of decoding that are fast and those that can do everything have one meaning."""
    alone = decoder.decode(in_json(event), key, record_ms)
    listed = decoder.decode(in_json([event]), key, record_ms)

    assert isinstance(listed, Several)
    if isinstance(alone, Several):
        assert [part.click for part in listed.parts] == [part.click for part in alone.parts]
        assert [reason for _, reason in listed.bad] == [reason for _, reason in alone.bad]
        assert listed.skipped == alone.skipped
    else:
        found = [
            *(part.click for part in listed.parts),
            *(reason for _, reason in listed.bad),
            *listed.skipped,
        ]
        assert found == [alone]
