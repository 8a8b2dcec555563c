"""A published release comes back into a folder; at a desk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from tests.builders import ITEMS, successor_release_parts
from tests.trainer.commands.test_pointers import RELEASES, said
from trainer.commands.cli import cli
from trainer.release.folder import read_folder
from worker.errors import ReleaseRefused
from worker.kafka.memory import MemoryCluster
from worker.topics.releases import CANDIDATE, publish

PARTS = [successor_release_parts(ITEMS[:count]) for count in (4, 5, 6)]


@pytest.fixture
def cluster() -> MemoryCluster:
    """Return a cluster on which release 2 is champion and release 3 candidate."""
    cluster = MemoryCluster()
    cluster.create(RELEASES)
    for one in PARTS[:2]:
        publish(cluster.connect(), RELEASES, *one)
    publish(cluster.connect(), RELEASES, *PARTS[2], pointer=CANDIDATE)
    return cluster


@pytest.mark.parametrize(("words", "number"), [([], 2), (["--candidate"], 3), (["--number", "1"], 1)])
def test_a_release_comes_back_as_it_was(
    cluster: MemoryCluster, tmp_path: Path, words: list[str], number: int
) -> None:
    """The champion, the candidate or one by its number, in place of what was there."""
    output = str(tmp_path / "release")
    said(cluster, "fetch", "-o", output, "--number", "2")

    line = said(cluster, "fetch", "-o", output, *words)

    assert line == f"release {number} written to {output}: {number + 3} items, 0.0 MB\n"
    assert read_folder(tmp_path / "release").parts == PARTS[number - 1]


def test_the_release_is_described_for_machines(cluster: MemoryCluster, tmp_path: Path) -> None:
    """Its number, its folder and what it measures."""
    output = str(tmp_path / "release")

    found = orjson.loads(said(cluster, "fetch", "-o", output, "--json"))

    assert found == {
        "release": 2,
        "folder": output,
        "items": 5,
        "size_bytes": PARTS[1][0].size_bytes,
        "metrics": dict(PARTS[1][0].metrics),
        "test_clicks": None,
        "comparison": None,
    }


def test_nothing_is_written_where_there_is_no_release(cluster: MemoryCluster, tmp_path: Path) -> None:
    """No pointer, no such number, or one that is broken."""
    output = str(tmp_path / "release")
    said(cluster, "fetch", "-o", output, "--number", "1")
    cluster.produce(RELEASES, None, key=b"@candidate")
    manifest, blob = PARTS[1]
    publish(cluster.connect(), RELEASES, replace(manifest, sha256="0" * 64), blob)

    with pytest.raises(ReleaseRefused, match=f"topic {RELEASES} has no @candidate"):
        said(cluster, "fetch", "-o", output, "--candidate")
    with pytest.raises(ReleaseRefused, match=f"there is no release 9 in topic {RELEASES}"):
        said(cluster, "fetch", "-o", output, "--number", "9")
    with pytest.raises(
        ReleaseRefused, match=f"release 4 in topic {RELEASES} is invalid: the blob has SHA-256"
    ):
        said(cluster, "fetch", "-o", output)
    assert read_folder(tmp_path / "release").parts == PARTS[0]


def test_one_release_is_fetched_at_a_time() -> None:
    """A number and a pointer each name one."""
    done = CliRunner().invoke(cli, ["fetch", "-o", "x", "--number", "3", "--candidate"])

    assert done.exit_code == 2
    assert "give only one of them" in done.output
