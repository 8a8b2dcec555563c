"""The same 1,200 clicks (`tests.thousand_clicks`) in many shapes of file, and the files that are refused.

The table in the trainer's document is made of this: every row is a test.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import polars as pl
import zstandard

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


SHAPES: Final = (
    Shape("CSV", "the clicks", text("clicks.csv", PLAIN)),
    Shape(
        "separators `;`, tab and `|`",
        "recognised by the first line",
        text("clicks.txt", PLAIN.replace(",", ";")),
    ),
    Shape(
        "TSV with a byte order mark",
        "read without it",
        text("clicks.tsv", b"\xef\xbb\xbf" + PLAIN.replace(",", "\t").encode()),
    ),
    Shape("CSV with a byte order mark", "read without it", text("clicks.csv", PLAIN, encoding="utf-8-sig")),
    Shape("UTF-16 with a byte order mark", "read by itself", text("clicks.csv", PLAIN, encoding="utf-16")),
    Shape(
        "another encoding",
        "read in `files.encoding`; the message names the line that is not UTF-8",
        text(
            "clicks.csv",
            lines(lambda row: f"{csv(row)},Stühle", "user_id,item_id,timestamp,title"),
            encoding="cp1252",
        ),
        ("files.encoding=cp1252",),
    ),
    Shape("lines that end with CR or CR LF", "as with LF", text("clicks.csv", PLAIN.replace("\n", "\r"))),
    Shape(
        "quoted fields, with line breaks and separators in them",
        "one field",
        text(
            "clicks.csv",
            lines(
                lambda row: f'"{row.user_id}","a,\n""b""","{row.item_id}","{row.timestamp_ms}"',
                "user_id,title,item_id,timestamp",
            ),
        ),
    ),
    Shape(
        "blanks around names and values",
        "removed, and counted",
        text(
            "clicks.csv",
            lines(
                lambda row: f"{row.timestamp_ms}, {row.user_id} , {row.item_id}",
                "timestamp, user_id, item_id",
            ),
        ),
    ),
    Shape(
        "blanks before quotation marks",
        "removed",
        text(
            "clicks.csv",
            lines(
                lambda row: f'"{row.user_id}", "{row.item_id}", "{row.timestamp_ms}"',
                '"user_id", "item_id", "timestamp"',
            ),
        ),
    ),
    Shape("`.csv.gz`", "unpacked", packed("clicks.csv.gz", gzip.compress)),
    Shape("gzip without `.gz` in its name", "told by its content", packed("clicks.csv", gzip.compress)),
    Shape("plain text named `.gz`", "told by its content", text("clicks.csv.gz", PLAIN)),
    Shape("zstd", "unpacked", packed("clicks.csv.zst", zstandard.compress)),
    Shape("bzip2", "unpacked", packed("clicks.csv.bz2", bz2.compress)),
    Shape("xz", "unpacked", packed("clicks.csv.xz", lzma.compress)),
    Shape(
        "no header, three columns or more",
        "guessed where the first line has a time, and said: the last column of times, the first two others",
        text("clicks.csv", lines(csv, None)),
    ),
    Shape(
        "no header, named columns",
        "read as `files.columns` says",
        text("clicks.csv", lines(lambda row: f"{row.timestamp_ms},5,{row.item_id},{row.user_id}", None)),
        ("files.columns=timestamp,rating,item_id,user_id",),
    ),
    Shape(
        "MovieLens' `.dat`: `::` between fields, no header",
        "user, item, rating, time",
        text(
            "ratings.dat",
            lines(lambda row: f"{row.user_id}::{row.item_id}::5::{row.timestamp_ms // 1000}", None),
        ),
    ),
    Shape(
        "RecBole's `.inter`: `user_id:token`",
        "names without their types",
        text(
            "clicks.inter",
            lines(
                lambda row: f"{row.user_id}\t{row.item_id}\t{row.timestamp_ms // 1000}.0",
                "user_id:token\titem_id:token\ttimestamp:float",
            ),
        ),
    ),
    Shape("JSON lines", "the clicks", text("clicks.jsonl", JSON_LINES)),
    Shape(
        "JSON lines with a byte order mark",
        "read without it",
        text("clicks.jsonl", JSON_LINES, encoding="utf-8-sig"),
    ),
    Shape("JSON lines, compressed", "unpacked", packed("clicks.ndjson.gz", gzip.compress, JSON_LINES)),
    Shape("JSON lines of any name", "told by the first letter", text("clicks.log", JSON_LINES)),
    Shape(
        "a JSON array",
        "the clicks; it is read as a whole",
        text("clicks.json", f"[{','.join(JSON_LINES.split())}]"),
    ),
    Shape(
        "nested JSON",
        "fields by path; usual names are recognised inside, too",
        text(
            "clicks.jsonl",
            lines(
                lambda row: json(user={"id": row.user_id}, what={"sku": row.item_id}, ts=row.timestamp_ms),
                None,
            ),
        ),
        ("click.item_id=what.sku",),
    ),
    Shape(
        "names with dots (`user.id`)",
        "recognised, and as a path; `user\\.id` is only the flat name",
        text("clicks.csv", lines(csv, "user.id,item.id,time")),
        ("click.user_id=user.id", r"click.item_id=item\.id"),
    ),
    Shape(
        "JSON in a column of text",
        "a path reaches into it",
        text(
            "clicks.jsonl",
            lines(
                lambda row: json(who=json(id=int(row.user_id)), item_id=row.item_id, ts=row.timestamp_ms),
                None,
            ),
        ),
        ("click.user_id=who.id",),
    ),
    Shape(
        "a list of items in one event",
        "a click of each, by `items[].id`",
        text(
            "clicks.jsonl",
            per_user(
                lambda user, rows: json(
                    user_id=user, items=[{"id": row.item_id, "at": row.timestamp_ms} for row in rows]
                )
            ),
        ),
        ("click.item_id=items[].id", "click.timestamp=items[].at"),
    ),
    Shape(
        "Parquet",
        "the clicks",
        table(
            "write_parquet",
            "parquet",
            user_id=by_user,
            item_id=lambda row: row.item_id,
            timestamp=lambda row: row.timestamp_ms,
        ),
    ),
    Shape(
        "Arrow or Feather",
        "the clicks",
        table(
            "write_ipc",
            "feather",
            user_id=by_user,
            item_id=lambda row: row.item_id,
            timestamp=lambda row: row.timestamp_ms,
        ),
    ),
    Shape(
        "an Arrow stream",
        "the clicks",
        table(
            "write_ipc_stream",
            "arrows",
            user_id=by_user,
            item_id=lambda row: row.item_id,
            timestamp=lambda row: row.timestamp_ms,
        ),
    ),
    Shape(
        "ids that are integers of any width",
        "their decimal text",
        typed(lambda frame: frame.cast({"user_id": pl.Int16})),
    ),
    Shape(
        "ids that are floats, as integers with gaps become",
        "`12.0` is 12; a fraction is no id",
        typed(lambda frame: frame.cast({"user_id": pl.Float64})),
    ),
    Shape(
        "ids that are decimals",
        "`12.0000000000` is 12",
        typed(
            lambda frame: frame.with_columns(
                user_id=pl.Series([Decimal(f"{row.user_id}.0000000000") for row in ROWS])
            )
        ),
    ),
    Shape(
        "ids such as `12.0` in text",
        "12; leading zeros stay",
        text("clicks.csv", lines(lambda row: f"{row.user_id}.0,{row.item_id},{row.timestamp_ms}")),
    ),
    Shape(
        "UUIDs in 16 bytes",
        "their text in lower case",
        typed(
            lambda frame: frame.with_columns(
                user_id=pl.Series([UUID(uuid(row.user_id)).bytes for row in ROWS])
            )
        ),
        rename=uuid,
    ),
    Shape(
        "UUIDs as text in capitals",
        "in lower case",
        text(
            "clicks.csv", lines(lambda row: f"{uuid(row.user_id).upper()},{row.item_id},{row.timestamp_ms}")
        ),
        rename=uuid,
    ),
    Shape(
        "categories, such as pandas writes",
        "their text",
        typed(lambda frame: frame.cast({"item_id": pl.Categorical})),
    ),
    Shape(
        "`NULL`, `\\N`, `NA`, `nan` or nothing as an id",
        "missing (`click.missing`), counted by value",
        text(
            "clicks.csv",
            PLAIN + "".join(f"{one},00001,1790000000000\n" for one in ("NULL", r"\N", "NA", "nan", "", " ")),
        ),
    ),
    Shape(
        "times in s, ms, µs or ns",
        "told by their size, or `click.timestamp_unit`",
        text("clicks.csv", lines(lambda row: f"{row.user_id},{row.item_id},{row.timestamp_ms // 1000}")),
    ),
    Shape(
        "times in µs as floats",
        "the same",
        text("clicks.csv", lines(lambda row: f"{row.user_id},{row.item_id},{row.timestamp_ms * 1000}.0")),
    ),
    Shape(
        "times in two units",
        "each is read by its own size; said with counts and examples",
        text(
            "clicks.csv",
            lines(
                lambda row: (
                    f"{row.user_id},{row.item_id},{row.timestamp_ms if int(row.user_id) % 3 else row.timestamp_ms // 1000}"
                )
            ),
        ),
    ),
    Shape(
        "RFC 3339",
        "the time",
        text(
            "clicks.csv", lines(lambda row: f"{row.user_id},{row.item_id},{moment(row):%Y-%m-%dT%H:%M:%SZ}")
        ),
    ),
    Shape(
        "`2026-09-21 14:13:20+00` and ` UTC`",
        "the time",
        text(
            "clicks.csv",
            lines(lambda row: f"{row.user_id},{row.item_id},{moment(row):%Y/%m/%d %H:%M:%S} UTC"),
        ),
    ),
    Shape(
        "times without a zone",
        "times in `click.time_zone`",
        text(
            "clicks.csv",
            lines(
                lambda row: f"{row.user_id},{row.item_id},{moment(row).astimezone(LISBON):%Y-%m-%d %H:%M:%S}"
            ),
        ),
        ("click.time_zone=Europe/Lisbon",),
    ),
    Shape(
        "Parquet's own times",
        "the time",
        typed(lambda frame: frame.with_columns(pl.from_epoch("timestamp", "ms").dt.cast_time_unit("ns"))),
    ),
    Shape(
        "date and time of day in two columns",
        'recognised, or `click.timestamp = "day + clock"`',
        text(
            "clicks.csv",
            lines(
                lambda row: f"{row.user_id},{row.item_id},{moment(row):%Y-%m-%d,%H:%M:%S}",
                "user_id,item_id,date,time",
            ),
        ),
    ),
    Shape(
        "several columns of times",
        "the time of the event before dates and versions of it; said which was taken",
        text(
            "clicks.csv",
            lines(
                lambda row: f"{moment(row):%Y-%m-%d},{row.timestamp_ms + 86_400_000},{csv(row)},2026-01-01",
                "date,_ingested_at,user_id,item_id,event_time,updated_at",
            ),
        ),
    ),
    Shape(
        "times before 2000 or in the future",
        "removed with a reason of their own; if they are most, refused (`click.earliest`)",
        text("clicks.csv", PLAIN + "1000,00001,86400\n1000,00001,874724710\n1000,00001,4100000000\n"),
    ),
    Shape(
        "events of other kinds",
        "skipped by `click.where`, and counted",
        text(
            "clicks.csv",
            lines(
                lambda row: f"{csv(row)},View\n{row.user_id},{row.item_id},{row.timestamp_ms + 1000},buy",
                "user_id,item_id,timestamp,type",
            ),
        ),
        ("click.where=type = View, cart",),
    ),
    Shape(
        "a folder from Spark",
        "all files in it; `_SUCCESS`, hidden and empty files are passed over",
        folder(
            {
                "part-0.csv": FIRST,
                "part-1.csv": SECOND,
                "part-2.csv": "",
                "_SUCCESS": "",
                ".part-0.csv.crc": "x",
            }
        ),
    ),
    Shape(
        "a folder of compressed JSON",
        "all files in it",
        folder(
            {
                f"part-{at}.json.gz": gzip.compress(lines(plain, None, half).encode())
                for at, half in enumerate((ROWS[:700], ROWS[700:]))
            }
        ),
    ),
    Shape(
        "folders named `date=2026-01-01`",
        "a column `date` of the files in them",
        folder(
            {
                f"user_id={user}/part-0.csv": lines(
                    lambda row: f"{row.item_id},{row.timestamp_ms}",
                    "item_id,timestamp",
                    [row for row in ROWS if row.user_id == user],
                )
                for user in dict.fromkeys(row.user_id for row in ROWS)
            }
        ),
    ),
    Shape(
        "files with other orders of columns",
        "each by its own header",
        folder(
            {
                "a.csv": FIRST,
                "b.csv": lines(
                    lambda row: f"{row.timestamp_ms};{row.user_id};{row.item_id}",
                    "Timestamp;User;Item",
                    ROWS[700:],
                ),
            }
        ),
    ),
)
"""Every shape gives the same sessions and the same catalogue as plain CSV."""


