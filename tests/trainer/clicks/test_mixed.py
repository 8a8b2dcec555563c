from __future__ import annotations

from pathlib import Path

import pytest

from trainer.clicks.columns import Columns
from trainer.clicks.files import scan_files
from trainer.errors import UnreadableFile

USER_AND_TIME = '"user_id": "u", "timestamp": 1790000000'


def items(path: Path, *values: str, array: bool = False, columns: Columns = Columns()) -> list[str | None]:  # noqa: B008  # frozen
    """Return the items of a JSON file with these values, as the commands read them."""
    rows = [f'{{{USER_AND_TIME}, "item_id": {value}}}' for value in values]
    path.write_text(f"[{','.join(rows)}]" if array else "\n".join(rows))
    return scan_files([path], columns).clicks.collect()["item_id"].to_list()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("[1]", "a list"),
        ('{"a": 1}', "an object"),
        ("true", "true or false"),
        ("1.5", "a number with a fraction"),
        ("-0.0", "a number with a fraction"),
    ],
)
def test_text_and_something_else_in_one_column_is_refused(tmp_path: Path, value: str, kind: str) -> None:
    """Whichever comes first: as text, the worker's rule could not refuse it."""
    says = f"line 2 has {kind} as 'item_id', but line 1 has text or an integer; a column has one kind"
    with pytest.raises(UnreadableFile, match=says):
        items(tmp_path / "x", '"a"', value)
    with pytest.raises(UnreadableFile, match=f"line 1 has {kind}|line 2 has text"):
        items(tmp_path / "x", value, '"a"')


@pytest.mark.parametrize("value", ["true", "1.5", "-0.0"])
def test_an_array_names_the_object(tmp_path: Path, value: str) -> None:
    """An array may be one line."""
    with pytest.raises(UnreadableFile, match=r"object 2 has .* as 'item_id', but object 1 has text"):
        items(tmp_path / "x", '"a"', value, array=True)


def test_fields_and_elements_of_lists_are_checked_too(tmp_path: Path) -> None:
    """By their paths."""
    with pytest.raises(UnreadableFile, match=r"line 2 has a list as 'item_id\.id'"):
        items(tmp_path / "x", '{"id": "a"}', '{"id": [1]}', columns=Columns(item="item_id.id"))
    with pytest.raises(UnreadableFile, match=r"line 2 has true or false as 'item_id\[\]\.id'"):
        items(tmp_path / "x", '[{"id": "a"}]', '[{"id": true}]', columns=Columns(item="item_id[].id"))


@pytest.mark.parametrize("array", [False, True])
def test_a_lone_surrogate_is_damage(tmp_path: Path, *, array: bool) -> None:
    """Two of them would become the same id."""
    with pytest.raises(UnreadableFile, match=r"(line 2|the array) is damaged; repair or remove it"):
        items(tmp_path / "x", '"a"', r'"\ud83d"', array=array)


@pytest.mark.parametrize("array", [False, True])
def test_text_and_integers_are_one_kind(tmp_path: Path, *, array: bool) -> None:
    """Text may look like anything else."""
    values = [
        '"a"',
        '"[1]"',
        '"true"',
        '"1.5"',
        "7",
        "7.0",
        "1e22",
        "123456789012345678901234",
        "null",
        r'"x\u0000"',
    ]

    assert items(tmp_path / "x", *values, array=array) == [
        *("a", "[1]", "true", "1.5", "7", "7", f"1{'0' * 22}", "123456789012345678901234", None, "x\0")
    ]
