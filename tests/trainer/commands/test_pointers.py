"""Which release serves, as a person sees and decides it on the command line; at a desk."""

from __future__ import annotations

import orjson
import pytest
from click.testing import CliRunner

from tests.builders import ITEMS, successor_release_parts
from tests.trainer.builders import set_to
from trainer.commands.cli import cli
from worker.core.quality import Tally
from worker.core.release import parse_pointer
from worker.errors import ReleaseRefused
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
    """`promote` moves the pointers together; `rollback` returns to the one before, and back."""
    assert "release 2 is @champion" in said(cluster, "promote")
    assert named(cluster) == (2, None)
    assert "release 1 is @champion" in said(cluster, "rollback")
    assert named(cluster) == (1, None)
    assert "release 2 is @champion" in said(cluster, "rollback")


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
