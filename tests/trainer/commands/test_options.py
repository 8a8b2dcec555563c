from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from tests.trainer.builders import cyclic_clicks
from trainer.clicks.archive import ClickArchive
from trainer.commands.cli import cli
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
    quick = ["--hidden-size", "8", "--epochs", "1", "-o", str(tmp_path / "release")]

    done = CliRunner().invoke(cli, ["fit", str(archive.folder), *quick], catch_exceptions=False)

    assert done.exit_code == 0
    assert done.stderr.startswith(
        "removed 2 of 502 records: no click (empty_id)\nread 500 clicks; user: user_id"
    )


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["log", "more.csv"], [], "log is a click archive, which is read alone: leave the other files out"),
        (["log"], ["--item", "sku", "--time-unit", "s"], "leave out --item, --time-unit"),
        ([], ["--kafka", "localhost:1", "--time-zone", "Europe/Lisbon"], "leave out --time-zone"),
    ],
    ids=["other files", "columns", "zone of a topic"],
)
def test_what_does_not_go_with_a_log_or_a_topic_is_refused(
    archive: ClickArchive, names: list[str], options: list[str], message: str
) -> None:
    """Nothing that was asked for is passed over in silence."""
    files = [str(archive.folder.parent / name) for name in names]

    done = CliRunner().invoke(cli, ["fit", *files, *options])

    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


@pytest.mark.parametrize("source", ["log", "--kafka"])
def test_features_of_items_are_not_in_a_log_or_a_topic(archive: ClickArchive, source: str) -> None:
    """The error says where they come from."""
    words = [str(archive.folder)] if source == "log" else ["--kafka", "localhost:1"]
    features = ["--categorical", "genre", "--numeric", "price"]

    with pytest.raises(SettingError, match=r"has no column genre, price: .* that --item-features names"):
        CliRunner().invoke(cli, ["fit", *words, *features], catch_exceptions=False)
