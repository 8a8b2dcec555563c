"""`user` and `state` show what the state topic holds, as of the last flush."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.builders import ITEMS, successor_release_parts, tiny_release_parts
from tests.worker.conftest import Command
from tests.worker.desk import Desk
from tests.worker.items.test_rules import EXCLUDE, rule, rule_desk
from worker.kafka.memory import MemoryCluster

OFTEN = {"flush_interval": 0.4}


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users do not expire, although the clicks of a desk are old."""
    monkeypatch.setenv("NEXTCLICK_STATE_USER_TTL", "0")


def shown(command: Command, desk: Desk, user_id: str) -> Any:
    """What `user --json` says."""
    return orjson.loads(command(desk.cluster, "user", "--json", user_id)[1])


def saved_clicks(command: Command, desk: Desk) -> int:
    """How many clicks of ada are in the state that is saved."""
    found = shown(command, desk, "ada")["state"]
    return found["clicks"] if found else 0


@pytest.mark.usefixtures("endless")
def test_user_shows_what_a_worker_would_load(command: Command) -> None:
    """The same as the worker that saved it says, where it stands, and who serves it."""
    desk = Desk(release=successor_release_parts(ITEMS), state=OFTEN)
    worker = desk.serving()
    desk.click("ada", "item-3", partition=1)
    desk.until(lambda: saved_clicks(command, desk) == 1, "ada to be saved")
    desk.click("ada", "item-6", partition=1)
    desk.click("bob", "item-1", partition=1)
    desk.until(lambda: saved_clicks(command, desk) == 2, "ada to be saved again")
    expected = worker.known("ada")[1]

    code, text = command(desk.cluster, "user", "ada")
    found = shown(command, desk, "ada")

    del expected["saved"]
    assert code == 0
    assert found["state"] == orjson.loads(orjson.dumps(expected, option=orjson.OPT_SERIALIZE_NUMPY))
    assert found["owner"]["client_id"] == "desk/a"
    assert len(found["other_copies"]) + len(found["copies_not_compacted_yet"]) == 1
    assert "stored in: partition 1, block 2, computed by release 1" in text
    assert "served by: desk/a at memory (member desk/a-" in text
    assert "clicks: 2; kept of the last session: 2" in text
    assert "recent items, oldest first: item-3, item-6" in text
    assert "recommendations: item-7" in text
    assert "copies not yet removed by compaction: 1 (block 1 of partition 1)" in text


def test_a_user_without_a_trace_is_said_to_have_none(command: Command) -> None:
    """With exit code 1."""
    desk = Desk()

    code, text = command(desk.cluster, "user", "eve")

    assert code == 1
    assert "no data of eve in desk.state, as of the last flush; possible reasons:" in text
    assert "never seen: no click of this user before the last flush (state.flush_interval is 30s)" in text
    assert "evicted: no click for 30d (state.user_ttl)" in text
    assert "deleted: by `nextclick-worker forget`" in text


def test_a_user_who_was_deleted_is_said_to_be(command: Command) -> None:
    """As long as compaction has not removed the mark of it."""
    desk = Desk(state=OFTEN)
    desk.serving()
    desk.click("ada", partition=1)
    desk.settle()
    desk.forget("ada")
    desk.until(
        lambda: (b"forget/ada", None) in [(one.key, one.value) for one in desk.states()], "the deletion"
    )
    desk.cluster.compact(desk.topics.state)

    code, text = command(desk.cluster, "user", "ada")

    assert code == 1
    assert "deleted: by `nextclick-worker forget`; the request was fulfilled" in text
    assert "evicted" not in text


def test_a_user_whom_nobody_serves_is_shown_all_the_same(command: Command) -> None:
    """After the worker stopped; and without a release nothing is recommended, which is said."""
    desk = Desk()
    desk.serving()
    desk.click("ada")
    desk.settle()
    desk.stop()
    desk.cluster.produce(desk.topics.releases, None, key=b"@champion")

    code, text = command(desk.cluster, "user", "ada")

    assert code == 0
    assert "served by: no worker at present" in text
    assert "recommendations: topic nextclick.releases has no @champion" in text


@pytest.mark.usefixtures("endless")
def test_a_list_is_explained_on_demand(command: Command) -> None:
    """The terms of each score, whose sum it is, and what was left out; without the option, nothing of it."""
    desk = Desk(state=OFTEN, release=tiny_release_parts(output_bias=True))
    desk.serving()
    desk.click("ada", "item-3")
    desk.click("eve", "unknown")
    desk.settle()
    desk.stop()

    found = orjson.loads(command(desk.cluster, "user", "ada", "--json", "--explain")[1])["state"]
    text = command(desk.cluster, "user", "ada", "--explain")[1]
    cold = command(desk.cluster, "user", "eve", "--explain")[1]

    assert [one["item_id"] for one in found["explained"]["places"]] == found["recommendations"]["items"]
    for place, score in zip(found["explained"]["places"], found["recommendations"]["scores"], strict=True):
        assert place["score"] == pytest.approx(score)
        assert place["network"] + place["popularity"] == pytest.approx(score, abs=1e-4)
    assert found["explained"]["left_out"][0]["because"] == ["recent"]
    best = found["explained"]["places"][0]
    line = f"{best['item_id']}: score {best['score']:.2f}, network {best['network']:.2f}, popularity"
    assert line in text
    assert "left out: item-3: recent" in text
    assert f"{ITEMS[-1]}: popular, rank 1" in cold
    assert "explained" not in orjson.loads(command(desk.cluster, "user", "ada", "--json")[1])["state"]


