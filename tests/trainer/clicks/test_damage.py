from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from trainer.clicks.damage import reading
from trainer.clicks.tables import scan_table
from trainer.errors import UnreadableFile


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "a,b\n1,2\n1,2,3\n",
            "CSV: line 3 has 3 fields, but the first line has 2; repair or remove it: b'1,2,3",
        ),
        (
            "a::b::c\n1::2::3::4\n",
            "CSV: line 2 has 4 fields, but the first line has 3; repair or remove it: b'1::2",
        ),
        ('a,b\n"1,2\n3,4\n', "CSV: line 2 is damaged; repair or remove it"),
        ('a, "b"\n1, "x"\n2, "y\n3, "z"\n', "CSV: line 3 is damaged; repair or remove it: b'2, "),
        ('{"a": 1}\n{"a": \n', "JSON: line 2 is damaged; repair or remove it"),
        ('{"a": 1}\n[7]\n', "JSON: line 2 is damaged; repair or remove it"),
        (
            '{"a": 1}\n\n{"a": [1]}\n',
            "JSON: line 3 has a list as 'a', but line 1 has text or a number; a column has",
        ),
        ('{"a": {"b": 1}}\n{"a": 5}\n', "JSON: line 2 has text or a number as 'a', but line 1 has an object"),
        ('[{"a": 1},\n{"a": 2,]\n', "JSON: line 2 is damaged; repair or remove it"),
        ("[1, 2]", "JSON: line 1 must be an array of objects"),
    ],
)
def test_the_damaged_line_is_named(tmp_path: Path, text: str, says: str) -> None:
    """With its number, the reason, how it begins, and what to do."""
    path = tmp_path / "clicks"
    path.write_text(text)

    with (
        pytest.raises(UnreadableFile, match=re.escape(f"{path}: it cannot be read as {says}")),
        reading(path),
    ):
        scan_table(path).frame.collect()


def test_a_line_that_is_not_utf_8_is_named_with_blanks_before_quotes_too(tmp_path: Path) -> None:
    """The blanks are dropped while reading, which decodes the lines."""
    path = tmp_path / "clicks.csv"
    path.write_bytes('user_id, "item_id"\nu1, "a"\nu2, "ü"\n'.encode("cp1252"))

    with pytest.raises(UnreadableFile, match="line 3 is not UTF-8; save the file as UTF-8"), reading(path):
        scan_table(path)


def test_an_error_of_the_system_keeps_its_words(tmp_path: Path) -> None:
    """And what is no error of reading passes through."""
    with pytest.raises(UnreadableFile, match="No space left on device"), reading(tmp_path):
        raise OSError(28, "No space left on device")
    with pytest.raises(KeyError), reading(tmp_path):
        raise KeyError


def test_what_nobody_finds_is_to_be_written_again(tmp_path: Path) -> None:
    """The words of the library are not passed on."""
    (tmp_path / "x").write_text("a,b\n1,2\n")

    with (
        pytest.raises(UnreadableFile, match="it cannot be read as CSV; write it again"),
        reading(tmp_path / "x"),
    ):
        raise pl.exceptions.ComputeError("internal words")
