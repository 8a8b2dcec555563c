"""`check` says what would keep a worker from running."""

from __future__ import annotations

import orjson
import pytest

from tests.builders import successor_release_parts
from tests.worker.conftest import Command
from worker.kafka.memory import MemoryCluster
from worker.topics.releases import publish

GOOD = b'{"user_id": "ada", "item_id": "item-3", "timestamp": 1700000000000}'


def test_check_fails_until_topics_has_run(command: Command) -> None:
    """All missing topics are a line with what to do; then all is well, and the ACLs are named."""
    cluster = MemoryCluster()

    before, missing = command(cluster, "check")
    command(cluster, "topics", "--create-clicks")
    after, text = command(cluster, "check")

    assert (before, after) == (1, 0)
    assert (
        "FAIL  topic clicks does not exist, nor do recommendations, clicks.dead-letter, nextclick.releases, "
        "desk.state, nextclick.quality. Run `nextclick-worker topics --create-clicks`, or" in missing
    )
    assert missing.count("FAIL") == 1
    assert "FAIL" not in text
    assert "ok    settings: group desk, worker_id a" in text
    assert "ok    brokers: memory answers" in text
    assert "cleanup.policy is compact" in text
    assert "ok    transactional id desk/a/check: transactions work" in text
    assert "ACLs of the worker, for all commands of nextclick-worker but topics (kafka-acls" in text
    assert "--group desk --operation Read " in text
    assert "--transactional-id desk/ --resource-pattern-type prefixed --operation Write " in text


def test_the_acls_of_each_role_are_printed_as_json(command: Command) -> None:
    """For scripts: the arguments of `kafka-acls`, and what each ACL is for."""
    code, text = command(MemoryCluster(), "check", "--json")
    acls = orjson.loads(text)["acls"]

    assert code == 1
    assert list(acls) == ["worker", "trainer", "admin"]
    assert acls["worker"][0] == {"acl": "--topic clicks --operation Read", "why": "read clicks"}


def test_too_few_partitions_fail(command: Command) -> None:
    """As where the clicks grew after the others were made."""
    cluster = MemoryCluster()
    command(cluster, "topics", "--create-clicks")
    cluster.add_partitions("clicks", 6)

    code, text = command(cluster, "check")

    assert code == 1
    assert "FAIL  topic recommendations has 4 partitions, but it needs 6" in text


def test_the_settings_of_topics_are_looked_at(command: Command) -> None:
    """A state topic that is not compacted would lose states with time; one that is, seldom, reads slowly."""
    cluster = MemoryCluster()
    cluster.create("desk.state", partitions=4)
    command(cluster, "topics", "--create-clicks")

    code, text = command(cluster, "check")

    assert code == 1
    assert (
        "cleanup.policy is delete. Set it to compact: otherwise retention deletes the contents of the topic"
        in text
    )
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
    command(cluster, "topics", "--create-clicks")
    transactions = cluster.connect().transactions("desk/a", timeout_ms=10_000)
    transactions.renew()
    transactions.send("clicks", 0, key=None, value=b"a click")

    command(cluster, "check")
    transactions.commit("clicks", {}, "desk", seconds=1)

    assert len(cluster.read("clicks")) == 1


def test_clicks_with_other_fields_are_noticed(command: Command) -> None:
    """The fields that are missing are named, and those that the records have instead."""
    cluster = MemoryCluster()
    command(cluster, "topics", "--create-clicks")
    for number in range(120):
        cluster.produce(
            "clicks", b'{"who": {"id": 7}, "what": {"sku": "lamp"}, "ts": 1}', partition=number % 4
        )

    code, text = command(cluster, "check", "--set", "click.user_id=user.id")

    assert code == 1
    assert (
        "FAIL  topic clicks, last 100 records: 100 of 100 have no field user.id and no field item_id; "
        "the first of them has the fields who.id, what.sku, ts. "
    ) in text


def test_records_of_every_kind_are_counted(command: Command) -> None:
    """A few that are no clicks keep no worker from its work."""
    cluster = MemoryCluster()
    command(cluster, "topics", "--create-clicks")
    for _ in range(8):
        cluster.produce("clicks", GOOD)
    cluster.produce("clicks", b"{")
    cluster.produce("clicks", None)

    code, text = command(cluster, "check")

    assert code == 0
    assert "note  topic clicks, last 10 records: 1 of 10 are invalid JSON or MessagePack" in text
    assert "1 of 10 have no value" in text


@pytest.mark.parametrize(
    ("time", "says"),
    [
        (1_700_000, "topic clicks, last 1 records: 1 of 1 have a time before click.earliest"),
        (10**13, "times of clicks: 1 of 1 clicks are in the future"),
    ],
)
def test_implausible_times_are_noticed(command: Command, time: int, says: str) -> None:
    """A record without a time of its own bounds nothing."""
    cluster = MemoryCluster()
    command(cluster, "topics", "--create-clicks")
    value = b'{"user_id": 1, "item_id": 1, "timestamp": %d}' % time
    cluster.produce("clicks", value, timestamp=10**13)

    code, text = command(cluster, "check")

    assert code == 1
    assert f"FAIL  {says}" in text


def test_items_that_the_champion_does_not_know_are_noticed(command: Command) -> None:
    """A release of another catalogue can only recommend what is popular."""
    cluster = MemoryCluster()
    command(cluster, "topics", "--create-clicks")
    publish(cluster.connect(), "nextclick.releases", *successor_release_parts())
    for item in (b"item-3", b"sku-1", b"sku-2"):
        cluster.produce("clicks", b'{"user_id": 1, "item_id": "%s", "timestamp": 1700000000000}' % item)

    code, text = command(cluster, "check")

    assert code == 0
    assert (
        "note  @champion, release 1, knows the items of 1 of 3 clicks; the topic has 'sku-1', "
        "the catalogue 'item-0'" in text
    )


def test_one_finding_that_fails_hides_no_other(command: Command) -> None:
    """Records that cannot be read, and a topic that is missing, are said together."""
    cluster = MemoryCluster()
    cluster.create("clicks", partitions=4)
    cluster.produce("clicks", b"no click")

    code, text = command(cluster, "check")

    assert code == 1
    assert "topics recommendations, clicks.dead-letter, nextclick.releases, desk.state, nextclick" in text
    assert "1 of 1 are neither a JSON object, list or text, nor a MessagePack map or list" in text


def test_a_topic_with_a_near_name_is_suggested(command: Command) -> None:
    """By every command that misses the clicks."""
    cluster = MemoryCluster()
    command(cluster, "topics", "--create-clicks")

    for name in ("check", "topics", "run"):
        code, text = command(cluster, name, "--set", "topics.clicks=clickz")

        assert code
        assert "topic clickz does not exist (did you mean clicks?)" in text
