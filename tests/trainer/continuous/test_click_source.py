from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.trainer.builders import MINUTE_MS, START_MS
from tests.trainer.desk import CLICKS, TrainerDesk
from trainer.clicks.archive import ClickArchive
from trainer.config import Run
from trainer.console import Lines, Progress
from trainer.continuous.click_source import ClickSource
from trainer.errors import TooFewClicks
from worker.core.event import Decoder, Fields

HOURLY = Run(every=3600, window=86400)
NOW_MS = START_MS + 10_000 * MINUTE_MS


@pytest.fixture
def source(desk: TrainerDesk, tmp_path: Path) -> ClickSource:
    """Return the clicks of the desk, with an archive that is empty."""
    archive = ClickArchive(tmp_path / "archive")
    decoder = Decoder(Fields("user", "item"))
    return ClickSource(connection=desk.cluster.connect(), topic=CLICKS, decoder=decoder, archive=archive)


def test_the_archive_is_brought_up_to_the_end_of_the_topic(desk: TrainerDesk, source: ClickSource) -> None:
    """Each click is collected once, however often that is done."""
    desk.send(4)
    assert source.collect(Progress()) == {0: 10, 1: 10}
    desk.send(2)
    assert [source.collect(Progress()) for _ in range(2)] == [{0: 15, 1: 15}] * 2

    clicks, _ = source.newest(HOURLY, NOW_MS)

    minutes = (clicks.collect()["timestamp_ms"].sort() - START_MS) // MINUTE_MS
    assert minutes.to_list() == list(range(30))


def test_what_another_process_collects_is_used_as_it_is(desk: TrainerDesk, source: ClickSource) -> None:
    """The run goes on with the clicks that are there."""
    lines: list[str] = []
    desk.send(4)
    source.collect(Progress())
    desk.send(4)

    with source.archive.writing(CLICKS):
        assert source.collect(Lines(lines.append)) == {0: 10, 1: 10}

    assert lines[-1].endswith("using the archive as it is")


def test_the_window_ends_with_the_newest_click(desk: TrainerDesk, source: ClickSource) -> None:
    """Clicks from the future do not move it; where all are from there, there is nothing to learn."""
    desk.send(400)
    source.collect(Progress())
    clicks, window = source.newest(HOURLY, START_MS + 1_800 * MINUTE_MS)

    times = clicks.select(pl.col("timestamp_ms").min().alias("a"), pl.col("timestamp_ms").max().alias("b"))
    assert window.end_ms == START_MS + 1_800 * MINUTE_MS
    assert window.split_at_ms == window.end_ms - 60 * MINUTE_MS
    assert times.collect().rows() == [(window.begin_ms, window.end_ms)]
    with pytest.raises(TooFewClicks, match="in the future"):
        source.newest(HOURLY, START_MS - 1)
