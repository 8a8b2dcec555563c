from __future__ import annotations

import gzip
import re
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from tests.trainer.builders import START_MS
from trainer.clicks.columns import SAMPLE_ROWS
from trainer.clicks.files import scan_files
from trainer.errors import MissingColumn, UnreadableFile

ROWS = [("a", "7", START_MS), ("a", "8", START_MS + 1500), ("b", "7", START_MS + 2000)]
CSV = "user_id,item_id,timestamp\n" + "\n".join(f"{user},{item},{time}" for user, item, time in ROWS)
JSON_LINES = "\n".join(f'{{"user_id": "{u}", "item_id": {i}, "timestamp": {t}}}' for u, i, t in ROWS)


def clicks_in(*paths: Path) -> pl.DataFrame:
    """The clicks in files, read."""
    return scan_files(paths).clicks.collect()


def file(folder: Path, name: str, content: str) -> Path:
    """A file of that content, compressed where its name says so."""
    path = folder / name
    data = content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("clicks.csv", CSV),
        ("CLICKS.CSV.gz", CSV),
        ("clicks.tsv", CSV.replace(",", "\t")),
        ("semicolons.csv", CSV.replace(",", ";")),
        ("clicks.jsonl", JSON_LINES),
        ("clicks.jsonl.gz", JSON_LINES),
    ],
)
def test_every_format_gives_the_same_table(tmp_path: Path, name: str, content: str) -> None:
    """CSV with any separator and JSON lines, compressed or not, hold the same clicks."""
    clicks = clicks_in(file(tmp_path, name, content))

    assert clicks.rows() == ROWS


def test_parquet_is_read_with_its_own_types(tmp_path: Path) -> None:
    """Integers become decimal text, moments milliseconds; an integer that a gap made a float is one again."""
    moment = datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)
    frame = pl.DataFrame({"user_id": [1.0, None], "item_id": [7, 8], "timestamp": [moment, None]})
    frame.write_parquet(tmp_path / "clicks.parquet")

    clicks = clicks_in(tmp_path / "clicks.parquet")

    assert clicks.rows() == [(None, "8", None), ("1", "7", START_MS)]


def test_files_together_are_in_the_order_of_time(tmp_path: Path) -> None:
    """Several files are one table; clicks of the same moment keep the order of the files."""
    late = file(tmp_path, "late.csv", "user_id,item_id,timestamp\na,x,1600000005000\na,y,1600000005000\n")

    clicks = clicks_in(late, file(tmp_path, "early.csv", CSV))

    assert clicks["item_id"].to_list() == ["7", "8", "7", "x", "y"]


def test_an_id_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    """007 is not 7."""
    clicks = clicks_in(file(tmp_path, "clicks.csv", "user_id,item_id,timestamp\n007,1e3,1600000000\n"))

    assert clicks.row(0)[:2] == ("007", "1e3")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("empty.csv", "", "the file is empty"),
        ("header.csv", "user_id,item_id,timestamp\n", "it has no rows"),
        ("clicks.parquet", "user_id", "cannot be read as .parquet"),
        ("clicks.jsonl", "{", "cannot be read as JSON"),
    ],
)
def test_an_unreadable_file_says_why(tmp_path: Path, name: str, content: str, why: str) -> None:
    """The error has the path and the reason."""
    path = file(tmp_path, name, content)

    with pytest.raises(UnreadableFile, match=why) as error:
        clicks_in(path)

    assert error.value.path == str(path)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """No traceback of a system call."""
    with pytest.raises(UnreadableFile, match="there is no such file"):
        clicks_in(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("clicks.csv", b'a,"7,1600000009000'),
        ("clicks.csv.gz", b'a,7",1600000009000'),
        ("clicks.jsonl", b'{"user_id": "a", "item_id": 7,'),
        ("clicks.jsonl", b"[7]"),
    ],
)
def test_a_damaged_line_far_behind_the_first_ones_is_named(tmp_path: Path, name: str, line: bytes) -> None:
    """By its number and how it begins, with what to do: nothing is left to whoever reads the clicks."""
    head, sound = (JSON_LINES if "jsonl" in name else CSV).encode().split(b"\n")[:2]
    lines = [head, *[sound] * (SAMPLE_ROWS + 50_000)]
    lines[140_000] = line
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"\n".join(lines)) if name.endswith(".gz") else b"\n".join(lines))

    message = f"line 140,001 is damaged; repair or remove it: {line!r}"[:-1]
    with pytest.raises(UnreadableFile, match=re.escape(message)):
        scan_files([path])


def test_a_field_of_two_lines_is_not_what_is_damaged(tmp_path: Path) -> None:
    """A quoted field may have line breaks; the line that is named is the one with the quote left open."""
    head, sound = CSV.encode().split(b"\n")[:2]
    legal = b'a,"7\n8",1600000009000'
    path = tmp_path / "clicks.csv"
    path.write_bytes(b"\n".join([head, legal, *[sound] * 5, b'a,"7,1600000009000', sound]))

    with pytest.raises(UnreadableFile, match="line 9 is damaged"):
        scan_files([path])


