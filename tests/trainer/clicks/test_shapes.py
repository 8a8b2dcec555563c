"""The law of shapes: the same clicks in any file are the same sessions and the same catalogue."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.thousand_clicks import ROWS
from tests.trainer.shapes import REFUSED, SHAPES, Refused, Shape
from trainer.clicks.columns import Scan
from trainer.clicks.files import scan_files
from trainer.commands.options import columns_of, rules_of
from trainer.config import FitSettings, TrainerSettings
from trainer.console import Progress
from trainer.dataset.dataset import Data
from trainer.dataset.prepare import prepare
from trainer.errors import UnusableClicks
from worker.settings.loading import load

NOW = datetime(2026, 11, 1, tzinfo=UTC)
"""After the thousand clicks."""


def scanned(path: Path, settings: tuple[str, ...] = (), now: datetime = NOW) -> Scan:
    """Return the clicks in a file as the commands read them."""
    pairs = [(key, value) for key, _, value in (one.partition("=") for one in settings)]
    chosen = load(TrainerSettings, None, {}, pairs)
    return scan_files([path], columns_of(chosen), rules_of(chosen, now))


def prepared(scan: Scan) -> Data:
    """Return the sessions that a training would get."""
    return prepare(scan.clicks, FitSettings(), Progress(), NOW)


@cache
def plain() -> Data:
    """Return the sessions of the clicks in a plain file."""
    with tempfile.TemporaryDirectory() as folder:
        return prepared(scanned(SHAPES[0].write(Path(folder))))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_shape_gives_the_same_clicks(tmp_path: Path, shape: Shape) -> None:
    """And so the same sessions, in training, validation and test, and the same catalogue."""
    scan = scanned(shape.write(tmp_path), shape.settings)
    clicks = scan.clicks.collect()
    data, expected = prepared(scan), plain()

    kept = clicks.drop_nulls(["user_id", "item_id", "timestamp_ms"]).select(
        "user_id", "item_id", "timestamp_ms"
    )
    assert sorted(kept.rows()) == sorted((shape.rename(user), item, time) for user, item, time in ROWS)
    assert data.catalogue.ids(np.arange(25)).tolist() == expected.catalogue.ids(np.arange(25)).tolist()
    for part in ("train", "validation", "test"):
        mine, theirs = getattr(data, part), getattr(expected, part)
        for name in ("items", "starts", "scored", "times_ms"):
            assert np.array_equal(getattr(mine, name), getattr(theirs, name)), (part, name)


@pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: refused.name)
def test_a_file_that_cannot_be_read_is_refused_with_one_sentence(tmp_path: Path, refused: Refused) -> None:
    """It names the file, what is wrong and what to do, in our words."""
    with pytest.raises(UnusableClicks) as error:
        scanned(
            refused.write(tmp_path),
            refused.settings,
            datetime(2021, 1, 1, tzinfo=UTC) if "future" in refused.name else NOW,
        )

    said = str(error.value)
    assert refused.says in said
    assert str(tmp_path) in said
    assert "\n" not in said
    for word in ("polars", "dtype", "Utf8", "Series", "expression", "cast"):
        assert word not in said
