from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.trainer.builders import START_MS
from trainer.clicks.archive import ARCHIVE_SCHEMA, ClickArchive, is_archive, scan_archive
from trainer.errors import ArchiveInUse, UnreadableFile, UnusableClicks
from worker.errors import SettingError


def clicks(first: int, items: str, recorded_ms: int = START_MS) -> pl.DataFrame:
    """Clicks of one user on these items, at offsets from `first` on."""
    rows = [(first + at, "a", item, START_MS - at, recorded_ms) for at, item in enumerate(items)]
    return pl.DataFrame(rows, schema=ARCHIVE_SCHEMA, orient="row")


@pytest.fixture
def archive(tmp_path: Path) -> ClickArchive:
    """An empty archive of the topic `clicks`."""
    archive = ClickArchive(tmp_path / "log")
    with archive.writing("clicks"):
        return archive


def test_names_say_where_to_go_on(archive: ClickArchive) -> None:
    """Also beyond offsets that were no clicks."""
    archive.append(0, 0, 4, clicks(1, "xyz"), {"malformed": 1})
    archive.append(0, 4, 9, clicks(4, ""), {"malformed": 4, "empty_id": 1})
    archive.append(11, 7, 8, clicks(7, "z"), {})

    assert archive.ends() == {0: 9, 11: 8}
    assert [(one.partition, one.begin, one.end) for one in archive.stretches()] == [
        (0, 0, 4),
        (0, 4, 9),
        (11, 7, 8),
    ]


def test_clicks_are_read_in_the_order_of_arrival(archive: ClickArchive) -> None:
    """By offset, not by time; what was no click is counted by reason."""
    archive.append(0, 2, 4, clicks(2, "zx"), {"empty_id": 1})
    archive.append(0, 0, 2, clicks(0, "xy"), {"malformed": 1, "empty_id": 1})

    scan, removals = scan_archive(archive.folder)

    assert is_archive(archive.folder)
    assert scan.clicks.collect()["item_id"].to_list() == list("xyzx")
    assert [str(one) for one in removals] == [
        "removed 2 of 7 records: not a click (empty_id)",
        "removed 1 of 5 records: not a click (malformed)",
    ]


def test_what_was_left_half_done_is_no_part_of_it(archive: ClickArchive) -> None:
    """A file that was not renamed is taken away by the next who writes, and never read."""
    archive.append(0, 0, 1, clicks(0, "x"), {})
    unfinished = archive.folder / "partition=0" / ".00000000000000000001-00000000000000000002.parquet"
    unfinished.write_bytes(b"PAR1 and no more")

    assert archive.ends() == {0: 1}
    with archive.writing("clicks"):
        assert not unfinished.exists()


def test_old_files_are_forgotten_and_the_place_is_not(archive: ClickArchive) -> None:
    """Whole files by their newest record; a partition's last stays as an empty one."""
    archive.append(0, 0, 1, clicks(0, "x", START_MS - 2), {})
    archive.append(0, 1, 3, clicks(1, "yz", START_MS), {})
    archive.append(1, 0, 2, clicks(0, "xy", START_MS - 1), {})

    gone = archive.forget_before(START_MS)

    assert gone == 3
    assert archive.ends() == {0: 3, 1: 2}
    assert scan_archive(archive.folder)[0].clicks.collect()["item_id"].to_list() == ["y", "z"]
    assert archive.forget_before(START_MS) == 0


def test_the_name_of_a_folder_is_not_a_pattern(tmp_path: Path) -> None:
    """A bracket in it stands for itself, in reading and in deleting."""
    mine, other = ClickArchive(tmp_path / "log[1]"), ClickArchive(tmp_path / "log1")
    for archive, item, time in ((mine, "x", START_MS - 1), (other, "y", START_MS)):
        with archive.writing("clicks"):
            archive.append(0, 0, 1, clicks(0, item, time), {})

    assert scan_archive(mine.folder)[0].clicks.collect()["item_id"].to_list() == ["x"]
    assert mine.forget_before(START_MS) == 1
    assert other.forget_before(START_MS) == 0


def test_one_topic_and_one_writer(archive: ClickArchive) -> None:
    """A second writer is refused while the first writes, and another topic always."""
    with (
        archive.writing("clicks"),
        pytest.raises(ArchiveInUse, match="another process is collecting into this folder"),
        ClickArchive(archive.folder).writing("clicks"),
    ):
        pass
    with (
        pytest.raises(SettingError, match="an archive of the topic clicks, not of others"),
        archive.writing("others"),
    ):
        pass


def test_a_log_without_clicks_is_refused(archive: ClickArchive) -> None:
    """The reasons are named."""
    archive.append(0, 0, 1, clicks(0, ""), {"empty_id": 1})

    with pytest.raises(UnusableClicks, match=r"no clicks yet; invalid records by reason: \{'empty_id': 1\}"):
        scan_archive(archive.folder)


def test_a_damaged_file_of_a_log_is_named(archive: ClickArchive) -> None:
    """Instead of what the reader of Parquet has to say alone."""
    archive.append(0, 0, 1, clicks(0, "x"), {})
    archive.stretches()[0].path.write_bytes(b"PAR1 and no more")

    with pytest.raises(UnreadableFile, match=r"00000001\.parquet: it cannot be read as Parquet"):
        scan_archive(archive.folder)