LONG = b"a,7,1600000009000,a, b\n"
"""A line with a separator too many, after `WIDE`."""

WIDE = b"user_id,item_id,timestamp,title\n" + b'a,"7",1600000009000,"a, b\n""c"", d"\n' * 3


@pytest.mark.parametrize("name", ["clicks.csv", "clicks.csv.gz"])
@pytest.mark.parametrize("rows", [2, SAMPLE_ROWS + 50_000])
def test_a_line_with_too_many_fields_is_refused(tmp_path: Path, name: str, rows: int) -> None:
    """Also in a column that nobody asks for; separators and line breaks in quotes are no further fields."""
    content = WIDE + b"a,7,1600000009000,\n" * rows + LONG
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    message = f"line {rows + 8:,} has 5 fields, but the first line has 4; repair or remove it: {LONG!r}"
    with pytest.raises(UnreadableFile, match=re.escape(message)):
        scan_files([path])


def test_the_separator_of_the_file_divides_its_fields(tmp_path: Path) -> None:
    """Commas are text where semicolons separate."""
    content = CSV.replace(",", ";") + "\na,b;7;1600000009000\na;b;7;1600000009000\n"

    with pytest.raises(UnreadableFile, match="line 6 has 4 fields, but the first line has 3"):
        scan_files([file(tmp_path, "clicks.csv", content)])


def test_columns_may_have_any_name(tmp_path: Path) -> None:
    """Such as those that polars gives to what it counts."""
    clicks = clicks_in(file(tmp_path, "clicks.csv", "user_id,item_id,timestamp,len\nu,i,1600000000,3\n"))

    assert clicks["item_id"].to_list() == ["i"]


def test_a_line_with_too_few_fields_lacks_the_rest(tmp_path: Path) -> None:
    """What is missing is null, as where a field is empty: cleaning removes it and says so."""
    clicks = clicks_in(file(tmp_path, "clicks.csv", CSV + "\nc,9\n\n"))

    assert clicks.filter(pl.col("timestamp_ms").is_null()).rows() == [("c", "9", None), (None, None, None)]


def test_a_compressed_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    """Half of it is not all there was."""
    path = file(tmp_path, "clicks.csv.gz", CSV)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(UnreadableFile, match="write it again"):
        scan_files([path])


def test_a_damaged_page_is_found_before_training(tmp_path: Path) -> None:
    """Parquet tells how many rows there are without reading them; all are looked at nevertheless."""
    path, rows = tmp_path / "clicks.parquet", SAMPLE_ROWS + 50_000
    users = [str(row * 7919 % rows) for row in range(rows)]
    frame = pl.DataFrame({"user_id": users, "item_id": users, "timestamp": [START_MS] * rows})
    frame.write_parquet(path, row_group_size=10_000)
    content = bytearray(path.read_bytes())
    late = len(content) * 9 // 10
    content[late : late + 5000] = bytes(5000)
    path.write_bytes(content)

    with pytest.raises(
        UnreadableFile, match="it cannot be read as Parquet: it is damaged or truncated; write it again"
    ):
        scan_files([path])


def test_a_line_in_another_encoding_is_named(tmp_path: Path) -> None:
    """However far down it is."""
    path = tmp_path / "clicks.csv"
    path.write_bytes(
        CSV.encode() + b"\na,x,1600000009000" * (SAMPLE_ROWS + 50_000) + b"\na,\xff7,1600000009000"
    )

    message = "line 150,005 is not UTF-8; save the file as UTF-8, or set files.encoding"
    with pytest.raises(UnreadableFile, match=message):
        scan_files([path])


def test_a_wrong_separator_is_suspected(tmp_path: Path) -> None:
    """A file of one column says which separators there may be."""
    path = file(tmp_path, "clicks.csv", CSV.replace(",", "~"))

    with pytest.raises(MissingColumn, match=r"must be separated by comma, semicolon, tab, \| or ::"):
        clicks_in(path)


def test_a_first_line_may_be_longer_than_what_is_looked_at(tmp_path: Path) -> None:
    """Its columns are counted by who reads the file."""
    more = ",x" * 40_000

    clicks = clicks_in(file(tmp_path, "clicks.csv", f"a,7,{START_MS}{more}\na,8,{START_MS + 1}{more}\n"))

    assert clicks.rows() == [("a", "7", START_MS), ("a", "8", START_MS + 1)]


def test_a_field_may_be_long_where_lines_are_rewritten(tmp_path: Path) -> None:
    """By default, Python's reader of CSV refuses fields of 128 kB."""
    title = "x" * 200_000
    content = f'"user_id", "item_id", "timestamp", "title"\n"a", "7", "{START_MS}", "{title}"\n'

    assert clicks_in(file(tmp_path, "clicks.csv", content)).rows() == [("a", "7", START_MS)]


def test_a_name_that_the_system_refuses_is_said(tmp_path: Path) -> None:
    """As any other file that is not there."""
    with pytest.raises(UnreadableFile, match="File name too long"):
        clicks_in(tmp_path / ("x" * 300))
