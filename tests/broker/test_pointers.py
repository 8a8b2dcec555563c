"""Which release serves, as a person sees and decides it on the command line; on a real Kafka."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.broker.deployment import Deployment
from tests.builders import ITEMS, successor_release_parts
from trainer.commands.cli import cli
from trainer.release.folder import read_folder
from worker.core.quality import Tally
from worker.errors import ReleaseRefused
from worker.kafka.connection import KafkaConnection
from worker.topics.quality import QualityWriter
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader, publish


def test_a_candidate_becomes_champion_and_back(deployment: Deployment) -> None:
    """`promote` moves the pointers together; `rollback` returns to the one before, and back."""
    parts = successor_release_parts(ITEMS)
    connection = KafkaConnection(deployment.bootstrap)
    publish(connection, deployment.releases, *parts)
    publish(connection, deployment.releases, *parts, pointer=CANDIDATE, share=0.2)

    assert "release 2 is @champion" in _said(deployment, "promote")
    assert named(deployment) == (2, None)
    assert "release 1 is @champion" in _said(deployment, "rollback")
    assert named(deployment) == (1, None)
    assert "release 2 is @champion" in _said(deployment, "rollback")


def test_the_trial_of_a_candidate_can_be_ended(deployment: Deployment) -> None:
    """The champion serves on; without a candidate there is nothing to promote or to end."""
    parts = successor_release_parts(ITEMS)
    connection = KafkaConnection(deployment.bootstrap)
    publish(connection, deployment.releases, *parts)
    publish(connection, deployment.releases, *parts, pointer=CANDIDATE)

    assert "release 2 is no longer @candidate" in _said(deployment, "rollback", "--candidate")
    assert named(deployment) == (1, None)
    for words in (["promote"], ["rollback", "--candidate"], ["rollback"]):
        with pytest.raises(ReleaseRefused):
            _said(deployment, *words)


def test_releases_are_listed_with_what_users_made_of_their_lists(deployment: Deployment) -> None:
    """Sums over all workers, or over those of one group."""
    parts = successor_release_parts(ITEMS)
    connection, quality = KafkaConnection(deployment.bootstrap), deployment.quality
    publish(connection, deployment.releases, *parts)
    publish(connection, deployment.releases, *parts, pointer=CANDIDATE)
    transactions = connection.transactions(f"{quality}.test", timeout_ms=10_000)
    transactions.renew()
    for group, hits in (("ours", 1), ("theirs", 3)):
        tally = Tally(lists=4, cold=1, clicks=4, hits=hits, reciprocal_ranks=hits / 2)
        writer = QualityWriter(transactions, topic=quality, group=group, worker_id="a")
        writer.publish({1: tally}, champion=1, candidate=2, now_ms=0)
    transactions.commit(deployment.clicks, {}, None, seconds=10)
    transactions.drop()

    everyone = _said(deployment, "releases", "--quality", quality).splitlines()
    ours = _said(deployment, "releases", "--quality", quality, "--group", "ours").splitlines()

    assert everyone[1].split() == [
        "1",
        "@champion",
        "8",
        "8",
        "50.00%",
        "0.2500",
        "25.00%",
        "0.00%",
        "0.0000",
    ]
    assert everyone[2].split() == ["2", "@candidate", "0", "0", *["-"] * 5]
    assert ours[1].split()[4] == "25.00%"


def test_a_published_release_comes_back_into_a_folder(deployment: Deployment, tmp_path: Path) -> None:
    """The champion, the candidate or one by its number, in place of what was there; whole or not at all."""
    connection, topic = KafkaConnection(deployment.bootstrap), deployment.releases
    parts = [successor_release_parts(ITEMS[:count]) for count in (4, 5, 6)]
    output = str(tmp_path / "release")
    with pytest.raises(ReleaseRefused, match=f"topic {topic} has no @champion"):
        _said(deployment, "fetch", "-o", output)
    for one in parts[:2]:
        publish(connection, topic, *one)
    publish(connection, topic, *parts[2], pointer=CANDIDATE)

    for words, number in (([], 2), (["--candidate"], 3), (["--number", "1"], 1)):
        said = _said(deployment, "fetch", "-o", output, *words)
        assert said == f"release {number} written to {output}: {number + 3} items, 0.0 MB\n"
        assert read_folder(tmp_path / "release").parts == parts[number - 1]

    publish(connection, topic, replace(parts[1][0], sha256="0" * 64), parts[1][1])
    with pytest.raises(ReleaseRefused, match=f"there is no release 9 in topic {topic}"):
        _said(deployment, "fetch", "-o", output, "--number", "9")
    with pytest.raises(ReleaseRefused, match=f"release 4 in topic {topic} is broken: the blob has SHA-256"):
        _said(deployment, "fetch", "-o", output)
    assert read_folder(tmp_path / "release").parts == parts[0]


def _said(deployment: Deployment, *words: str) -> str:
    where = ["--kafka", deployment.bootstrap, "--topic", deployment.releases]
    return CliRunner().invoke(cli, [*words, *where], catch_exceptions=False).stdout


def named(deployment: Deployment) -> tuple[int | None, int | None]:
    """The releases that are champion and candidate."""
    with ReleaseReader(KafkaConnection(deployment.bootstrap), topic=deployment.releases).opened() as reader:
        reader.read()
        champion, candidate = reader.pointer(CHAMPION), reader.pointer(CANDIDATE)
    return champion and champion.release, candidate and candidate.release
