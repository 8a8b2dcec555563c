from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import tiny_release_parts
from trainer.release.folder import read_folder, write_folder
from worker.errors import ReleaseRefused


def test_a_folder_gives_back_what_was_written(tmp_path: Path) -> None:
    """Also where another release stood before."""
    first, second = tiny_release_parts(seed=1), tiny_release_parts(seed=2)

    write_folder(tmp_path / "deep" / "release", *first)
    write_folder(tmp_path / "deep" / "release", *second)

    assert read_folder(tmp_path / "deep" / "release").parts == second


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    """Weights that are not those of the manifest are found before they are sent anywhere."""
    write_folder(tmp_path, *tiny_release_parts())
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")

    with pytest.raises(ReleaseRefused) as refused:
        read_folder(tmp_path)

    assert refused.value.reason == "checksum"


def test_a_folder_without_a_release_is_said_so(tmp_path: Path) -> None:
    """The error names the folder and the file that is not there."""
    with pytest.raises(ReleaseRefused, match=r"is not a release folder: it has no manifest\.json"):
        read_folder(tmp_path)
