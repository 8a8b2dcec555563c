"""A release is verified once in each process on its way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from tests.builders import tiny_release_parts
from tests.trainer.builders import NOW, cyclic_clicks
from trainer.config import FitSettings
from trainer.release.folder import read_folder, write_folder
from trainer.release.package import PackagedRelease
from trainer.training.fit import fit
from worker.core import blob
from worker.core.blob import read
from worker.core.manifest import Golden
from worker.core.ranking import NO_ITEM
from worker.core.release import Release, verify
from worker.core.tables import ServingTables
from worker.errors import ReleaseRefused

SETTINGS = FitSettings.of(hidden_size=8, epochs=2, batch_clicks=64, top=1)


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Count the calls of `verify`, and the releases that are made, as the interpreter sees them."""
    names = {verify.__code__: "verified", Release.__init__.__code__: "made"}
    counts = dict.fromkeys(names.values(), 0)

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code in names:
            counts[names[frame.f_code]] += 1

    sys.setprofile(watch)
    try:
        yield counts
    finally:
        sys.setprofile(None)


@pytest.mark.slow  # trains, with each call of a function watched
def test_a_release_is_verified_once_by_whoever_makes_or_reads_it(tmp_path: Path) -> None:
    """By `fit`, however many epochs it validates, and by the reader of the folder; by no other."""
    with counted() as fitting:
        fitted = fit(cyclic_clicks(60), SETTINGS, now=NOW)
        told = fitted.with_training(collected=7)
        write_folder(tmp_path, *told.parts)
    with counted() as reading:
        found = read_folder(tmp_path)
        child = found.with_training(clicks=9).parts

    assert len(fitted.manifest.training["epochs"]) == 2
    assert fitting == reading == {"verified": 1, "made": 1}
    assert found.parts == told.parts
    assert (child[0].training["collected"], child[0].training["clicks"]) == (7, 9)


def test_a_package_of_what_does_not_verify_cannot_be_made() -> None:
    """The release in it comes from its bytes."""
    manifest, blob = tiny_release_parts()

    assert isinstance(PackagedRelease.verified(manifest, blob, number=3).release, ServingTables)
    assert PackagedRelease.verified(manifest, blob, number=3).release.number == 3
    with pytest.raises(ReleaseRefused):
        PackagedRelease.verified(manifest, blob[:-1] + b"x")


@pytest.mark.slow  # trains
@pytest.mark.parametrize("output", ["tied", "separate"])
def test_a_large_release_is_measured_with_the_weights_that_serve(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In half precision: Keras and the worker give the same answers; unrounded weights give others."""
    settings = SETTINGS.replaced(output_table=output)
    exact = fit(cyclic_clicks(60), settings, now=NOW)
    monkeypatch.setattr(blob, "EXACT_NUMBERS", 10)
    halved = fit(cyclic_clicks(60), settings, now=NOW)
    tables = {"embedding", "output"} & read(exact.blob).keys()

    def error(one: PackagedRelease, golden: Golden) -> float:
        """How far the worker's state and scores are from a golden answer."""
        release = one.release
        state = np.zeros((1, release.state_size), np.float32)
        for index in release.catalogue.indexes(golden.items):
            state = release.step(release.inputs(index[None]), state)
        clicked = release.catalogue.indexes(golden.items[::-1])
        recent, own = (
            np.append(clicked, np.full(20, NO_ITEM))[None, :count].astype(np.int32)
            for count in (release.recent_needed, release.own_needed)
        )
        scores = release.rank(state, len(golden.top), recent=recent, own=own).scores[0]
        return float(max(np.abs(state[0] - golden.hidden).max(), np.abs(scores - golden.scores).max()))

    assert all(read(halved.blob)[name].dtype == np.float16 for name in tables)
    same, other = (max(error(one, golden) for golden in halved.manifest.golden) for one in (halved, exact))
    assert same < other / 4
