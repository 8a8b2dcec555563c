"""Recognition of columns by their names, for roles that the settings do not name.

The time of the event is preferred to other times and dates: `event_time` before `timestamp` before `date`.
Names that start with an underscore come last: pipelines add such columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import polars as pl

from trainer.clicks.fields import field_at, leaves
from trainer.errors import MissingColumn

KNOWN_NAMES: Final = {
    "user": (
        *("userid", "sessionid", "user", "session", "visitorid", "customerid", "clientid", "uid", "sid"),
        *("visitor", "customer", "client"),
    ),
    "item": (
        *("itemid", "productid", "articleid", "movieid", "item", "product", "article", "movie", "iid"),
        "sku",
    ),
    "timestamp": (
        *("eventtime", "eventtimestamp", "eventtimems", "eventts", "eventat", "clickedat", "clicktime"),
        *("clicktimestamp", "viewedat", "occurredat", "timestamp", "timestampms", "timestampmillis", "ts"),
        *(
            "tsms",
            "time",
            "timems",
            "unixtime",
            "unixtimestamp",
            "datetime",
            "createdat",
            "eventdate",
            "date",
        ),
    ),
}
"""Column names that are recognised, in lower case and without separators, the likeliest first."""

_DATES: Final = ("eventdate", "date", "day", "eventday")
_TIME_LIKE: Final = re.compile(r"time|date|(?:^|[_ ])(?:ts|at|day)$|At$|Ts$")


class Recognised(NamedTuple):
    """The path of the chosen column, and the columns that might have been meant instead."""

    names: tuple[str, ...]
    left: tuple[str, ...]


def recognise(schema: Mapping[str, pl.DataType], role: str, source: str) -> Recognised:
    """Return the column for a role (user, item, timestamp). Raises MissingColumn if none is recognised."""
    plain = {names: _plain(names) for names in leaves(schema)}
    ranks = {one: rank for rank, one in enumerate(KNOWN_NAMES[role])}
    known = sorted(
        (names for names in plain if plain[names] in ranks),
        key=lambda names: (names[0].startswith("_"), ranks[plain[names]]),
    )
    if not known:
        raise MissingColumn(
            f"{source} has no column that looks like the {role}; name one with --{role}. "
            f"It has: {in_words(schema)}",
            role=role,
            existing=list(schema),
        )
    alike = [names for names in plain if role == "timestamp" and _TIME_LIKE.search(names[-1])]
    left = dict.fromkeys(".".join(names) for names in (*known[1:], *alike) if names != known[0])
    return Recognised(known[0], tuple(left))


def date_column(schema: Mapping[str, pl.DataType]) -> str | None:
    """Return the column that may hold the dates for times of day, or None."""
    plain = {_plain((name,)): name for name in reversed([*schema])}
    return next((plain[name] for name in _DATES if name in plain), None)


def repeated(schema: Mapping[str, pl.DataType], name: str) -> tuple[str, ...]:
    """Return the other columns that have this name in the file; polars adds a number to theirs."""
    again = re.compile(re.escape(name) + "_duplicated_[0-9]+")
    return tuple(filter(again.fullmatch, schema))


def in_words(schema: Mapping[str, pl.DataType]) -> str:
    """Return the paths of all fields as text, lists with `[]`, with a hint if they look wrong."""
    fields = [(".".join(path), field_at(schema, path)) for path in leaves(schema)]
    names = [name + "[]" * (field is not None and isinstance(field.kind, pl.List)) for name, field in fields]
    hint = ""
    if len(names) == 1 and names[0].endswith("[]"):
        hint = f"; for a click for each element, name fields such as {names[0]}.id"
    elif len(names) == 1:
        hint = "; fields must be separated by comma, semicolon, tab, | or ::"
    elif any(re.fullmatch(r"[0-9.]+", name) for name in names):
        hint = "; if that is a first click, not a header, name the columns with files.columns"
    return ", ".join(names) + hint


def positions(rows: Sequence[Sequence[bool]]) -> dict[str, int] | None:
    """Return the position of each role's column in a file without a header; None if the roles are unclear.

    `rows`: for each field of the first rows, whether it is a plausible time. The last column of times is
    the timestamp; the first two other columns are the user and the item.
    """
    if not rows or len(rows[0]) < 3:
        return None
    times = [at for at in range(len(rows[0])) if all(row[at] for row in rows if at < len(row))]
    if not times:
        return None
    others = [at for at in range(len(rows[0])) if at != times[-1]]
    return {"user": others[0], "item": others[1], "timestamp": times[-1]}


def _plain(names: Sequence[str]) -> str:
    return "".join(letter for name in names for letter in name.lower() if letter.isalnum())
