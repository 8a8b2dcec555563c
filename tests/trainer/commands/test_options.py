from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from tests.trainer.builders import cyclic_clicks, set_to
from trainer.clicks.archive import ClickArchive
from trainer.commands.cli import cli
from trainer.errors import UnusableClicks
from worker.errors import SettingError


@pytest.fixture
def archive(tmp_path: Path) -> ClickArchive:
    """An empty archive of the topic `clicks`."""
    archive = ClickArchive(tmp_path / "log")
    with archive.writing("clicks"):
        return archive


@pytest.mark.slow  # trains
def test_fit_learns_from_a_log(archive: ClickArchive, tmp_path: Path) -> None:
    """The folder stands where files of clicks do."""
    made = cyclic_clicks(100).with_row_index("offset").with_columns(recorded_ms=pl.col("timestamp_ms"))
    archive.append(0, 0, len(made), made.cast({"offset": pl.Int64}), {"empty_id": 2})
    quick = [*set_to("model.hidden_size=8", "training.epochs=1"), "-o", str(tmp_path / "release")]

    done = CliRunner().invoke(cli, ["fit", str(archive.folder), *quick], catch_exceptions=False)

    assert done.exit_code == 0
    assert done.stderr.startswith(
        "removed 2 of 502 records: not a click (empty_id)\nread 500 clicks; user: user_id"
    )


def test_other_files_do_not_go_with_an_archive(archive: ClickArchive) -> None:
    """Nothing that was asked for is passed over in silence."""
    done = CliRunner().invoke(cli, ["fit", str(archive.folder), "more.csv"])

    assert done.exit_code == 2
    assert "is a click archive and cannot be combined with other files" in " ".join(done.output.split())


def test_the_columns_of_an_archive_are_known(archive: ClickArchive, tmp_path: Path) -> None:
    """A mapping on the command line is refused; that of the settings was applied by `collect`."""
    path = tmp_path / "nextclick.toml"
    path.write_text("[click]\nitem_id = 'what.sku'\n")
    words = ["fit", str(archive.folder), "--config", str(path)]

    with pytest.raises(SettingError, match=r"whose columns are fixed; leave out click\.item_id"):
        CliRunner().invoke(cli, [*words, "--item", "sku"], catch_exceptions=False)
    with pytest.raises(UnusableClicks):
        CliRunner().invoke(cli, words, catch_exceptions=False)


@pytest.mark.parametrize("source", ["log", "topic"])
def test_features_of_items_are_not_in_an_archive_or_a_topic(archive: ClickArchive, source: str) -> None:
    """The error says where they come from."""
    words = [str(archive.folder)] if source == "log" else ["--clicks-topic", "clicks"]
    features = set_to("features.categorical=genre", "features.numeric=price")

    with pytest.raises(
        SettingError, match=r"has no columns of item features \(genre, price\); .* in features.file"
    ):
        CliRunner().invoke(cli, ["fit", *words, *features], catch_exceptions=False)
