from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest
import zstandard

from trainer.clicks.contents import Contents, contents
from trainer.errors import UnreadableFile

TEXT = "user_id,item_id\n1,ü\n"


def written(path: Path, data: bytes, encoding: str = "utf-8") -> Contents:
    """Return the contents of a file with these bytes."""
    path.write_bytes(data)
    return contents(path, encoding)


def lines_of(found: Contents) -> list[bytes]:
    """Return the lines of a text."""
    with found.lines() as lines:
        return list(lines)


@pytest.mark.parametrize(
    ("data", "encoding", "as_it_is"),
    [
        (TEXT.encode(), "utf-8", True),
        (gzip.compress(TEXT.encode()), "utf-8", True),
        (zstandard.compress(TEXT.encode()), "utf-8", True),
        (TEXT.encode("utf-8-sig"), "utf-8", False),
        (TEXT.encode("utf-16"), "utf-8", False),
        (TEXT.encode("utf-32"), "utf-8", False),
        (TEXT.encode("latin-1"), "latin-1", False),
        (gzip.compress(TEXT.encode("cp1252")), "cp1252", False),
        (TEXT.replace("\n", "\r").encode(), "utf-8", False),
    ],
    ids=["plain", "gzip", "zstd", "mark", "utf-16", "utf-32", "latin-1", "gzip of cp1252", "old Mac"],
)
def test_text_is_utf_8_whatever_it_was(tmp_path: Path, data: bytes, encoding: str, *, as_it_is: bool) -> None:
    """A mark wins over the setting; a copy is made only where polars could not read the file."""
    found = written(tmp_path / "x", data, encoding)

    with found.source() as source:
        table = pl.scan_csv(source)

    assert b"".join(lines_of(found)) == TEXT.encode()
    assert table.collect().rows() == [(1, "ü")]
    assert found.as_it_is is as_it_is


def test_the_copy_has_the_lines_that_are_made_of_the_text(tmp_path: Path) -> None:
    """Also where the file could be read as it is. The table outlives the file without a name."""

    def without_commas(lines: Iterable[bytes]) -> Iterable[bytes]:
        return (line.replace(b",", b";") for line in lines)

    found = written(tmp_path / "x", TEXT.encode())
    with found.source(lambda lines: iter(without_commas(lines))) as source:
        table = pl.scan_csv(source, separator=";")

    assert not isinstance(source, Path)
    assert source.closed
    assert table.collect().rows() == [(1, "ü")]


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b"\xff\xfe", b"\xff\xfe\n\x00"])
def test_a_file_with_only_a_byte_order_mark_is_empty(tmp_path: Path, data: bytes) -> None:
    """With or without a line break after the mark."""
    with pytest.raises(UnreadableFile, match="the file is empty"):
        written(tmp_path / "x", data)


def test_a_byte_that_the_encoding_lacks_is_named(tmp_path: Path) -> None:
    """With the line before it, and the setting."""
    found = written(tmp_path / "x", b"a\nb\n\x81", "cp1252")

    with pytest.raises(UnreadableFile, match=r"after line 0 it is not cp1252: b'\\x81'; .* files\.encoding"):
        lines_of(found)


def test_an_encoding_that_insists_on_its_mark_is_refused_without(tmp_path: Path) -> None:
    """Python raises for UTF-16, whatever is to be done with damage."""
    with pytest.raises(UnreadableFile, match=r"it is not utf-16: .*; set files\.encoding to its encoding"):
        written(tmp_path / "x", TEXT.encode(), "utf-16")


def test_parquet_in_gzip_is_unpacked(tmp_path: Path) -> None:
    """Its kind is what the first bytes after unpacking say."""
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "p")
    found = written(tmp_path / "x", gzip.compress((tmp_path / "p").read_bytes()))

    with found.source() as source:
        table = pl.scan_parquet(source)

    assert (found.kind, table.collect().item()) == ("parquet", 1)
