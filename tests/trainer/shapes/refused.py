"""Files that are refused, each with a part of what is said."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
import zlib
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

import polars as pl

from tests.trainer.shapes.writers import JSON_LINES, PLAIN, Refused, Write, folder, text


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


def _tar() -> bytes:
    """Return a compressed archive with a file of clicks."""
    written, content = io.BytesIO(), PLAIN.encode()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        member = tarfile.TarInfo("clicks.csv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


TAR: Final = _tar()
INTERVALS: Final = (
    b"c-pm5F%H5o47{`<R3(Fl3h@9wP>GSHFF@+T%nx`1BO@cfrDx-)6@rnI;>6CKeM*LLJe_;sMO*<06fH6mR%m!4LSznR"
    b"4P*4kGFNAsj<tlfvBZ0XjqW?=!uc2Sl$)$l+1$JLQDkg=a<*=$qxBFJw9K=)P;W=S3z$*iH)L@RAG%UgeeJpWE4oaV"
    b"$(+gC8(kb2_lx(qx$g00-ap>&$vD^_PE24I69"
)
"""An Arrow file whose only column has the type month_day_nano_interval, compressed, in base 85."""

TWICE: Final = (
    b"c-jka3^EjD5S0;?(Gg_=GT21fWEdD2m_V43kpTh-D`1hdF=dcoD^AWx%}o?#0Sc%xNiZhDX)z{A8A%;A1{t7ARW=4m"
    b"pqMC7P|QipNsYr(MigWP6N8N=o1_}pXzVJzu&5MkVH9Ih;{Z|&8VUu8MTMoQCA!H41-gkvMfv3lWvNBQnfZANMrL{j"
    b"dWMoZK(~XOzY&N7fL;dxrs5w@"
)
"""A Parquet file with two columns of the same name, compressed, in base 85."""


def unpacked(data: bytes) -> bytes:
    """Return the bytes of a file."""
    return zlib.decompress(base64.b85decode(data))


HOURS: Final = [timedelta(hours=1)] * 2

REFUSED: Final = (
    Refused("a path that does not exist", "there is no such file", lambda folder: folder / "nowhere.csv"),
    Refused("an empty file", "the file is empty", text("clicks.csv", "")),
    Refused("a header only", "it has no rows", text("clicks.csv", "user_id,item_id,timestamp\n")),
    Refused(
        "a folder without files of clicks", "the folder has no files of clicks", folder({"_SUCCESS": ""})
    ),
    Refused(
        "a Delta table",
        "it is a Delta table, whose folder may hold outdated files; export it",
        folder({"_delta_log/0.json": "{}", "a.csv": PLAIN}),
    ),
    Refused(
        "a file that is not text", "it is not text, Parquet, Arrow", text("clicks.csv", bytes(range(256)))
    ),
    Refused(
        "an Excel sheet",
        "it is a zip file or an Excel sheet; unpack it, or save it as CSV",
        text("clicks.xlsx", b"PK\x03\x04"),
    ),
    Refused("a tar archive", "it is a tar archive; unpack it", text("clicks.tar.gz", TAR)),
    Refused(
        "a file that was compressed twice",
        "it is compressed twice; decompress it once",
        text("clicks.csv.gz", gzip.compress(gzip.compress(PLAIN.encode()))),
    ),
    Refused("Avro", "it is Avro; write it as Parquet", text("clicks.avro", b"Obj\x01")),
    Refused(
        "UTF-16 without a byte order mark",
        "set files.encoding to utf-16-le",
        text("clicks.csv", PLAIN, encoding="utf-16-le"),
    ),
    Refused(
        "UTF-16 of the other byte order, without a mark",
        "set files.encoding to utf-16-be",
        text("clicks.csv", PLAIN, encoding="utf-16-be"),
    ),
    Refused(
        "text that is not UTF-8",
        "line 2 is not UTF-8; save the file as UTF-8, or set files.encoding to its encoding",
        text("clicks.csv", "user_id,item_id,timestamp,title\n1,a,1790000000000,Stühle\n", encoding="cp1252"),
    ),
    Refused(
        "truncated compressed data",
        "it is damaged or truncated; write it again",
        text("clicks.csv.gz", gzip.compress(PLAIN.encode())[:-20]),
    ),
    Refused(
        "damaged Parquet",
        "it cannot be read as Parquet: it is damaged or truncated; write it again",
        text("clicks.parquet", b"PAR1 and nothing more"),
    ),
    Refused(
        "Arrow with a column of an unknown type, such as intervals of months",
        "a column has a type that cannot be read, or is damaged; leave it out, or write it as text",
        text("clicks.arrow", unpacked(INTERVALS)),
    ),
    Refused(
        "Parquet with two columns of one name",
        "two of its columns have the same name; rename one",
        text("clicks.parquet", unpacked(TWICE)),
    ),
    Refused(
        "text named `.parquet`", "it cannot be read as .parquet: it is text", text("clicks.parquet", PLAIN)
    ),
    Refused(
        "a line with too many fields",
        "line 2 has 4 fields, but the first line has 3; repair or remove it",
        text("clicks.csv", "user_id,item_id,timestamp\n1,2,3,4\n"),
    ),
    Refused("JSON without fields", "it has no rows with fields", text("clicks.json", "[]")),
    Refused(
        "JSON with an integer of more than 38 digits",
        "line 1 has an integer of more than 38 digits; write it as text",
        text("clicks.jsonl", f'{{"user_id": {"7" * 40}, "item_id": 1, "timestamp": 1790000000}}\n'),
    ),
    Refused(
        "damaged JSON",
        "line 2 is damaged; repair or remove it",
        text("clicks.jsonl", '{"user_id": 1}\n{"user_id": \n'),
    ),
    Refused(
        "JSON with mixed types in a field",
        "line 2 has a list as 'item_id', but line 1 has text or a number",
        text("clicks.jsonl", '{"item_id": 1}\n{"item_id": [1]}\n'),
    ),
    Refused(
        "JSON with text and another type in a field",
        "line 2 has true or false as 'item_id', but line 1 has text or an integer",
        text(
            "clicks.jsonl",
            '{"user_id": 1, "item_id": "x", "timestamp": 1790000000}\n'
            '{"user_id": 1, "item_id": true, "timestamp": 1790000000}\n',
        ),
    ),
    Refused(
        "unrecognised columns",
        "has no column that looks like the user; name one with --user",
        text("clicks.csv", "who,item_id,timestamp\n1,2,1790000000\n"),
    ),
    Refused(
        "lists as ids",
        "column 'item_id' holds lists, but ids must be text or integers; use a path such as items[]",
        one_column("item_id", pl.List(pl.String()), item_id=[["x"], ["y"]]),
    ),
    Refused(
        "structures as ids",
        "has no column that looks like the item; name one with --item. "
        "It has: user_id, timestamp, item_id.key",
        one_column("item_id", pl.Struct({"key": pl.String()}), item_id=[{"key": "x"}, {"key": "y"}]),
    ),
    Refused(
        "an object around the clicks",
        "It has: clicks[]; for a click for each element, name fields such as clicks[].id",
        text("clicks.json", f'{{"clicks": [{",".join(JSON_LINES.split())}]}}'),
    ),
    Refused(
        "files without a header, with other columns than those that have one",
        "it has no header and other columns than the files that have one; give it a header",
        folder({"a.csv": PLAIN, "b.csv": "1001,1790000000000,00001\n"}),
    ),
    Refused(
        "durations as ids",
        "column 'user_id' holds durations, but ids must be text or integers",
        one_column("user_id", pl.Duration("us"), user_id=HOURS),
    ),
    Refused(
        "fractions as ids",
        "column 'item_id' holds numbers such as 3.7, but ids must be",
        one_column("item_id", pl.Float64(), item_id=[3.7, 4.0]),
    ),
    Refused(
        "one column as the user and the item",
        "column 'session' is both the user and the item; name another column with --user or --item",
        text("clicks.csv", "session,at\n1,1790000000\n"),
        ("click.item_id=session", "click.timestamp=at"),
    ),
    Refused(
        "decimal fractions as ids",
        "column 'item_id' holds numbers such as 3.70, but ids must be",
        one_column("item_id", pl.Decimal(9, 2), item_id=[Decimal("3.70"), Decimal(4)]),
    ),
    Refused(
        "lists as times",
        "column 'timestamp' holds lists, not times",
        one_column("timestamp", pl.List(pl.Int64()), timestamp=[[1], [2]]),
    ),
    Refused(
        "durations as times",
        "column 'timestamp' holds durations, not times",
        one_column("timestamp", pl.Duration("us"), timestamp=HOURS),
    ),
    Refused(
        "values that are not times",
        "no value in column 'timestamp' can be read as a time (the first value is 'soon')",
        text("clicks.csv", "user_id,item_id,timestamp\n1,2,soon\n"),
    ),
    Refused(
        "most times before 2000",
        "are before 2000-01-01, such as 874724710 (1997-09-20 03:05); if they are right, set click.earliest",
        text("clicks.csv", "user_id,item_id,timestamp\n1,2,874724710\n1,3,874724711\n"),
    ),
    Refused(
        "most times in the future",
        "are in the future, such as 1790000000 (",
        text("clicks.csv", "user_id,item_id,timestamp\n1,2,1790000000\n1,3,1790000001\n"),
    ),
    Refused(
        "no matching rows",
        "click.where excludes all rows",
        text("clicks.csv", PLAIN),
        ("click.where=item_id = lamp",),
    ),
)
"""Every file is refused with one sentence: what, which value, what to do."""
