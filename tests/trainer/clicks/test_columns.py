from __future__ import annotations

import polars as pl
import pytest

from tests.trainer.builders import START_MS, converted
from trainer.clicks.columns import SAMPLE_ROWS, Columns, convert
from trainer.errors import MissingColumn, UnusableClicks


def test_common_column_names_are_recognised() -> None:
    """The likeliest name wins, whatever its case and separators."""
    frame = pl.DataFrame({"Session_ID": ["s"], "userId": ["u"], "ItemID": ["i"], "Event Time": [START_MS]})

    read = converted(frame)

    assert read.columns == Columns(user="userId", item="ItemID", timestamp="Event Time")
    assert read.clicks.rows() == [("u", "i", START_MS)]


def test_a_named_column_is_taken() -> None:
    """A name given wins over all recognised ones."""
    frame = pl.DataFrame({"user_id": ["u"], "visit": ["v"], "item_id": ["i"], "timestamp": [START_MS]})

    read = converted(frame, Columns(user="visit"))

    assert read.clicks["user_id"].to_list() == ["v"]


def test_a_missing_column_names_those_that_exist() -> None:
    """The error says which role has no column, which columns there are, and which option names one."""
    frame = pl.DataFrame({"who": ["u"], "item_id": ["i"], "timestamp": [START_MS]})

    with pytest.raises(MissingColumn, match=r"--user, it has: who, item_id, timestamp") as unnamed:
        converted(frame)
    with pytest.raises(MissingColumn, match=r"no column 'usr'; it has: who, item_id, timestamp"):
        converted(frame, Columns(user="usr"))

    assert unnamed.value.role == "user"


def test_ids_must_be_text_or_integers() -> None:
    """Lists and booleans are no ids."""
    frame = pl.DataFrame({"user_id": [[1]], "item_id": ["i"], "timestamp": [START_MS]})

    with pytest.raises(UnusableClicks, match="ids must be text or integers"):
        converted(frame)


def test_dots_reach_into_nested_columns() -> None:
    """As in the worker's settings; what is not there is said."""
    frame = pl.DataFrame({"user": ["a"], "product": [{"id": 7}], "time": [START_MS]})

    read = converted(frame, Columns(item="product.id"))

    assert read.clicks.rows() == [("a", "7", START_MS)]
    with pytest.raises(MissingColumn, match=r"no column 'product\.sku'"):
        converted(frame, Columns(item="product.sku"))


def test_ids_with_fractions_are_refused() -> None:
    """They are measures, not ids; the error shows one."""
    frame = pl.DataFrame({"user": ["a"], "item": [3.7], "time": [START_MS]})

    with pytest.raises(UnusableClicks, match=r"'item' holds numbers such as 3\.7, ids must be"):
        converted(frame)


def test_a_fraction_far_behind_the_first_ids_is_no_id() -> None:
    """What is no id is null, as everywhere; cutting it down would make it another item's."""
    items = [7.0] * SAMPLE_ROWS + [3.7]
    frame = pl.DataFrame({"user": ["a"] * len(items), "item": items, "time": [START_MS] * len(items)})

    assert converted(frame).clicks["item_id"].tail(2).to_list() == ["7", None]


def test_integers_that_were_written_as_floats_are_integers() -> None:
    """A CSV out of a table in which some ids were missing."""
    frame = pl.DataFrame({"user": ["1.0", None], "item": ["7", "8.0"], "time": [START_MS] * 2})

    read = converted(frame)

    assert read.clicks.select("user_id", "item_id").rows() == [("1", "7"), (None, "8.0")]
    assert convert(frame.lazy(), Columns(), source="clicks.csv").notes == (
        "column user has ids such as 1.0 (integers with missing values are stored so): they are read as 1",
    )
