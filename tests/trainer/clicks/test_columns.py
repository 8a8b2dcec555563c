from __future__ import annotations

from datetime import date, time

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.trainer.builders import START_MS, converted
from trainer.clicks.columns import SAMPLE_ROWS, Columns, convert
from trainer.clicks.rules import Rules
from trainer.errors import MissingColumn, UnreadableFile, UnusableClicks
from worker.core import paths
from worker.core.where import parse_where


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


def test_times_of_day_are_joined_with_the_dates_in_every_row() -> None:
    """Also in a column that has the type of times of day; a missing one stays missing."""
    dates, clocks = [date(2026, 9, 21)] * 3, [time(14, 13), time(14, 14), None]
    frame = pl.DataFrame(
        {"user_id": ["a", "b", "c"], "item_id": ["x", "y", "z"], "date": dates, "time": clocks}
    )

    read = converted(frame)

    assert read.columns.timestamp == "date + time"
    assert read.clicks["timestamp_ms"].to_list() == [1_790_000_000_000 - 20_000, 1_790_000_040_000, None]


def test_an_id_in_json_in_text_is_read_as_the_worker_reads_it() -> None:
    """In the columns of users and items, also in lists of JSON texts."""
    texts = ['{"id": 1e5}', '{"id": 1.5}']
    frame = pl.DataFrame({"u": texts, "items": [[one] for one in texts], "time": [START_MS] * 2})

    clicks = converted(frame, Columns(user="u.id", item="items[].id")).clicks

    assert clicks.select("user_id", "item_id").rows() == [("100000", "100000"), (None, None)]


def test_a_missing_column_names_those_that_exist() -> None:
    """The error says which role has no column, which columns there are, and which option names one."""
    frame = pl.DataFrame({"who": ["u"], "item_id": ["i"], "timestamp": [START_MS]})

    with pytest.raises(MissingColumn, match=r"--user. It has: who, item_id, timestamp") as unnamed:
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

    with pytest.raises(UnusableClicks, match=r"'item' holds numbers such as 3\.7, but ids must be"):
        converted(frame)


def test_a_fraction_far_behind_the_first_ids_is_no_id() -> None:
    """What is no id is null, as everywhere; cutting it down would make it another item's."""
    items = [7.0] * SAMPLE_ROWS + [3.7]
    frame = pl.DataFrame({"user": ["a"] * len(items), "item": items, "time": [START_MS] * len(items)})

    assert converted(frame).clicks["item_id"].tail(2).to_list() == ["7", None]


def test_integers_that_were_written_as_floats_are_integers() -> None:
    """A CSV out of a table in which some ids were missing; it is said what becomes of them."""
    frame = pl.DataFrame({"user": ["1.0", None], "item": ["7", "08.0"], "time": [START_MS] * 2})

    read = converted(frame)

    assert read.clicks.select("user_id", "item_id").rows() == [("1", "7"), (None, "08.0")]
    assert convert(frame.lazy(), Columns(), source="clicks.csv").notes == (
        "ids in column user such as 1.0 are read as 1; integers with missing values often look like this",
    )


def test_the_time_of_the_event_comes_before_dates_and_versions_of_it() -> None:
    """It is said which column was taken and which were left."""
    frame = pl.DataFrame(
        {
            "date": ["2020-09-13"],
            "_ingested_at": [START_MS + 9],
            "updated_at": [START_MS + 8],
            "ts": [START_MS],
            "session_id": ["s"],
            "user_id": ["u"],
            "item": ["i"],
        }
    )

    scan = convert(frame.lazy(), Columns(), source="clicks.csv")

    assert scan.clicks.collect().rows() == [("u", "i", START_MS)]
    assert list(scan.notes) == [
        "using column user_id as the user, not session_id; to use another column, name it with --user",
        (
            "using column ts as the timestamp, not date, _ingested_at, updated_at; "
            "to use another column, name it with --timestamp"
        ),
    ]


def test_a_click_is_made_of_each_element_of_a_list() -> None:
    """In order, with the event's own fields; an empty list keeps its row, which is then no click."""
    frame = pl.DataFrame(
        {"user": ["a", "b"], "ts": [START_MS] * 2, "items": [[{"id": 7}, {"id": 8}], []]},
        schema_overrides={"items": pl.List(pl.Struct({"id": pl.Int64()}))},
    )

    read = converted(frame, Columns(item="items[].id"))

    assert read.clicks.rows() == [("a", "7", START_MS), ("a", "8", START_MS), ("b", None, START_MS)]
    with pytest.raises(MissingColumn, match="has no list 'things'; it has: user, ts, items"):
        converted(frame, Columns(item="things[]"))


PLACES = st.sampled_from(
    [
        "type = view, cart",
        "type != view",
        "n = 7",
        "n != 7, 8",
        "flag = true",
        "who.kind = b",
        "who.kind != b",
        "list = x",
    ]
)


@given(place=PLACES, data=st.data())
@examples(0.3)
def test_the_same_rows_count_as_in_the_worker(place: str, data: st.DataObject) -> None:
    """Of any kind of column, with missing values: a clause is one rule."""
    kinds = {
        "type": st.none() | st.sampled_from(["view", " view ", "cart", "NULL", ""]),
        "n": st.none() | st.sampled_from([7.0, 8.0, 7.5]),
        "flag": st.none() | st.booleans(),
        "who": st.none() | st.fixed_dictionaries({"kind": st.none() | st.sampled_from(["a", "b"])}),
        "list": st.none() | st.just(["x"]),
    }
    schema = {
        "type": pl.String(),
        "n": pl.Float64(),
        "flag": pl.Boolean(),
        "who": pl.Struct({"kind": pl.String()}),
        "list": pl.List(pl.String()),
    }
    rows = data.draw(st.lists(st.fixed_dictionaries(kinds), min_size=1, max_size=10))
    frame = pl.DataFrame(rows, schema).with_columns(
        user=pl.lit("u"), item=pl.int_range(pl.len()).cast(pl.String), time=pl.lit(START_MS)
    )
    (clause,) = parse_where(place)

    expected = [str(at) for at, row in enumerate(rows) if clause.holds(paths.find(row, clause.path.names))]
    try:
        counted = convert(frame.lazy(), Columns(), source="x", rules=Rules(where=(clause,)))
        found = counted.clicks.collect()["item_id"].to_list()
    except UnreadableFile:
        found = []
    else:
        assert (counted.counts.rows, counted.counts.skipped) == (len(found), len(rows) - len(found))

    assert found == expected


def test_a_clause_on_no_column_is_refused() -> None:
    """It would let nothing pass, or everything."""
    frame = pl.DataFrame({"user": ["a"], "item": ["x"], "time": [START_MS]})

    with pytest.raises(
        MissingColumn, match=r"has no column 'kind' \(click.where\); it has: user, item, time"
    ):
        converted(frame, rules=Rules(where=parse_where("kind = view")))
