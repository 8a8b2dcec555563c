"""`check` says what would keep a worker from running."""

from __future__ import annotations

from tests.worker.commands.conftest import Command
from worker.kafka.memory import MemoryCluster


def test_check_fails_until_topics_has_run(command: Command) -> None:
    """Each missing topic is a line with what to do; then all is well, and the ACLs are named."""
    cluster = MemoryCluster()

    before, missing = command(cluster, "check")
    command(cluster, "topics")
    after, text = command(cluster, "check")

    assert (before, after) == (1, 0)
    assert missing.count("does not exist. Run `nextclick-worker topics`") == 6
    assert "FAIL" not in text
    assert "ok    settings: group desk, worker_id a" in text
    assert "ok    brokers: memory answers" in text
    assert "cleanup.policy is compact" in text
    assert "ok    transactional id desk.a.check: transactions work" in text
    assert "--group desk --operation Read" in text
    assert "--transactional-id desk. --resource-pattern-type prefixed" in text


def test_too_few_partitions_fail(command: Command) -> None:
    """As where the clicks grew after the others were made."""
    cluster = MemoryCluster()
    command(cluster, "topics")
    cluster.add_partitions("clicks", 6)

    code, text = command(cluster, "check")

    assert code == 1
    assert "FAIL  topic recommendations has 4 partitions, it needs 6" in text


def test_the_settings_of_topics_are_looked_at(command: Command) -> None:
    """A state topic that is not compacted would lose states with time; one that is, seldom, reads slowly."""
    cluster = MemoryCluster()
    cluster.create("desk.state", partitions=4)
    command(cluster, "topics")

    code, text = command(cluster, "check")

    assert code == 1
    assert "cleanup.policy is delete. Set it to compact: otherwise retention deletes what the topic" in text
    assert "min.cleanable.dirty.ratio is 0.5. Set it to 0.1" in text
    assert "max.compaction.lag.ms is 9223372036854775807. Set it to 3600000" in text


def test_no_broker_is_said(command: Command) -> None:
    """With the address that was tried, and the setting that holds it."""
    cluster = MemoryCluster()
    cluster.down()

    code, text = command(cluster, "check")

    assert code == 2
    assert "Is a broker running at memory (kafka.bootstrap_servers)?" in text


def test_a_running_worker_is_not_fenced(command: Command) -> None:
    """The check uses a transactional id of its own."""
    cluster = MemoryCluster()
    command(cluster, "topics")
    transactions = cluster.connect().transactions("desk.a", timeout_ms=10_000)
    transactions.renew()
    transactions.send("clicks", 0, key=None, value=b"a click")

    command(cluster, "check")
    transactions.commit("clicks", {}, "desk", seconds=1)

    assert len(cluster.read("clicks")) == 1
