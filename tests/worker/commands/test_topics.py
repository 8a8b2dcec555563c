"""`topics` creates what is missing, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.worker.conftest import Command
from tests.worker.desk import GROUP
from tests.worker.schemas.served import Served, serving
from tests.worker.topics.test_rights import all_of, named
from worker.__main__ import main
from worker.config import Settings
from worker.kafka.memory import MemoryCluster, MemoryConnection, Right
from worker.topics import needs, rights
from worker.wiring import topics_needed

Run = Callable[..., tuple[int, str]]

TOPICS = ("clicks", "recommendations", "clicks.dead-letter", "nextclick.releases", "desk.state")


def partitions(cluster: MemoryCluster) -> list[int]:
    """How many partitions each topic has."""
    return [one.partitions for one in cluster.connect().admin().describe(TOPICS).values()]


def test_missing_topics_are_created_with_the_settings_that_they_need(command: Command) -> None:
    """State and releases are compacted: nothing in them is lost with time."""
    cluster = MemoryCluster()

    code, text = command(cluster, "topics", "--create-clicks", "--partitions", "3")

    assert code == 0
    assert "topic desk.state created with 3 partitions" in text
    assert partitions(cluster) == [3, 3, 1, 1, 3]
    for topic in ("desk.state", "nextclick.releases"):
        assert cluster.connect().admin().settings(topic)["cleanup.policy"] == "compact"


def test_topics_that_are_there_stay_as_they_are(command: Command) -> None:
    """Those alone grow that have fewer partitions than the clicks."""
    cluster = MemoryCluster()
    command(cluster, "topics", "--create-clicks", "--partitions", "3")
    cluster.add_partitions("clicks", 4)

    code, text = command(cluster, "topics")

    assert code == 0
    assert "topic clicks exists with 4 partitions" in text
    assert "topic desk.state has 4 partitions now; it had 3" in text
    assert partitions(cluster) == [4, 4, 1, 1, 4]


def test_it_returns_when_the_topics_can_be_used(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka answers before there are leaders; who starts a worker next need not know that."""
    monkeypatch.setattr(needs, "TRY_SECONDS", 0.0)
    cluster = MemoryCluster()
    cluster.elect_late(3)

    code, _ = command(cluster, "topics", "--create-clicks")

    assert code == 0
    described = cluster.connect().admin().describe(TOPICS)
    assert all(one.led for one in described.values())


def test_it_says_which_topic_cannot_be_used(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while; the topics are created all the same."""
    monkeypatch.setattr(needs, "TRY_SECONDS", 0.0)
    cluster = MemoryCluster()
    cluster.elect_late(1_000)

    code, text = command(cluster, "topics", "--create-clicks")

    assert code == 2
    assert "topic clicks created" in text
    assert "topic clicks has a partition without a leader" in text
    assert "check that all brokers are up" in text


def test_the_clicks_are_not_created_unasked(command: Command) -> None:
    """A wrong name is no reason for a new topic; nor are the others made, whose partitions follow it."""
    cluster = MemoryCluster()

    code, text = command(cluster, "topics")

    assert code == 2
    assert "the clicks topic clicks does not exist, or access to it is denied" in text
    assert "or create the topic with --create-clicks" in text
    assert partitions(cluster) == [0] * 5


def framed_lists(served: Served, format: str = "avro") -> list[str]:
    """The options with which lists are framed."""
    return ["--set", f"registry.url={served.url}", "--set", f"recommend.format={format}"]


@pytest.mark.parametrize(("format", "kind"), [("avro", "AVRO"), ("json_schema", "JSON")])
def test_the_schema_of_the_lists_is_registered(command: Command, format: str, kind: str) -> None:
    """Under the topic's name; once."""
    with serving() as served:
        for _ in range(2):
            code, text = command(MemoryCluster(), "topics", "--create-clicks", *framed_lists(served, format))

            assert code == 0
            assert "schema of recommendations-value is registered, id 1" in text
        assert [one.kind for one in served.registry.subjects["recommendations-value"]] == [kind]


def test_without_a_framed_format_no_schema_is_registered(command: Command) -> None:
    """The registry is for reading then."""
    with serving() as served:
        code, text = command(MemoryCluster(), "topics", "--create-clicks", *framed_lists(served, "json"))

        assert code == 0
        assert "schema" not in text
        assert served.asked == []


def test_a_schema_that_is_refused_is_said(command: Command) -> None:
    """With the registry's own words."""
    with serving() as served:
        served.registry.closed.add("recommendations-value")
        code, text = command(MemoryCluster(), "topics", "--create-clicks", *framed_lists(served))

    assert code == 2
    assert "refuses the schema: 409" in text


@pytest.fixture
def run_topics(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `topics` over a connection; exit code and all that it wrote."""
    monkeypatch.setenv("NEXTCLICK_GROUP", GROUP)

    def run(connection: MemoryConnection, *arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["topics", *arguments], connection=connection)
        return int(ended.value.code or 0), "".join(capsys.readouterr())

    return run


ADMIN = rights.admin(topics_needed(Settings(group=GROUP, worker_id="a")))


def of_admin(*, without: str = "") -> list[Right]:
    """The rights of the admin, but for one: "clicks CREATE"."""
    return [one for one in all_of(ADMIN) if f"{one.name} {one.operation}" != without]


def test_the_admin_needs_no_right_but_those_of_the_role(run_topics: Run) -> None:
    """To create topics, to let them grow with the clicks, and to compare their settings."""
    cluster = MemoryCluster()
    admin = cluster.connect(of_admin())
    created = run_topics(admin, "--create-clicks", "--partitions", "3")
    cluster.add_partitions("clicks", 4)
    grown = run_topics(admin)

    assert (created[0], grown[0]) == (0, 0)
    assert partitions(cluster) == [4, 4, 1, 1, 4]
    assert "unknown" not in grown[1]


@pytest.mark.parametrize("lost", named(ADMIN))
def test_without_any_of_them_the_topics_are_not_as_they_must_be(run_topics: Run, lost: str) -> None:
    """The command fails; or, for settings, says that they are unknown."""
    cluster = MemoryCluster()
    admin = cluster.connect(of_admin(without=lost))
    code, text = run_topics(admin, "--create-clicks", "--partitions", "3")
    if code == 0:
        cluster.add_partitions("clicks", 4)
        code, text = run_topics(admin)

    assert (code, "are unknown: reading them requires" in text) == (
        (0, True) if "CONFIGS" in lost else (2, False)
    )


def test_settings_of_topics_that_somebody_else_created_are_compared(run_topics: Run) -> None:
    """With what must change; without the right to read them, that is said."""
    cluster = MemoryCluster()
    cluster.create("desk.state", partitions=4)
    code, text = run_topics(cluster.connect(of_admin()), "--create-clicks")
    _, blind = run_topics(cluster.connect(of_admin(without="desk.state DESCRIBE_CONFIGS")))

    assert code == 0
    assert "topic desk.state: cleanup.policy is delete. Set it to compact" in text
    assert "the settings of desk.state are unknown" in blind
