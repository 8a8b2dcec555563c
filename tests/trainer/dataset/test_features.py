from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trainer.dataset.features import (
    Column,
    build,
    columns_of,
    from_clicks,
    from_file,
    matching,
    never_clicked,
)
from trainer.errors import MissingColumn, UnusableClicks
from worker.errors import SettingError

GENRE = Column("genre", "categorical", "unknown")
PRICE = Column("price", "numeric", "mean")


def table(**columns: list[object]) -> pl.DataFrame:
    """Item features of the items a, b, c, ..."""
    count = len(next(iter(columns.values())))
    return pl.DataFrame({"item_id": list("abcdefgh"[:count]), **columns})


def values_of(items: list[str], known: pl.DataFrame, how: Column) -> list[list[str]]:
    """What each of `items` has in the one categorical column."""
    features, _ = build(items, known, [how])
    column = features.categorical[0]
    places = np.split(column.indexes, column.starts[1:-1])
    return [[column.values[place] for place in one] for one in places]


@pytest.mark.parametrize("genres", [["x|y", "x", ""], [["x", "y"], ["x"], []]], ids=["text", "lists"])
def test_an_item_may_have_several_values(genres: list[object]) -> None:
    """Separated in a text or in a list; an item without any is unknown, or has none by policy."""
    known = table(genre=genres)

    assert values_of(["c", "b", "a"], known, GENRE) == [["unknown"], ["x"], ["x", "y"]]
    assert values_of(["c", "b", "a"], known, GENRE._replace(policy="drop")) == [[], ["x"], ["x", "y"]]


def test_rare_values_are_one() -> None:
    """Values of too few items become `other`, once per item, and are counted."""
    known = table(genre=["x", "x|odd|strange", "odd2"])

    _, told = build(list("abc"), known, [GENRE._replace(min_count=2)])

    assert values_of(list("abc"), known, GENRE._replace(min_count=2)) == [["x"], ["other", "x"], ["other"]]
    assert (told[0]["folded"], told[0]["missing"], told[0]["values"]) == (3, 0, 2)


@pytest.mark.parametrize(("policy", "expected"), [("mean", 0.0), ("median", -0.5), ("zero", -1.25)])
def test_missing_numbers_follow_their_policy(policy: str, expected: float) -> None:
    """What is no number is missing; the others have mean 0 and deviation 1."""
    known = table(price=[1.0, 3.0, 3.0, 13.0, None, float("nan")])

    features, told = build(list("abcdef"), known, [PRICE._replace(policy=policy)])

    column = features.numeric[:, 0]
    assert column[:4].mean() == pytest.approx(0, abs=1e-6)
    assert column[:4].std() == pytest.approx(1)
    assert column[4] == column[5] == pytest.approx(expected * 4 / 4.6904, rel=1e-3)
    assert told[0]["missing"] == 2


def test_numbers_may_be_taken_as_logarithms() -> None:
    """log(1 + x); a negative number has none and is missing."""
    features, told = build(list("abc"), table(price=[0.0, np.e**2 - 1, -5.0]), [PRICE._replace(log=True)])

    assert features.numeric[:, 0].tolist() == pytest.approx([-1, 1, 0])
    assert told[0]["missing"] == 1


def test_a_column_of_one_number_says_nothing() -> None:
    """All zeros instead of a division by zero; an item that the table lacks as well."""
    features, _ = build(["a", "nowhere"], table(price=[5.0]), [PRICE])

    assert features.numeric.tolist() == [[0.0], [0.0]]


def test_items_that_nobody_clicked_are_those_with_anything_known() -> None:
    """By id; one with nothing but missing values stays a stranger."""
    known = table(genre=["x", None, "y", None], price=[None, 1.0, None, None])

    assert never_clicked(["a"], known, [GENRE, PRICE]) == ["b", "c"]


def test_columns_of_the_clicks_tell_of_items() -> None:
    """The most frequent value, among equals the first in order, and the mean of the numbers."""
    clicks = pl.LazyFrame(
        {"item_id": ["a", "a", "a", "b"], "genre": ["y", "x", "y", None], "price": ["1", "3", "?", None]}
    )

    known = from_clicks(clicks, [GENRE, PRICE])

    assert known.rows() == [("a", "y", 2.0), ("b", None, None)]


def test_a_feature_may_have_any_name() -> None:
    """Such as that which polars gives to what it counts."""
    (column,) = columns_of(("len",), (), min_count=1, separator="|")

    assert from_clicks(pl.LazyFrame({"item_id": ["a"], "len": ["x"]}), [column]).rows() == [("a", "x")]


def test_a_file_of_features_is_read_by_its_id_column(tmp_path: Path) -> None:
    """Integers are ids as in clicks; of two rows the last counts; a column that is not there is said."""
    pl.DataFrame({"id": [7, 8, 7], "genre": ["x", "y", "z"]}).write_parquet(tmp_path / "items.parquet")

    known = from_file(tmp_path / "items.parquet", [GENRE])

    assert sorted(known.rows()) == [("7", "z"), ("8", "y")]
    with pytest.raises(MissingColumn, match="no column 'price'; it has: id, genre"):
        from_file(tmp_path / "items.parquet", [PRICE])


def test_a_column_is_named_with_its_policy() -> None:
    """The first policy is the default; what is none is an error that lists them."""
    chosen = columns_of(("genre", "tag:drop"), ("price:zero:log",), min_count=3, separator=";")

    assert chosen == [
        Column("genre", "categorical", "unknown", min_count=3, separator=";"),
        Column("tag", "categorical", "drop", min_count=3, separator=";"),
        Column("price", "numeric", "zero", log=True),
    ]
    for categorical, numeric in [(("genre:mean",), ()), ((), ("price:drop",)), ((), ("price:mean:ln",))]:
        with pytest.raises(SettingError, match="is not NAME, NAME:POLICY"):
            columns_of(categorical, numeric, min_count=1, separator="|")


def test_features_that_match_no_item_are_refused() -> None:
    """The ids of the two are shown; few matches are said."""
    with pytest.raises(
        UnusableClicks, match=r"f.csv: none of its 1 items is one of the 2 items of the clicks: .*'a'.*'A'"
    ):
        matching(["a", "b"], ["A"], "f.csv")

    (said,) = matching(["a", "b", "c"], ["c", "x"], "f.csv")
    assert said.startswith("Careful: f.csv describes 1 of the 3 items of the clicks")
    assert matching(["a", "b"], ["a"], "f.csv") == []
