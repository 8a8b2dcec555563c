"""A release is verified once in each process on its way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.builders import tiny_release_parts
from tests.trainer.builders import NOW, cyclic_clicks
from trainer.config import FitSettings
from trainer.release.folder import read_folder, write_folder
from trainer.release.package import PackagedRelease
from trainer.training.fit import fit
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
