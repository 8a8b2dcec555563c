"""Writers of files with clicks, and what is said of a shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import polars as pl

from tests.thousand_clicks import ROWS, Row

Write = Callable[[Path], Path]

LISBON: Final = ZoneInfo("Europe/Lisbon")
NAMESPACE: Final = 10**30


class Shape(NamedTuple):
    """A shape of file: how it is written, what is said of it, and the settings that it needs."""

    name: str
    becomes: str
    write: Write
    settings: tuple[str, ...] = ()
    rename: Callable[[str], str] = str
    """The user ids that the shape has instead."""


class Refused(NamedTuple):
    """A file that is refused, with a part of what is said."""

    name: str
    says: str
    write: Write
    settings: tuple[str, ...] = ()


def moment(row: Row) -> datetime:
    """Return the time of a click in UTC."""
    return datetime.fromtimestamp(row.timestamp_ms / 1000, UTC)


def text(name: str, content: str | bytes, *, encoding: str = "utf-8") -> Write:
    """Return a writer of one file with this content."""
    data = content if isinstance(content, bytes) else content.encode(encoding)

    def write(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return write


def folder(files: dict[str, str | bytes], name: str = "out") -> Write:
    """Return a writer of a folder with these files."""

    def write(parent: Path) -> Path:
        for file, content in files.items():
            text(f"{name}/{file}", content)(parent)
        (parent / name).mkdir(exist_ok=True)
        return parent / name

    return write


def lines(
    line: Callable[[Row], str], header: str | None = "user_id,item_id,timestamp", rows: Iterable[Row] = ROWS
) -> str:
    """Return text with a header, if there is one, and a line for each click."""
    return "\n".join([*([] if header is None else [header]), *map(line, rows)]) + "\n"


def csv(row: Row) -> str:
    """Return a click as a plain line."""
    return f"{row.user_id},{row.item_id},{row.timestamp_ms}"


def json(**fields: object) -> str:
    """Return JSON."""
    return orjson.dumps(fields).decode()


def plain(row: Row) -> str:
    """Return a click as plain JSON."""
    return json(user_id=row.user_id, item_id=row.item_id, timestamp=row.timestamp_ms)


def table(save: str, kind: str, **columns: Callable[[Row], object]) -> Write:
    """Return a writer of a table of columns, saved by the method of a data frame."""

    def write(folder: Path) -> Path:
        found = {name: [value(row) for row in ROWS] for name, value in columns.items()}
        path = folder / f"clicks.{kind}"
        getattr(pl.DataFrame(found, strict=False), save)(path)
        return path

    return write


def typed(frame: Callable[[pl.DataFrame], pl.DataFrame]) -> Write:
    """Return a writer of Parquet with columns of other types."""

    def write(folder: Path) -> Path:
        path = folder / "clicks.parquet"
        frame(pl.DataFrame(ROWS, schema=["user_id", "item_id", "timestamp"], orient="row")).write_parquet(
            path
        )
        return path

    return write


def packed(name: str, pack: Callable[[bytes], bytes], content: str | None = None) -> Write:
    """Return a writer of a compressed file."""
    return text(name, pack((content or PLAIN).encode()))


def by_user(row: Row) -> str:
    """Return the user of a click."""
    return row.user_id


def per_user(line: Callable[[str, list[Row]], str]) -> str:
    """Return a line for each user with all clicks of theirs."""
    of_users = groupby(sorted(ROWS, key=by_user), by_user)
    return "\n".join(line(user, list(rows)) for user, rows in of_users) + "\n"


def halves(line: Callable[[Row], str], header: str | None) -> tuple[str, str]:
    """Return the clicks in two texts, each with the header."""
    return lines(line, header, ROWS[:700]), lines(line, header, ROWS[700:])


PLAIN: Final = lines(csv)
JSON_LINES: Final = lines(plain, None)
FIRST, SECOND = halves(csv, "user_id,item_id,timestamp")


def uuid(user: str) -> str:
    """Return a UUID for a user."""
    return str(UUID(int=NAMESPACE + int(user)))