@pytest.mark.usefixtures("endless")
def test_the_list_of_a_user_obeys_the_rules(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are in force now; explained, they are named."""
    monkeypatch.setenv("NEXTCLICK_TOPICS_ITEMS", "items")
    monkeypatch.setenv("NEXTCLICK_TOPICS_RULES", "rules")
    desk = rule_desk(state=OFTEN)
    desk.serving()
    desk.click("ada", "item-2")
    desk.settle()
    desk.stop()
    rule(desk, EXCLUDE, "shoes")
    rule(desk, {"pin": {"item_id": "item-9", "place": 1}, "until": 1}, "ended")

    found = orjson.loads(command(desk.cluster, "user", "ada", "--json", "--explain")[1])["state"]

    assert found["recommendations"]["items"][0] != "item-9"
    assert not {"item-3", "item-5"} & {*found["recommendations"]["items"]}
    assert [one["item_id"] for one in found["explained"]["places"]] == found["recommendations"]["items"]
    assert found["explained"]["rules"] == ["shoes"]


def test_the_list_of_a_user_is_that_of_now(command: Command) -> None:
    """A user who has expired gets popular items."""
    desk = Desk(state=OFTEN)
    desk.serving()
    desk.click("ada", "item-3")
    desk.settle()
    desk.stop()

    found = orjson.loads(command(desk.cluster, "user", "ada", "--json", "--explain")[1])["state"]

    assert found["recommendations"]["reason"] == "cold"
    assert [one["item_id"] for one in found["explained"]["places"]] == found["recommendations"]["items"]


def test_state_counts_what_each_partition_holds(command: Command) -> None:
    """Blocks, users, bytes and offsets per partition and in all; after a clean stop nothing is unsaved."""
    desk = Desk()
    desk.serving()
    for number in range(24):
        desk.click(f"user-{number % 12}", partition=number % 2)
    desk.settle()
    desk.stop()
    total = sum(len(one.key or b"") + len(one.value or b"") for one in desk.states())

    code, text = command(desk.cluster, "state")
    found = orjson.loads(command(desk.cluster, "state", "--json")[1])

    assert code == 0
    assert [row["users"] for row in found["partitions"]] == [6, 6]
    assert [row["blocks"] for row in found["partitions"]] == [1, 1]
    for row in found["partitions"]:
        assert row["replay_offset"] == row["committed_offset"] == row["end_offset"] == 12
        assert row["clicks_not_saved"] == 0
    assert found["total"]["users"] == 12
    assert found["total"]["log_bytes"] == total
    assert found["total"]["live_bytes"] == sum(row["live_bytes"] for row in found["partitions"])
    assert text.splitlines()[-1].split()[:3] == ["all", "2", "12"]


def test_clicks_that_are_not_saved_are_counted(command: Command) -> None:
    """A worker that was killed before its flush leaves them to be replayed."""
    desk = Desk(state={"flush_interval": 3_600.0})
    desk.serving()
    for _ in range(3):
        desk.click("ada", partition=0)
    desk.settle()
    desk.kill()

    found = orjson.loads(command(desk.cluster, "state", "--json")[1])

    row = found["partitions"][0]
    assert (row["committed_offset"], row["end_offset"]) == (3, 3)
    assert row["clicks_not_saved"] == 3 - (row["replay_offset"] or 0)


def test_a_damaged_block_is_named(command: Command) -> None:
    """The commands look on; a person of whom nothing can be said is not said to be gone."""
    desk = Desk()
    desk.serving()
    desk.click("ada", partition=0)
    desk.settle()
    desk.stop()
    desk.cluster.produce(desk.topics.state, b"garbage", key=b"block/7", partition=1)

    code, text = command(desk.cluster, "state")
    found, shown = command(desk.cluster, "user", "ada")
    unclear, complaint = command(desk.cluster, "user", "eve")

    assert (code, found, unclear) == (0, 0, 2)
    assert "cannot be read: block/7 in partition 1" in text
    assert "cannot be read: block/7" in shown
    assert "these records may hold the user, but cannot be read" in complaint


@pytest.mark.parametrize("name", ["user", "state"])
def test_a_missing_topic_is_said(command: Command, name: str) -> None:
    """Nothing that is not there is said to be empty."""
    code, text = command(MemoryCluster(), name, *(["ada"] if name == "user" else []))

    assert code == 2
    assert "topic" in text
    assert {"user": "desk.state", "state": "clicks"}[name] in text
