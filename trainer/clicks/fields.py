r"""Fields of a table by the worker's paths (`worker.core.paths`): columns, structures, JSON in text.

>>> frame = pl.DataFrame({"who": [{"id": 7}], "item.id": ["lamp"]})
>>> user, item = (field_at(frame.schema, paths.parse(one).names) for one in ("who.id", "item.id"))
>>> frame.select(user=user.column, item=item.column).row(0)
(7, 'lamp')
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

import polars as pl

from worker.core import paths
from worker.core.formats import loads_exactly
from worker.core.ids import text_of
from worker.core.reasons import Undecodable

EACH: Final = "the elements of a list"
"""The column that `exploded` adds; no table has a column with this name."""

_DEEPEST: Final = 4

_AsText = Callable[[object], str | None]
"""A function that writes a value of a JSON document as text, or null."""


class Field(NamedTuple):
    """A field of a table: the expression for its values, and their type."""

    column: pl.Expr
    kind: pl.DataType


def field_at(
    schema: Mapping[str, pl.DataType], names: Sequence[str], *, of_ids: bool = False
) -> Field | None:
    """Return the field at `names`, or None if there is no such field.

    `of_ids`: values of JSON in text that are not ids by the worker's rule become null.

    A dot in a path may be a part of a name, so several fields may match: a field `b` within a column `a`, and
    a column `a.b`. The most deeply nested field wins, as in the worker.
    """
    found = list(_fields(schema, pl.col, names, _id_text if of_ids else _text))
    if not found:
        return None
    # A column of nulls alone has a type of its own, and no value.
    found = [one for one in found if one.kind != pl.Null] or found
    same = [one.column for one in found if one.kind == found[0].kind]
    return Field(pl.coalesce(same) if len(same) > 1 else same[0], found[0].kind)


def leaves(schema: Mapping[str, pl.DataType], depth: int = _DEEPEST) -> Iterator[tuple[str, ...]]:
    """Yield the path of each field that is not a structure, outer fields first."""
    inner = []
    for name, kind in schema.items():
        if isinstance(kind, pl.Struct):
            inner.append((name, {one.name: _kind(one.dtype) for one in kind.fields}))
        else:
            yield (name,)
    for name, fields in inner if depth > 1 else ():
        yield from ((name, *names) for names in leaves(fields, depth - 1))


def exploded(frame: pl.LazyFrame, names: Sequence[str]) -> pl.LazyFrame | None:
    """Return a table with a row for each element of the list at `names`, in the column `EACH`.

    Return None if there is no list at `names`. An empty list keeps one row, with a null, so that it is
    counted.
    """
    found = field_at(frame.collect_schema(), names)
    if found is None or not isinstance(found.kind, pl.List):
        return None
    column = pl.when(found.column.list.len() > 0).then(found.column)
    return frame.with_columns(column.alias(EACH)).explode(EACH)


def in_each(schema: Mapping[str, pl.DataType], names: Sequence[str], *, of_ids: bool = False) -> Field | None:
    """Return the field at `names` in the elements of an `exploded` table; no `names`: the element itself."""
    return field_at({EACH: schema[EACH]}, (EACH, *names), of_ids=of_ids)


def _fields(
    schema: Mapping[str, pl.DataType], get: Callable[[str], pl.Expr], names: Sequence[str], text: _AsText
) -> Iterator[Field]:
    for count in range(1, len(names) + 1):
        name, rest = ".".join(names[:count]), names[count:]
        if name not in schema:
            continue
        column, kind = get(name), schema[name]
        if not rest:
            yield Field(column, kind)
        elif isinstance(kind, pl.Struct):
            inner_kinds = {one.name: _kind(one.dtype) for one in kind.fields}
            yield from _fields(inner_kinds, column.struct.field, rest, text)
        elif kind == pl.String:
            inner = partial(_inner, rest, text)
            read = column.map_batches(inner, return_dtype=pl.String(), is_elementwise=True)
            yield Field(read, pl.String())


def _kind(dtype: Any) -> pl.DataType:
    """Return the type of a field as an instance; polars may give a class."""
    kind: pl.DataType = dtype if isinstance(dtype, pl.DataType) else dtype()
    return kind


def _inner(names: Sequence[str], text: _AsText, column: pl.Series) -> pl.Series:
    """Return the values at `names` in a column of JSON documents, as text."""
    found = {one: text(paths.find(one, names, loads_exactly)) for one in column.unique().to_list()}
    return pl.Series(column.name, [found[one] for one in column.to_list()], pl.String())


def _text(found: object) -> str | None:
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found) if isinstance(found, str | int | Decimal) else None


def _id_text(found: object) -> str | None:
    if isinstance(found, str):
        return found
    try:
        return text_of(found, exact=True)
    except Undecodable:
        return None
