from __future__ import annotations

import polars as pl
import pytest

from trainer.clicks.recognition import date_column, in_words, positions, recognise, repeated
from trainer.errors import MissingColumn


def kinds(*names: str) -> dict[str, pl.DataType]:
    """Return a schema with these columns of text."""
    return dict.fromkeys(names, pl.String())


@pytest.mark.parametrize(
    ("names", "taken", "left"),
    [
        (("date", "event_time"), "event_time", ("date",)),
        (("timestamp", "event_time"), "event_time", ("timestamp",)),
        (("updated_at", "ts", "created_date"), "ts", ("updated_at", "created_date")),
        (("_ts", "date"), "date", ("_ts",)),
        (("_ts",), "_ts", ()),
        (("clickedAt", "ingestedAt"), "clickedAt", ("ingestedAt",)),
    ],
)
def test_the_time_of_the_event_is_preferred(
    names: tuple[str, ...], taken: str, left: tuple[str, ...]
) -> None:
    """And the other columns that may be times are named."""
    found = recognise(kinds(*names), "timestamp", "x")

    assert (found.names, found.left) == ((taken,), left)


def test_usual_names_are_recognised_inside_structures() -> None:
    """As `user.id`, but behind a plain column."""
    schema = {"user": pl.Struct({"id": pl.Int64()}), **kinds("item")}

    assert recognise(schema, "user", "x").names == ("user", "id")
    assert recognise({**schema, **kinds("uid")}, "user", "x") == (("user", "id"), ("uid",))


def test_a_first_line_of_data_is_suspected() -> None:
    """The message names the setting."""
    with pytest.raises(MissingColumn, match=r"It has: 196, 242, 881250949; .* with files\.columns"):
        recognise(kinds("196", "242", "881250949"), "user", "x")
    assert in_words(kinds("a~b")).endswith("; fields must be separated by comma, semicolon, tab, | or ::")
    assert date_column(kinds("x", "Event-Date")) == "Event-Date"
    assert date_column(kinds("x")) is None


def test_columns_are_named_as_paths() -> None:
    """Structures by their fields, lists as such: what can be copied into an option."""
    schema = {"a": pl.Struct({"b": pl.List(pl.String()), "c": pl.Int64()}), **kinds("d")}

    assert in_words(schema) == "d, a.b[], a.c"
    assert in_words({"clicks": pl.List(pl.Struct({"id": pl.Int64()}))}) == (
        "clicks[]; for a click for each element, name fields such as clicks[].id"
    )


def test_a_column_of_the_same_name_is_named() -> None:
    """As polars calls it; not one that only begins alike."""
    schema = kinds("id", "id_duplicated_0", "id_duplicated", "my_id_duplicated_1")

    assert repeated(schema, "id") == ("id_duplicated_0",)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[False, False, True]], {"user": 0, "item": 1, "timestamp": 2}),
        ([[False, False, False, True]], {"user": 0, "item": 1, "timestamp": 3}),
        ([[False, True, False]], {"user": 0, "item": 2, "timestamp": 1}),
        ([[False, True, True], [False, False, True]], {"user": 0, "item": 1, "timestamp": 2}),
        ([[False, False]], None),
        ([[False, False, True], [False, False, False]], None),
        ([], None),
    ],
)
def test_columns_without_names_are_known_by_their_times(
    rows: list[list[bool]], expected: dict[str, int] | None
) -> None:
    """The last column of which every row is a time, and the first two others."""
    assert positions(rows) == expected
