"""Files of items and rules: they are read as their topics are, and a bad line stops everything."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import UnreadableFile
from trainer.evaluation.rule_files import item_fields, read_items, read_rules, rule_change
from worker.core.item_record import ItemDecoder, ItemFields
from worker.core.known_items import KnownItems
from worker.core.reasons import BadRecord, Reason
from worker.core.rule_record import RuleDecoder
from worker.core.rules import Boost, Exclude, Pin
from worker.errors import SettingError
from worker.settings.common import Click
from worker.settings.items import Item

NOW_MS = 1_790_000_000_000

ROWS: Sequence[Mapping[str, Any]] = [
    {"item_id": "boots", "available": 3, "tags": "new", "category": "shoes"},
    {"item_id": "rug", "available": 0, "tags": "", "category": None},
    {"item_id": "007", "valid_until": "2026-01-01T00:00:00Z", "category": "spies"},
]

SECTION = Item(tags=("tags", "category = category"))


def read(path: Path, section: Item = SECTION) -> KnownItems:
    """The items in a file."""
    return read_items(path, item_fields(section).decoder(Click()), now_ms=NOW_MS)


def lines(path: Path, *written: Mapping[str, Any] | bytes) -> Path:
    """Write a file of lines."""
    path.write_bytes(b"\n".join(one if isinstance(one, bytes) else orjson.dumps(one) for one in written))
    return path


FILES: Final[Mapping[str, Callable[[Path], object]]] = {
    "items.csv": lambda path: pl.DataFrame(ROWS).write_csv(path),
    "items.parquet": lambda path: (
        pl.DataFrame(ROWS).with_columns(pl.col("tags").str.split(" ")).write_parquet(path)
    ),
    "items.json": lambda path: path.write_bytes(orjson.dumps(list(ROWS))),
    "items.jsonl": lambda path: path.write_bytes(codecs.BOM_UTF8 + b"\r\n\n".join(map(orjson.dumps, ROWS))),
    "items.jsonl.zst": lambda path: path.write_bytes(zstandard.compress(b"\n".join(map(orjson.dumps, ROWS)))),
}


@pytest.mark.parametrize("name", FILES)
def test_items_are_read_from_any_file(tmp_path: Path, name: str) -> None:
    """Whatever its format; an id keeps its zeros."""
    FILES[name](tmp_path / name)
    known = read(tmp_path / name)

    assert sorted(known.unavailable()) == ["007", "rug"]
    assert known.tags("boots") == ["new", "category:shoes"]
    assert known.tags("rug") == []
    assert known.tags("007") == ["category:spies"]


def test_the_last_description_of_an_item_counts(tmp_path: Path) -> None:
    """As in the topic."""
    path = lines(tmp_path / "items.jsonl", ROWS[1], ROWS[0], {"item_id": "rug", "tags": ["back"]})
    known = read(path)

    assert (len(known), known.unavailable(), known.tags("rug")) == (2, [], ["back"])


def test_a_file_has_fields_where_the_topic_has_a_key(tmp_path: Path) -> None:
    """A setting names the field of the id; a header is nowhere."""
    path = lines(tmp_path / "items.jsonl", b'{"product": {"sku": 12345678901234567890123}, "item_id": "x"}')
    keyed = Item(item_id="@key.sku")

    assert read(path).describes("x")
    assert read(path, keyed).describes("x")
    assert read(path, Item(item_id="product.sku")).describes("12345678901234567890123")
    with pytest.raises(SettingError, match=r"item.price is @header.price, which a file does not have"):
        item_fields(Item(price="@header.price"))


def test_every_bad_item_is_named(tmp_path: Path) -> None:
    """With its line and the reason; after five, they are counted."""
    bad: list[Mapping[str, Any] | bytes] = [
        {"item_id": "a", "available": "perhaps"},
        b"nonsense",
        b"[1]",
        {"tags": ["new"]},
        {"item_id": "b", "valid_from": "soon"},
        {"item_id": ""},
    ]
    path = lines(tmp_path / "items.jsonl", ROWS[0], *bad)

    with pytest.raises(UnreadableFile) as found:
        read(path)
    assert str(found.value).splitlines() == [
        f"{path}: not all items can be read; correct these:",
        '  line 2: wrong_type: {"item_id":"a","available":"perhaps"}',
        "  line 3: it is not JSON, one object on a line: nonsense",
        "  line 4: it is not a JSON object: [1]",
        '  line 5: missing_field: {"tags":["new"]}',
        '  line 6: bad_timestamp: {"item_id":"b","valid_from":"soon"}',
        "  1 more",
    ]


def test_a_bad_row_of_a_table_is_named(tmp_path: Path) -> None:
    """With its number, without the header."""
    path = tmp_path / "items.csv"
    path.write_text("item_id,available\na,1\nb,perhaps\n")

    with pytest.raises(UnreadableFile, match=r"row 2: wrong_type: "):
        read(path)


def test_rules_are_read_by_name(tmp_path: Path) -> None:
    """With the blank lines of a hand."""
    path = lines(
        tmp_path / "rules.jsonl",
        b"",
        {"name": "decent", "exclude": {"tags": ["adult"]}},
        b"  ",
        {"name": "fresh", "boost": {"tags": ["new"], "factor": 2}, "from": "2026-09-01"},
        b'{"name": "long", "pin": {"item_id": 12345678901234567890123, "place": 1}}',
    )
    found = read_rules(path, RuleDecoder())

    assert [*found] == ["decent", "fresh", "long"]
    assert [one.action for one in found.values()] == [
        Exclude(("adult",)),
        Boost(("new",), 2.0),
        Pin("12345678901234567890123", 1),
    ]
    assert found["fresh"].from_ms == 1_788_220_800_000


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"exclude": {"tags": ["x"]}}, "name is missing; in a file, each rule has a name"),
        ({"name": 7, "exclude": {"tags": ["x"]}}, "name is 7, which is not a text"),
        ({"name": " ", "exclude": {"tags": ["x"]}}, "empty_id"),
        ({"name": "b", "exclud": {"tags": ["x"]}}, "unknown field 'exclud'; did you mean 'exclude'?"),
        ({"name": "b", "pin": {"item_id": "x", "place": 0}}, "place is 0"),
        ({"name": "a", "exclude": {"tags": ["x"]}}, "the rule a is in line 1, too; leave out one"),
        (b'{"name": "b"', "it is not JSON, one object on a line"),
        (b'{"name": "b", "boost": {"tags": ["x"], "factor": NaN}}', "it is not JSON, one object on a line"),
        (b'["b"]', "it is not a JSON object"),
        (b'"text"', "it is not JSON"),
        (b"[" * 1_000 + b"]" * 1_000, "it is not"),
        (b"name,exclude", "it is not JSON"),
    ],
)
def test_one_bad_rule_is_enough(tmp_path: Path, line: Mapping[str, Any] | bytes, why: str) -> None:
    """Half of the rules would have another price."""
    path = lines(tmp_path / "rules.jsonl", {"name": "a", "exclude": {"tags": ["adult"]}}, line)

    with pytest.raises(UnreadableFile) as found:
        read_rules(path, RuleDecoder())
    assert f"not all rules can be read; correct these:\n  line 2: {why}" in str(found.value)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("none.jsonl", None, "there is no such file"),
        ("empty.jsonl", b"", "the file is empty"),
        ("rules.parquet", b"PAR1", "it is parquet; write one JSON object on each line"),
    ],
)
def test_a_file_that_has_no_rules_is_refused(
    tmp_path: Path, name: str, content: bytes | None, why: str
) -> None:
    """Rules are lines of JSON only."""
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(UnreadableFile) as found:
        read_rules(tmp_path / name, RuleDecoder())
    assert why in str(found.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """Neither of rules nor of items."""
    with pytest.raises(UnreadableFile, match="it is a folder"):
        read_rules(tmp_path, RuleDecoder())


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    """None of them raises an error of its own."""
    found = rule_change(RuleDecoder(), value)

    assert isinstance(found, BadRecord)
    assert isinstance(found.reason, Reason)


def test_a_line_of_an_item_is_what_the_topic_has() -> None:
    """Except for the key."""
    value = b'{"item_id": "lamp", "available": false, "tags": ["new"]}'

    assert ItemDecoder(ItemFields("item_id")).decode(value, None) == ItemDecoder().decode(value, b"lamp")
