from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from trainer.clicks.ids import has_blanks, ids, is_inexact, kind_in_words
from worker.core.ids import BLANKS, MAX_ID_BYTES, MISSING, IdRule
from worker.core.reasons import Undecodable

NUMBERS = st.one_of(
    st.integers(-(10**6), 10**6).map(float), st.floats(), st.sampled_from([2.0**53, 2.0**127, 1e300, -0.0])
)
TEXTS = st.one_of(
    st.text(max_size=20),
    st.from_regex(r"\A-?[0-9]{1,4}\.0{0,3}\Z"),
    st.sampled_from(
        ["007", "007.0", "-0.0", "1e5", "123E4567-E89B-42D3-A456-426614174000", "x" * 300, *MISSING]
    ),
).flatmap(lambda text: st.sampled_from([text, f" {text}", f"{text}\n", f"\u200b{text}\ufeff"]))


def by_rule(value: object) -> str | None:
    """Return an id as the worker reads it; None for what it refuses."""
    try:
        return IdRule().read(value, exact=True)
    except Undecodable:
        return None


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (TEXTS, pl.String()),
        (TEXTS, pl.Categorical()),
        (st.integers(-(2**63), 2**63 - 1), pl.Int64()),
        (st.integers(0, 2**64 - 1), pl.UInt64()),
        (st.integers(-(2**126), 2**126), pl.Int128()),
        (NUMBERS, pl.Float64()),
        (st.floats(width=32), pl.Float32()),
        (st.decimals(-(10**20), 10**20, places=4, allow_nan=False), pl.Decimal(38, 4)),
        (st.integers(-(10**6), 10**6).map(Decimal), pl.Decimal(38, 10)),
        (st.binary(max_size=17) | st.binary(min_size=16, max_size=16) | TEXTS.map(str.encode), pl.Binary()),
    ],
    ids=["text", "categories", "integers", "large", "wide", "floats", "single", "decimals", "whole", "bytes"],
)
@given(data=st.data())
@examples(0.15)
def test_a_column_of_ids_is_read_by_the_rule_of_the_worker(
    data: st.DataObject, values: st.SearchStrategy[object], kind: pl.DataType
) -> None:
    """Every value that a column can have. Ids that are too long are removed later, with their own reason."""
    column = pl.Series("id", data.draw(st.lists(st.none() | values, min_size=1, max_size=20)), kind)

    read = column.to_frame().select(ids(pl.col("id"), column.dtype, missing=MISSING)).to_series()

    short = [None if one and len(one.encode()) > MAX_ID_BYTES else one for one in read]
    assert short == [by_rule(value) for value in column]


@given(values=st.lists(st.none() | TEXTS, min_size=1))
@examples(0.3)
def test_ids_with_blanks_around_them_are_counted(values: list[str | None]) -> None:
    """Not those that are nothing else."""
    frame = pl.DataFrame({"id": pl.Series(values, dtype=pl.String())})

    found = frame.select(has_blanks(pl.col("id")).sum()).item()

    assert found == sum(one is not None and 0 < len(one.strip(BLANKS)) < len(one) for one in values)


def test_floats_that_lost_digits_are_found() -> None:
    """From 2^53 on several integers may have become one."""
    frame = pl.DataFrame({"id": [7.0, 2.0**53, float("inf"), None]})

    assert frame.select(is_inexact(pl.col("id"), pl.Float64())).to_series().to_list() == [
        False,
        True,
        False,
        None,
    ]


def test_a_single_float_loses_digits_earlier() -> None:
    """From 2^24 on."""
    frame = pl.DataFrame({"id": pl.Series([7.0, 2.0**24], dtype=pl.Float32())})

    found = frame.select(is_inexact(pl.col("id"), pl.Float32())).to_series()

    assert found.to_list() == [False, True]


def test_kinds_that_are_no_ids_have_words() -> None:
    """Those of a person, not of a library."""
    assert kind_in_words(pl.List(pl.Int64())) == "lists"
    assert kind_in_words(pl.Duration("us")) == "durations"
    assert kind_in_words(pl.Object()) == "objects"
    assert kind_in_words(pl.Unknown()) == "values of the type unknown"
    assert kind_in_words(pl.String()) is None
    assert kind_in_words(pl.Null()) is None
