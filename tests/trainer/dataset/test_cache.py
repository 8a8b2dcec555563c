from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.trainer.builders import NOW, START_MS, cyclic_clicks, table
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.cache import entry, load, save
from trainer.dataset.dataset import Data
from trainer.dataset.prepare import prepare

CLICKS = cyclic_clicks(60).with_columns(kind=pl.col("item_id").str.slice(-1))


def prepared(**settings: Any) -> Data:
    """Return the sessions of the clicks under these settings."""
    return prepare(CLICKS, FitSettings.of(**settings), Progress(), NOW)


@pytest.mark.parametrize("settings", [{}, {"categorical": ("kind",), "min_value_count": 1}], ids=str)
def test_what_was_saved_is_loaded(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Sessions, catalogue, features and summary, and nothing else is left in the folder."""
    data = prepared(**settings)
    save(tmp_path / "entry", data)

    found = load(tmp_path / "entry")

    assert (found.fingerprint, found.summary) == (data.fingerprint, data.summary)
    assert found.test.items.tolist() == data.test.items.tolist()
    assert found.clicked_items == data.clicked_items
    for ours_in, theirs_in in ((found.test, data.test), (found.validation, data.validation)):
        assert ours_in.history is not None
        assert theirs_in.history is not None
        assert ours_in.history.items.tolist() == theirs_in.history.items.tolist()
        assert ours_in.history.starts.tolist() == theirs_in.history.starts.tolist()
        assert ours_in.history.places.tolist() == theirs_in.history.places.tolist()
    assert found.train.history is None
    assert found.every_item is not None
    assert data.every_item is not None
    for part in ("past", "test"):
        one, other = getattr(found.every_item, part), getattr(data.every_item, part)
        assert (one.items.tolist(), one.scored.tolist()) == (other.items.tolist(), other.scored.tolist())
        assert one.times_ms.tolist() == other.times_ms.tolist()
    for name in ("past_users", "test_users", "context"):
        assert getattr(found.every_item, name).tolist() == getattr(data.every_item, name).tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]


def test_an_entry_that_another_process_made_meanwhile_stays(tmp_path: Path) -> None:
    """Both prepared the same; the second one leaves nothing behind."""
    data = prepared()
    save(tmp_path / "entry", data)
    made = (tmp_path / "entry").stat().st_ino

    save(tmp_path / "entry", data)

    assert (tmp_path / "entry").stat().st_ino == made
    assert len([*tmp_path.iterdir()]) == 1


def test_an_entry_is_named_after_clicks_and_what_is_done_to_them(tmp_path: Path) -> None:
    """Not after the order of the clicks or what has to do with the network."""

    def named(clicks: pl.DataFrame, **settings: Any) -> Path:
        return entry(tmp_path, clicks.lazy(), FitSettings.of(**settings))

    known = named(CLICKS)

    assert named(CLICKS.reverse(), hidden_size=8) == known
    assert known.parent == tmp_path
    others = [named(CLICKS, min_item_count=1), named(CLICKS.head(-1)), named(table([("a", "x", START_MS)]))]
    assert len({known, *others}) == 4


@pytest.mark.parametrize(
    "given", [{"session_gap": 1800}, {"min_item_count": 5}, {"exclude_recent": 1}], ids=str
)
def test_a_default_that_the_user_set_is_another_entry(tmp_path: Path, given: dict[str, Any]) -> None:
    """Otherwise, sessions cut by a decision would be loaded for a training whose settings forbid it."""
    names = {entry(tmp_path, CLICKS.lazy(), FitSettings.of(**settings)) for settings in ({}, given)}

    assert len(names) == 2


def test_features_from_a_file_are_in_the_name(tmp_path: Path) -> None:
    """Other contents under the same name are another entry."""
    path = tmp_path / "items.csv"
    names = []
    for genre in ("x", "y"):
        path.write_text(f"item_id,genre\nitem-0,{genre}\n")
        settings = FitSettings.of(file=path, categorical=("genre",))
        names.append(entry(tmp_path, CLICKS.lazy(), settings))

    assert names[0] != names[1]


def test_without_a_test_split_there_is_none_in_the_entry(tmp_path: Path) -> None:
    """Nor anything for baselines."""
    save(tmp_path / "entry", prepared(test_fraction=0.0))

    found = load(tmp_path / "entry")

    assert (found.every_item, found.test.predictions) == (None, 0)
