from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.schemas.protos import TEXT, descriptor_set, descriptors, message
from worker.errors import SettingError
from worker.schemas import protobuf
from worker.schemas.interface import Read, Schema, Unusable
from worker.schemas.protobuf import DescribedMessages

CLICK, ITEM, INNER = b"\x02\x02", b"\x04\x02\x00", b"\x04\x00\x00"
"""The indexes of messages: how many, then each, as zigzag varints."""

MOMENT = datetime(2026, 9, 21, 14, 13, 20, 5_000, tzinfo=UTC)


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> DescribedMessages:
    """The messages of the descriptor set."""
    return DescribedMessages(descriptors(tmp_path_factory.mktemp("protos")))


@pytest.fixture(
    scope="module",
    params=[TEXT, base64.b64encode(descriptor_set().file[-1].SerializeToString()).decode()],
    ids=["text", "base64"],
)
def read(request: pytest.FixtureRequest, messages: DescribedMessages) -> Read:
    """The reader of the schema, in both forms that clients register."""
    return messages.reader(Schema(request.param, "PROTOBUF"))


def test_a_message_is_a_map(read: Read) -> None:
    """Of what was set: numbers, bytes, enums by name, timestamps as times, wrappers as what they wrap."""
    click = message("Click")(user_id=2**62, kind=1, tags=["a", "b"], visits=0)
    click.item.id, click.item.raw = "lamp", b"\0\xff"
    click.at.FromDatetime(MOMENT)
    click.campaign.value = ""
    click.seen["sofa"].cents = 99

    assert read(CLICK + click.SerializeToString()) == {
        "user_id": 2**62,
        "item": {"id": "lamp", "raw": b"\0\xff"},
        "at": MOMENT,
        "campaign": "",
        "kind": "CART",
        "tags": ["a", "b"],
        "seen": {"sofa": {"cents": 99}},
        "visits": 0,
    }


def test_what_may_never_have_been_set_is_absent(read: Read) -> None:
    """A user 0 would be all who are not signed in."""
    assert read(CLICK + message("Click")(user_id=0).SerializeToString()) == {}


def test_the_indexes_say_which_message_it_is(read: Read) -> None:
    """DescribedMessages inside others, too; a single 0 is the first."""
    assert read(ITEM + message("Click.Item")(id="lamp").SerializeToString()) == {"id": "lamp"}
    assert read(INNER + message("Unused.Inner")(message="hi").SerializeToString()) == {"message": "hi"}
    assert read(b"\x00") == read(b"\x02\x00") == {}


def test_what_newer_writers_add_is_left_out(read: Read) -> None:
    """The descriptor set may be older than the schema."""
    newer = message("Click")(user_id=7).SerializeToString() + b"\xf8\x07\x01"

    assert read(CLICK + newer) == {"user_id": 7}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff" * 9,
        b"\x01",
        b"\x02\x09",
        b"\x02\x01",
        b"\x08\x00",
        CLICK + b"\xff",
        CLICK + b"\x12\x05a",
    ],
)
def test_other_data_do_not_fit(read: Read, data: bytes) -> None:
    """No indexes, those of no message, and no message behind them."""
    with pytest.raises(ValueError, match=r"."):
        read(data)


def test_a_time_out_of_reach_does_not_fit(read: Read) -> None:
    """Python's end in the year 9999."""
    click = message("Click")()
    click.at.seconds = 2**60

    with pytest.raises(ValueError, match=r"."):
        read(CLICK + click.SerializeToString())


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_value_error(read: Read, data: bytes) -> None:
    """Nothing else leaves the reader."""
    try:
        document = read(CLICK + data)
    except ValueError:
        return

    assert type(document) is dict


def test_groups_are_messages_inside(messages: DescribedMessages) -> None:
    """They count among the indexes."""
    text = "package p; message A { optional group B = 1 { } message C { } } message D {}"

    roots = protobuf._roots(text)

    assert [root.name for root in roots] == ["p.A", "p.D"]
    assert [inner.name for inner in roots[0].inside] == ["p.A.B", "p.A.C"]


def test_without_its_description_a_schema_is_of_no_use(messages: DescribedMessages) -> None:
    """The text says which message is missing."""
    with pytest.raises(Unusable, match=r"clicks\.desc has no message other\.Click"):
        messages.reader(Schema("package other; message Click {}", "PROTOBUF"))
    with pytest.raises(Unusable, match="no message with the indexes"):
        messages.reader(Schema("no schema", "PROTOBUF"))


def test_a_file_that_is_no_complete_set_is_a_wrong_setting(tmp_path: Path) -> None:
    """The remedy is a command."""
    nothing, part = tmp_path / "nothing.desc", tmp_path / "part.desc"
    nothing.write_bytes(b"\xff\xff")
    alone = descriptor_set()
    del alone.file[:2]
    part.write_bytes(alone.SerializeToString())

    for path in (nothing, part, tmp_path / "none.desc"):
        with pytest.raises(SettingError, match="protoc --include_imports --descriptor_set_out="):
            DescribedMessages(path)
