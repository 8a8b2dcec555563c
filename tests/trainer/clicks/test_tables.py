from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from trainer.clicks.tables import scan_table
from trainer.errors import UnreadableFile


def table(path: Path, text: str, **more: object) -> tuple[list[str], list[tuple[object, ...]]]:
    """Return the names and the rows of a file with this text."""
    path.write_text(text)
    frame = scan_table(path, **more).frame.collect()  # type: ignore[arg-type]
    return frame.columns, frame.rows()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,2\n", [("1", "2")]),
        ("a;b\n1,5;2\n", [("1,5", "2")]),
        ("a|b\n1|2\n", [("1", "2")]),
        ("a::b\n1:0::2,3\n", [("1:0", "2,3")]),
        ('a::b\n"x::2\n', [('"x', "2")]),
        ('a, b\n"1", "2, 3"\n', [("1", "2, 3")]),
        ('a, b\n"1" , "2, 3" \n"", "4"\n', [("1", "2, 3"), (None, "4")]),
        ("a:token\tb:float\n1\t2\n", [("1", "2")]),
    ],
)
def test_the_first_line_has_the_separator_and_the_names(
    tmp_path: Path, text: str, rows: list[tuple[object, ...]]
) -> None:
    """Blanks around names, and RecBole's types, are no part of them."""
    assert table(tmp_path / "clicks", text) == (["a", "b"], rows)


def test_columns_without_names_are_numbered_or_named(tmp_path: Path) -> None:
    """By files.columns, which must name them all."""
    path = tmp_path / "clicks.csv"

    assert table(path, "1,2\n3,4\n", is_data=lambda fields: fields == ["1", "2"])[0] == [
        "column_1",
        "column_2",
    ]
    assert table(path, "1,2\n3,4\n", names=("a", "b")) == (["a", "b"], [("1", "2"), ("3", "4")])
    with pytest.raises(
        UnreadableFile, match=r"files\.columns names 1 columns, but the first line has 2: \['1', '2'\]"
    ):
        table(path, "1,2\n", names=("a",))


def test_names_that_would_be_the_same_keep_their_blanks(tmp_path: Path) -> None:
    """Two columns are never one."""
    assert table(tmp_path / "clicks", "a, a\n1,2\n") == (["a", " a"], [("1", "2")])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "arrow", "arrows"])
def test_a_name_is_not_a_pattern(tmp_path: Path, kind: str) -> None:
    """A bracket in the name of a file stands for itself."""
    writers = {"jsonl": "write_ndjson", "arrow": "write_ipc", "arrows": "write_ipc_stream"}
    for name, value in (("clicks[1]", "mine"), ("clicks1", "another's")):
        write = getattr(pl.DataFrame({"a": [value]}), writers.get(kind, f"write_{kind}"))
        write(tmp_path / f"{name}.{kind}")

    assert scan_table(tmp_path / f"clicks[1].{kind}").frame.collect().item() == "mine"