def one_column(name: str, kind: object, **columns: Sequence[object]) -> Write:
    """Return a writer of a small Parquet file."""

    def write(folder: Path) -> Path:
        frame = {
            "user_id": ["a", "b"],
            "item_id": ["x", "y"],
            "timestamp": [1_790_000_000_000] * 2,
            **columns,
        }
        pl.DataFrame(frame, schema_overrides={name: kind}).write_parquet(folder / "clicks.parquet")  # type: ignore[dict-item]
        return folder / "clicks.parquet"

    return write


HOURS: Final = [timedelta(hours=1)] * 2

REFUSED: Final = (
    Refused("nothing at that path", "there is no such file", lambda folder: folder / "nowhere.csv"),
    Refused("an empty file", "the file is empty", text("clicks.csv", "")),
    Refused("a header only", "it has no rows", text("clicks.csv", "user_id,item_id,timestamp\n")),
    Refused("a folder with nothing", "the folder has no files of clicks", folder({"_SUCCESS": ""})),
    Refused(
        "a Delta table",
        "it is a Delta table, in which old files stay: export it",
        folder({"_delta_log/0.json": "{}", "a.csv": PLAIN}),
    ),
    Refused(
        "a file that is no text", "it is no text, and none of Parquet", text("clicks.csv", bytes(range(256)))
    ),
    Refused(
        "an Excel sheet",
        "it is a zip file or an Excel sheet: unpack it, or save it as CSV",
        text("clicks.xlsx", b"PK\x03\x04"),
    ),
    Refused("Avro", "it is Avro: write it as Parquet", text("clicks.avro", b"Obj\x01")),
    Refused(
        "UTF-16 without a byte order mark",
        "set files.encoding to utf-16-le",
        text("clicks.csv", PLAIN, encoding="utf-16-le"),
    ),
    Refused(
        "text that is not UTF-8",
        "line 2 is not UTF-8; write it as UTF-8, or name the encoding of files of clicks by files.encoding",
        text("clicks.csv", "user_id,item_id,timestamp,title\n1,a,1790000000000,Stühle\n", encoding="cp1252"),
    ),
    Refused(
        "compressed data that was cut off",
        "it is damaged or cut off: write it again",
        text("clicks.csv.gz", gzip.compress(PLAIN.encode())[:-20]),
    ),
    Refused(
        "damaged Parquet",
        "it cannot be read as Parquet: it is damaged or cut off, write it again",
        text("clicks.parquet", b"PAR1 and nothing more"),
    ),
    Refused(
        "text named `.parquet`", "it cannot be read as .parquet: it is text", text("clicks.parquet", PLAIN)
    ),
    Refused(
        "a line with too many fields",
        "line 2 has 4 fields where the first line has 3, repair or remove it",
        text("clicks.csv", "user_id,item_id,timestamp\n1,2,3,4\n"),
    ),
    Refused(
        "damaged JSON",
        "line 2 is damaged, repair or remove it",
        text("clicks.jsonl", '{"user_id": 1}\n{"user_id": \n'),
    ),
    Refused(
        "JSON with two kinds of values",
        "line 2 has a list as 'item_id', line 1 text or a number",
        text("clicks.jsonl", '{"item_id": 1}\n{"item_id": [1]}\n'),
    ),
    Refused(
        "columns that are not recognised",
        "has no column that looks like the user; name one with --user",
        text("clicks.csv", "who,item_id,timestamp\n1,2,1790000000\n"),
    ),
    Refused(
        "lists as ids",
        "column 'item_id' holds lists, ids must be text or integers; a path such as items[]",
        one_column("item_id", pl.List(pl.String()), item_id=[["x"], ["y"]]),
    ),
    Refused(
        "durations as ids",
        "column 'user_id' holds durations, ids must be text or integers",
        one_column("user_id", pl.Duration("us"), user_id=HOURS),
    ),
    Refused(
        "fractions as ids",
        "column 'item_id' holds numbers such as 3.7, ids must be",
        one_column("item_id", pl.Float64(), item_id=[3.7, 4.0]),
    ),
    Refused(
        "lists as times",
        "column 'timestamp' holds lists, which are no times",
        one_column("timestamp", pl.List(pl.Int64()), timestamp=[[1], [2]]),
    ),
    Refused(
        "durations as times",
        "column 'timestamp' holds durations, which are no times",
        one_column("timestamp", pl.Duration("us"), timestamp=HOURS),
    ),
    Refused(
        "times that are none",
        "nothing in column 'timestamp' can be read as a time (the first value is 'soon')",
        text("clicks.csv", "user_id,item_id,timestamp\n1,2,soon\n"),
    ),
    Refused(
        "most times before 2000",
        "are before 2000-01-01, such as 874724710 (1997-09-20 03:05): if that is right, set click.earliest",
        text("clicks.csv", "user_id,item_id,timestamp\n1,2,874724710\n1,3,874724711\n"),
    ),
    Refused(
        "most times in the future",
        "are in the future, such as 1790000000 (",
        text("clicks.csv", "user_id,item_id,timestamp\n1,2,1790000000\n1,3,1790000001\n"),
    ),
    Refused(
        "no row that counts",
        "no row is left by click.where",
        text("clicks.csv", PLAIN),
        ("click.where=item_id = lamp",),
    ),
)
"""Every file is refused with one sentence: what, which value, what to do."""
