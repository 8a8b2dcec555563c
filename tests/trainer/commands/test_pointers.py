"""Which release serves, as a person sees and decides it on the command line; at a desk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from tests.builders import ITEMS, successor_release_parts
from tests.trainer.builders import set_to
from trainer.commands.cli import cli
from trainer.evaluation.report.causes import MIN_SESSIONS
from trainer.release.folder import write_folder
from worker.core.manifest import Manifest
from worker.core.quality import Tally
from worker.core.release import Pointer, parse_pointer
from worker.errors import ReleaseRefused, TopicError
from worker.kafka.memory import MemoryCluster
from worker.topics.needs import COMPACTED
from worker.topics.quality import Report
from worker.topics.releases import CANDIDATE, CHAMPION, publish

RELEASES, QUALITY = "releases", "quality"
WITH_QUALITY = set_to(f"topics.quality={QUALITY}")
PARTS = successor_release_parts(ITEMS)


@pytest.fixture
def cluster() -> MemoryCluster:
    """Return a cluster on which release 1 is champion, release 2 the candidate of a fifth of the users."""
    cluster = MemoryCluster()
    cluster.create(RELEASES, settings=COMPACTED)
    cluster.create(QUALITY)
    publish(cluster.connect(), RELEASES, *PARTS)
    publish(cluster.connect(), RELEASES, *PARTS, pointer=CANDIDATE, share=0.2)
    return cluster


def measured(recall: float) -> tuple[Manifest, bytes]:
    """Return a release with this Recall@20."""
    manifest, blob = PARTS
    return replace(manifest, metrics={"recall_at_20": recall}), blob


def said(cluster: MemoryCluster, *words: str) -> str:
    """Return what a command prints."""
    where = ["--kafka", "memory:9092", "--releases-topic", RELEASES]
    runner = CliRunner()
    return runner.invoke(cli, [*words, *where], obj=cluster.connect(), catch_exceptions=False).stdout


def named(cluster: MemoryCluster) -> tuple[int | None, int | None]:
    """Return the releases that are champion and candidate."""
    held = {record.key: record.value for record in cluster.read(RELEASES)}
    values = [held.get(name.encode()) for name in (CHAMPION, CANDIDATE)]
    champion, candidate = (value and parse_pointer(value).release for value in values)
    return champion or None, candidate or None


def test_a_candidate_becomes_champion_and_back(cluster: MemoryCluster) -> None:
    """`promote` moves the pointers together; `rollback` returns to the one before."""
    assert "release 2 is @champion" in said(cluster, "promote")
    assert named(cluster) == (2, None)
    assert "release 1 is @champion" in said(cluster, "rollback")
    assert named(cluster) == (1, None)


def test_rollback_walks_back_and_never_forth(cluster: MemoryCluster) -> None:
    """Twice leads to the one before that; then there is none, and --to names the others."""
    for _ in range(2):
        publish(cluster.connect(), RELEASES, *PARTS)

    assert "release 3 is @champion in releases again, replacing release 4; the next" in said(
        cluster, "rollback"
    )
    said(cluster, "rollback")
    assert named(cluster) == (1, 2)
    with pytest.raises(
        ReleaseRefused,
        match=r"no release was @champion before release 1; name one of the releases 2, 3, 4 with --to",
    ):
        said(cluster, "rollback")

    said(cluster, "rollback", "--to", "4")
    assert named(cluster) == (4, 2)
    said(cluster, "rollback")
    assert named(cluster) == (1, 2)
    with pytest.raises(ReleaseRefused, match="there is no release 9"):
        said(cluster, "rollback", "--to", "9")


def test_rollback_names_releases_that_retention_deleted(cluster: MemoryCluster) -> None:
    """It passes over those that are no longer there; where all are gone it says so."""
    for _ in range(6):
        publish(cluster.connect(), RELEASES, *PARTS, pointer=CANDIDATE)
    champion = Pointer(8, None, 3, (2, 6, 1))
    cluster.produce(RELEASES, champion.value(), key=CHAMPION.encode())

    assert said(cluster, "rollback").splitlines() == [
        "deleted when newer releases were published: release 3, 2",
        (
            "release 6 is @champion in releases again, replacing release 8; "
            "the next rollback returns to release 1"
        ),
    ]
    cluster.produce(RELEASES, Pointer(8, None, 3, (2,)).value(), key=CHAMPION.encode())
    with pytest.raises(
        ReleaseRefused, match=r"published: release 3, 2\); name one of the releases 1, 4, 5, 6, 7 with --to"
    ):
        said(cluster, "rollback")


def test_publish_says_what_it_replaces(cluster: MemoryCluster, tmp_path: Path) -> None:
    """With the figures of both, and how to undo it."""
    write_folder(tmp_path, *measured(0.55))

    assert said(cluster, "publish", str(tmp_path)).splitlines() == [
        "release 3 is @champion in releases, replacing release 1; `nextclick-trainer rollback` undoes it",
        "Recall@20 0.5500; release 1: 0.5000 (each on its own held-out clicks)",
    ]


def test_publish_asks_before_much_worse(cluster: MemoryCluster, tmp_path: Path) -> None:
    """Where nobody can answer it refuses; --yes is the answer. A candidate may be as it is."""
    write_folder(tmp_path, *measured(0.1))

    with pytest.raises(
        ReleaseRefused, match=r"is 0.1000, far below the champion's \(release 1\): 0.5000. Nothing"
    ):
        said(cluster, "publish", str(tmp_path))
    assert named(cluster) == (1, 2)
    assert "release 3 is @candidate" in said(cluster, "publish", str(tmp_path), "--candidate")
    assert "release 4 is @champion" in said(cluster, "publish", str(tmp_path), "--yes")


@pytest.mark.parametrize(("sessions", "asks"), [(1, True), (MIN_SESSIONS - 1, True), (MIN_SESSIONS, False)])
def test_publish_asks_before_what_was_hardly_measured(
    cluster: MemoryCluster, tmp_path: Path, sessions: int, asks: bool
) -> None:
    """However good it was on one session, the champion was measured on more."""
    manifest, blob = measured(1.0)
    write_folder(tmp_path, replace(manifest, training={"comparison": {"sessions": sessions}}), blob)

    if asks:
        with pytest.raises(
            ReleaseRefused, match=rf"was tested on {sessions} sessions?, too few to compare it"
        ):
            said(cluster, "publish", str(tmp_path))
    assert "release 3 is @champion" in said(cluster, "publish", str(tmp_path), *["--yes"] * asks)


@pytest.mark.parametrize("champion", [True, False])
def test_publish_asks_before_what_was_never_measured(
    cluster: MemoryCluster, tmp_path: Path, champion: bool
) -> None:
    """With a champion or without one: nobody knows how good it is. A candidate is measured live."""
    if not champion:
        cluster.produce(RELEASES, None, key=CHAMPION.encode())
    manifest, blob = PARTS
    write_folder(tmp_path, replace(manifest, metrics={}), blob)

    with pytest.raises(
        ReleaseRefused, match=r"has no metrics, because its training held out no .*--yes publish"
    ):
        said(cluster, "publish", str(tmp_path))
    assert named(cluster) == (1 if champion else None, 2)
    assert "release 3 is @candidate" in said(cluster, "publish", str(tmp_path), "--candidate")
    first, second = said(cluster, "publish", str(tmp_path), "--yes").splitlines()
    assert first.startswith("release 4 is @champion")
    assert second == "the release has no metrics: its training held out no clicks"


def test_each_change_is_said_for_machines(cluster: MemoryCluster, tmp_path: Path) -> None:
    """Which releases the pointers name now, and which ones they named before."""

    def facts(*words: str) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(said(cluster, *words, "--json"))
        assert found.pop("topic") == RELEASES
        return found

    write_folder(tmp_path, *measured(0.55))

    assert facts("promote") == {"champion": 2, "candidate": None, "was_champion": 1}
    assert facts("publish", str(tmp_path)) == {
        "release": 3,
        "role": CHAMPION,
        "replaced": 2,
        "champion": 2,
        "metrics": {"recall_at_20": 0.55},
        "champion_metrics": dict(PARTS[0].metrics),
    }
    assert facts("publish", str(tmp_path), "--candidate")["replaced"] is None
    assert facts("rollback") == {
        "champion": 2,
        "candidate": 4,
        "was_champion": 3,
        "before_it": 1,
        "deleted": [],
    }
    assert facts("rollback", "--candidate") == {"champion": 2, "candidate": None, "was_candidate": 4}


@pytest.mark.parametrize("partitions", [1, 4])
def test_publish_refuses_a_topic_of_clicks(tmp_path: Path, partitions: int) -> None:
    """Nothing is sent to it."""
    cluster = MemoryCluster()
    cluster.create(RELEASES, partitions=partitions)
    cluster.produce(RELEASES, b"{}", key=b"ada", partition=partitions - 1)
    write_folder(tmp_path, *PARTS)

    with pytest.raises(TopicError, match="topic releases is not a topic of releases: "):
        said(cluster, "publish", str(tmp_path))
    assert len(cluster.read(RELEASES)) == 1


def test_the_experiment_of_a_candidate_can_be_ended(cluster: MemoryCluster) -> None:
    """The champion serves on; without a candidate there is nothing to promote or to end."""
    assert "release 2 is no longer @candidate" in said(cluster, "rollback", "--candidate")
    assert named(cluster) == (1, None)
    for words in (["promote"], ["rollback", "--candidate"], ["rollback"]):
        with pytest.raises(ReleaseRefused):
            said(cluster, *words)


def test_releases_are_listed_with_what_users_made_of_their_lists(cluster: MemoryCluster) -> None:
    """Sums over all workers, or over those of one group."""
    for group, hits in (("ours", 1), ("theirs", 3)):
        tally = Tally(lists=4, cold=1, clicks=4, hits=hits, reciprocal_ranks=hits / 2)
        report = Report(group, "a", at_ms=0, champion=1, candidate=2, tallies={1: tally})
        cluster.produce(QUALITY, report.value())

    everyone = said(cluster, "releases", *WITH_QUALITY).splitlines()
    ours = said(cluster, "releases", *WITH_QUALITY, "--group", "ours").splitlines()

    live = ["8", "8", "50.00%", "0.2500", "25.00%", "0.00%", "0.0000"]
    assert everyone[1].split() == ["1", "@champion", *live]
    assert everyone[2].split() == ["2", "@candidate", "0", "0", *["-"] * 5]
    assert ours[1].split()[4] == "25.00%"
    assert "Lists for old clicks" in ours[3] + ours[4]


def test_releases_are_listed_for_machines(cluster: MemoryCluster) -> None:
    """With counts instead of shares, so that anyone can add them."""
    tally = Tally(lists=4, cold=1, clicks=4, hits=3, reciprocal_ranks=1.5)
    report = Report("ours", "a", at_ms=0, champion=1, candidate=2, tallies={1: tally})
    cluster.produce(QUALITY, report.value())

    found = orjson.loads(said(cluster, "releases", *WITH_QUALITY, "--json"))

    first, second = found["releases"]
    assert found["topic"] == RELEASES
    assert (first["release"], first["role"], first["hits"], first["fallback_lists"]) == (1, CHAMPION, 3, 1)
    assert (second["role"], second["clicks"]) == (CANDIDATE, 0)


def test_one_look_of_a_watch_says_what_it_sees(cluster: MemoryCluster) -> None:
    """The exit code is 0 whether or not there is anything to decide."""
    watch = ["watch", "--once", *set_to(f"topics.quality={QUALITY}", "watch.give_up_after=0")]

    assert said(cluster, *watch).startswith("release 2 against release 1: undecided, 0 judged clicks")
    said(cluster, "promote")
    assert said(cluster, *watch) == "topic releases has no @candidate: nothing to decide\n"
