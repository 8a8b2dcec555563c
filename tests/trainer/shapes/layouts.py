"""Shapes of files by their packing, encoding, format and layout."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from typing import Final

import zstandard

from tests.thousand_clicks import ROWS, Row
from tests.trainer.shapes.writers import (
    FIRST,
    JSON_LINES,
    PLAIN,
    SECOND,
    Shape,
    by_user,
    csv,
    folder,
    json,
    lines,
    packed,
    per_user,
    plain,
    table,
    text,
)

AS_THEY_ARE: Final[dict[str, Callable[[Row], object]]] = {
    "user_id": by_user,
    "item_id": lambda row: row.item_id,
    "timestamp": lambda row: row.timestamp_ms,
}
"""The columns of the clicks under the names that need no setting."""

LAYOUTS: Final = (
    Shape("CSV", "the clicks", text("clicks.csv", PLAIN)),
    Shape(
        "CSV with `;` between fields",
        "recognised from the first line",
        text("clicks.csv", PLAIN.replace(",", ";")),
    ),
    Shape("CSV with `|` between fields", "the same", text("clicks.txt", PLAIN.replace(",", "|"))),
    Shape(
        "TSV with a byte order mark",
        "read without it",
        text("clicks.tsv", b"\xef\xbb\xbf" + PLAIN.replace(",", "\t").encode()),
    ),
    Shape("CSV with a byte order mark", "read without it", text("clicks.csv", PLAIN, encoding="utf-8-sig")),
    Shape(
        "UTF-16 with a byte order mark",
        "recognised automatically",
        text("clicks.csv", PLAIN, encoding="utf-16"),
    ),
    Shape(
        "another encoding",
        "read with `files.encoding`; by default, an error names the line that is not UTF-8",
        text(
            "clicks.csv",
            lines(lambda row: f"{csv(row)},Stühle", "user_id,item_id,timestamp,title"),
            encoding="cp1252",
        ),
        ("files.encoding=cp1252",),
    ),
    Shape("lines that end with CR", "read like LF", text("clicks.csv", PLAIN.replace("\n", "\r"))),
    Shape("lines that end with CR LF", "read like LF", text("clicks.csv", PLAIN.replace("\n", "\r\n"))),
    Shape(
        "two columns of one name",
        "the first of them; reported with the name under which the other can be chosen",
        text("clicks.csv", lines(lambda row: f"{csv(row)},x", "user_id,item_id,timestamp,item_id")),
    ),
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
    Shape("`.csv.gz`", "decompressed", packed("clicks.csv.gz", gzip.compress)),
    Shape("gzip without `.gz` in its name", "recognised by its content", packed("clicks.csv", gzip.compress)),
    Shape("plain text named `.gz`", "recognised by its content", text("clicks.csv.gz", PLAIN)),
    Shape("zstd", "decompressed", packed("clicks.csv.zst", zstandard.compress)),
    Shape("bzip2", "decompressed", packed("clicks.csv.bz2", bz2.compress)),
    Shape("xz", "decompressed", packed("clicks.csv.xz", lzma.compress)),
    Shape(
        "no header, three columns or more",
        "if the first line has a time, guessed and reported: last time column, first two other columns",
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
        "read as user, item, rating, time",
        text(
            "ratings.dat",
            lines(lambda row: f"{row.user_id}::{row.item_id}::5::{row.timestamp_ms // 1000}", None),
        ),
    ),
    Shape(
        "RecBole's `.inter`: `user_id:token`",
        "column names without the types",
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
    Shape("JSON lines, compressed", "decompressed", packed("clicks.ndjson.gz", gzip.compress, JSON_LINES)),
    Shape("JSON lines, any file name", "recognised by the first character", text("clicks.log", JSON_LINES)),
    Shape(
        "a JSON array",
        "the clicks; the whole array is read at once",
        text("clicks.json", f"[{','.join(JSON_LINES.split())}]"),
    ),
    Shape(
        "nested JSON",
        "fields by path; common names are recognised at any level",
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
        "recognised, also as a path; `user\\.id` means only the flat name",
        text("clicks.csv", lines(csv, "user.id,item.id,time")),
        ("click.user_id=user.id", r"click.item_id=item\.id"),
    ),
    Shape(
        "JSON in a text column",
        "fields by path",
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
        "one click per item, with `items[].id`",
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
            **AS_THEY_ARE,
        ),
    ),
    Shape(
        "Arrow or Feather",
        "the clicks",
        table(
            "write_ipc",
            "feather",
            **AS_THEY_ARE,
        ),
    ),
    Shape(
        "an Arrow stream",
        "the clicks",
        table(
            "write_ipc_stream",
            "arrows",
            **AS_THEY_ARE,
        ),
    ),
    Shape(
        "a folder from Spark",
        "all files in it; `_SUCCESS`, hidden and empty files are skipped",
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
        "a folder from `split`: only the first file has a header",
        "its header is used for all files, and reported; files whose times are elsewhere are refused",
        folder(
            {
                "part-aa": lines(
                    lambda row: f"{row.item_id},{row.user_id},{row.timestamp_ms}",
                    "item_id,user_id,timestamp",
                    ROWS[:700],
                ),
                "part-ab": lines(
                    lambda row: f"{row.item_id},{row.user_id},{row.timestamp_ms}", None, ROWS[700:]
                ),
            }
        ),
    ),
    Shape(
        "a folder of files in different formats",
        "each is read in its own",
        folder(
            {
                "a.csv": FIRST,
                "b.jsonl": lines(plain, None, ROWS[700:900]),
                "c.tsv.gz": gzip.compress(
                    lines(csv, "user_id,item_id,timestamp", ROWS[900:]).replace(",", "\t").encode()
                ),
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
        "an extra column `date` for their files",
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
        "files with different column orders",
        "each is read by its own header",
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
