"""The page knows the release's number and the champion; on a cluster in memory."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from tests.builders import item_names, successor_release_parts
from tests.trainer.builders import CYCLE, cyclic_clicks
from trainer.commands.cli import cli
from trainer.evaluation.report.published import Published
from trainer.release.folder import write_folder
from worker.kafka.memory import MemoryCluster
from worker.topics.releases import CANDIDATE, publish

RELEASES = "releases"
PARTS = [successor_release_parts(item_names(count)) for count in (CYCLE, CYCLE + 1, CYCLE + 2)]


def cluster_with(*pointers: str) -> MemoryCluster:
    """Return a cluster with a release for each pointer, from number 1."""
    cluster = MemoryCluster()
    cluster.create(RELEASES)
    for parts, pointer in zip(PARTS, pointers, strict=False):
        publish(cluster.connect(), RELEASES, *parts, pointer=pointer)
    return cluster


def test_numbers_are_those_of_the_topic() -> None:
    """A release that was never published has none."""
    connection = cluster_with("@champion", CANDIDATE).connect()

    found = [Published.read(connection, RELEASES, parts[0]) for parts in PARTS]

    assert [one.number for one in found] == [1, 2, None]
    assert {(one.champion, one.candidate) for one in found} == {(1, 2)}
    assert found[0].champion_manifest == PARTS[0][0]


def test_an_empty_topic_has_no_champion() -> None:
    """That is no error."""
    found = Published.read(cluster_with().connect(), RELEASES, PARTS[0][0])

    assert found == Published(RELEASES, None, None, None, None)


def test_the_page_names_the_release_and_the_champion(tmp_path: Path) -> None:
    """`report --kafka` reads the topic."""
    cluster, out = cluster_with("@champion", CANDIDATE), tmp_path / "report.html"
    write_folder(tmp_path / "release", *PARTS[1])
    cyclic_clicks(40).write_csv(tmp_path / "clicks.csv")
    words = ["report", tmp_path / "release", tmp_path / "clicks.csv", "-o", out, "--kafka", "memory:9092"]
    words += ["--releases-topic", RELEASES]

    CliRunner().invoke(cli, [*map(str, words)], obj=cluster.connect(), catch_exceptions=False)

    text = out.read_text("utf-8")
    assert "<h1>Release 2" in text
    assert "release 2, the candidate of an A/B test" in text
    assert "<dt>Champion</dt><dd>release 1" in text
