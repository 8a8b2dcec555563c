r"""Ids in a column, read for all rows at once by the worker's rule (`worker.core.ids`).

A Hypothesis test checks that any value of any type gives the same id as the worker's rule.

    >>> frame = pl.DataFrame({"id": [" 7.0", "007", r"\N", None]})
    >>> frame.select(ids(pl.col("id"), pl.String(), missing=[r"\N"])).to_series().to_list()
    ['7', '007', None, None]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import polars as pl

from worker.core.ids import BLANKS, UUID_TEXT, ZERO_FRACTION, text_of
from worker.core.reasons import Undecodable

_EXACT_BELOW: Final = 2.0**53
_SINGLE_EXACT_BELOW: Final = 2.0**24
_UUID_LENGTH: Final = 36
_STRANGE: Final = (
    r"^[0-9](?:\.[0-9]+)?[eE]\+[0-9]+$|^-?[0-9]+,0+$|^=|^#(?:N/A|REF!|VALUE!|NAME\?|NUM!|NULL!|DIV/0!)$"
    r"""|^(?:".*"|'.*')$|[\x00-\x1f\x7f\x{fffd}]"""
)
"""Rounded numbers, decimal commas, formulas, errors, quotation marks, and letters that an encoding lost."""
_IN_WORDS: Final[dict[Any, str]] = {
    pl.Boolean: "true or false",
    pl.Duration: "durations",
    pl.Date: "dates",
    pl.Datetime: "dates and times",
    pl.Time: "times of day",
    pl.List: "lists",
    pl.Array: "lists",
    pl.Struct: "structures",
    pl.Object: "objects",
}


def kind_in_words(kind: pl.DataType) -> str | None:
    """Return `kind` as text for display if a column of this type cannot hold ids; otherwise None."""
    if is_text(kind) or kind.is_numeric() or kind in (pl.Binary, pl.Null):
        return None
    return _IN_WORDS.get(type(kind), f"values of the type {type(kind).__name__.lower()}")


def ids(column: pl.Expr, kind: pl.DataType, *, missing: Iterable[str]) -> pl.Expr:
    """Return a column of this type as ids; null where the id is missing. Ids that are too long are kept."""
    return texts(column, kind).replace(["", *missing], None)


def texts(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Return the values of a column as `worker.core.ids.text_of` writes them; null for refused values."""
    if is_text(kind):
        return _canonical(column.cast(pl.String))
    if kind.is_integer():
        return column.cast(pl.String)
    if kind.is_float():
        return _whole(column.cast(pl.Float64))
    if kind.is_decimal():
        text = column.cast(pl.String)
        return pl.when(~text.str.contains(".", literal=True) | _is_whole(text)).then(_canonical(text))
    if kind == pl.Binary:
        return _one_by_one(column)
    return pl.lit(None, pl.String())


def is_text(kind: pl.DataType) -> bool:
    """Return whether a column of this type holds text."""
    return kind == pl.String or isinstance(kind, pl.Categorical | pl.Enum)


def unusual(column: pl.Expr, kind: pl.DataType, missing: Iterable[str]) -> pl.Expr:
    """Return the texts that are not integers or are in `missing`; null for all other values."""
    if not is_text(kind):
        return pl.lit(None, pl.String())
    text = column.cast(pl.String)
    return pl.when(text.cast(pl.Int64, strict=False).is_null() | text.is_in(list(missing))).then(text)


def stripped(column: pl.Expr) -> pl.Expr:
    """Return texts without whitespace around them."""
    return column.str.strip_chars(BLANKS)


def has_blanks(column: pl.Expr) -> pl.Expr:
    """Return whether texts have whitespace around them; False for texts of only whitespace."""
    return stripped(column).str.len_bytes().is_between(1, column.str.len_bytes() - 1)


def is_inexact(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Return whether a number is so large that several integers share its float."""
    exact_below = _SINGLE_EXACT_BELOW if kind == pl.Float32 else _EXACT_BELOW
    return column.is_finite() & (column.abs() >= exact_below) if kind.is_float() else pl.lit(False)


def is_refused(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Return whether a value is neither an id nor missing: a fraction, an infinite number, other bytes."""
    if is_text(kind) or kind.is_integer():
        return pl.lit(False)
    given = column.is_not_null() & (column.is_not_nan() if kind.is_float() else True)
    return given & texts(column, kind).is_null()


def is_strange(text: pl.Expr) -> pl.Expr:
    """Return whether a text looks like the output of a spreadsheet or a failed export, not like an id."""
    return text.str.contains(_STRANGE)


def whole_example(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Return integers that are written with a zero fraction, such as 7.0, as text; null for other values."""
    if kind.is_float():
        return pl.when(column.is_finite() & (column == column.floor())).then(column.cast(pl.String))
    if is_text(kind) or kind.is_decimal():
        text = stripped(column.cast(pl.String))
        return pl.when(text.str.ends_with("0") & _is_whole(text)).then(text)
    return pl.lit(None, pl.String())


def are_integers(texts: pl.Series) -> bool:
    """Return whether all texts are integers, which need no further processing."""
    return texts.cast(pl.Int64, strict=False).null_count() == texts.null_count()


def _canonical(column: pl.Expr) -> pl.Expr:
    return column.map_batches(_canonical_texts, return_dtype=pl.String(), is_elementwise=True)


def _canonical_texts(column: pl.Series) -> pl.Series:
    if are_integers(column):
        return column
    # Hot path: few texts change, and their last letter and their length tell which ones may.
    texts = column.str.strip_chars(BLANKS)
    rare = (texts.str.ends_with("0") | (texts.str.len_bytes() == _UUID_LENGTH)).arg_true()
    text = pl.col("text")
    whole = pl.when(_is_whole(text)).then(text.str.extract(r"^([^.]*)").replace("-0", "0"))
    uuid = pl.when(text.str.contains(f"^{UUID_TEXT}$")).then(text.str.to_lowercase())
    read = texts.gather(rare).alias("text").to_frame().select(pl.coalesce(whole, uuid, text)).to_series()
    return texts.scatter(rare, read)


def _is_whole(text: pl.Expr) -> pl.Expr:
    return text.str.contains(f"^(?:{ZERO_FRACTION})$")


def _whole(column: pl.Expr) -> pl.Expr:
    is_whole = column.is_finite() & (column == column.floor())
    small = pl.when(is_whole & (column.abs() < _EXACT_BELOW)).then(column)
    large = pl.when(is_whole & (column.abs() >= _EXACT_BELOW)).then(column)
    return pl.coalesce(small.cast(pl.Int64, strict=False).cast(pl.String), _one_by_one(large))


def _one_by_one(column: pl.Expr) -> pl.Expr:
    """Apply the worker's rule to each value: slow, for rare types."""
    return column.map_batches(_by_rule, return_dtype=pl.String(), is_elementwise=True)


def _by_rule(column: pl.Series) -> pl.Series:
    found = {one: _text(one) for one in column.unique().to_list()}
    return pl.Series(column.name, [found[one] for one in column.to_list()], pl.String())


def _text(value: Any) -> str | None:
    try:
        return text_of(value, exact=True)
    except Undecodable:
        return None
