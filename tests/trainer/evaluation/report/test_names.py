"""Names of items are found where a user has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.clicks.columns import Columns
from trainer.errors import UnreadableFile
from trainer.evaluation.report.names import find_names, read_names

CLICKS = "user_id,item_id,timestamp,Title\nu,1,1600000000,Lamp\nv,2,1600000001,\nv,1,1600000002,Lamp\n"


def test_names_need_two_columns(tmp_path: Path) -> None:
    """The error says which."""
    (tmp_path / "names.csv").write_text("id\n1\n")

    with pytest.raises(UnreadableFile, match="two columns are needed: item ids and names"):
        read_names(tmp_path / "names.csv")


def test_a_title_column_of_the_clicks_names_the_items(tmp_path: Path) -> None:
    """In any case of letters; an item without a title keeps its id."""
    (tmp_path / "clicks.csv").write_text(CLICKS)

    assert find_names({}, [tmp_path / "clicks.csv"], Columns()) == {"1": "Lamp"}


def test_item_features_of_the_training_come_first(tmp_path: Path) -> None:
    """Their file is named in the settings; one that has gone is passed over."""
    (tmp_path / "clicks.csv").write_text(CLICKS)
    (tmp_path / "items.csv").write_text("item_id,name,price\n1,Table lamp,5\n2,Rug,7\n")
    settings = {"features": {"file": str(tmp_path / "items.csv")}}

    assert find_names(settings, [tmp_path / "clicks.csv"], Columns()) == {"1": "Table lamp", "2": "Rug"}
    (tmp_path / "items.csv").unlink()
    assert find_names(settings, [tmp_path / "clicks.csv"], Columns()) == {"1": "Lamp"}


def test_clicks_without_a_title_have_no_names(tmp_path: Path) -> None:
    """The page shows ids then."""
    (tmp_path / "clicks.csv").write_text("user_id,item_id,timestamp\nu,1,1600000000\n")

    assert find_names({}, [tmp_path / "clicks.csv"], Columns()) == {}
