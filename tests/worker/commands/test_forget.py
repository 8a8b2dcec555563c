"""`forget`: a person's right to be deleted, with a worker running or without."""

from __future__ import annotations

import orjson
import pytest

from tests.worker.commands.stepping import stepping
from tests.worker.conftest import Command
from tests.worker.desk import Desk
from worker.commands.forget import left_after
from worker.errors import StateRefused

OFTEN = {"flush_interval": 0.4}
SELDOM = {"flush_interval": 3_600.0}


def shown(command: Command, desk: Desk, user_id: str) -> dict[str, object]:
    """What `user --json` says."""
    document: dict[str, object] = orjson.loads(command(desk.cluster, "user", "--json", user_id)[1])
    return document


def test_a_person_is_forgotten_everywhere(command: Command) -> None:
    """From memory and from every block, on an idle worker too; others in the same blocks stay."""
    desk = Desk(state=OFTEN)
    worker = desk.serving()
    desk.click("ada", partition=0)
    desk.click("ada", partition=1)
    desk.click("bob", partition=1)
    desk.until(lambda: worker.known("ada")[1].get("saved"), "ada to be saved")
    before = len(desk.answers())

    with stepping(desk):
        code, text = command(desk.cluster, "forget", "ada", "--wait", "30")

    found = shown(command, desk, "ada")
    assert code == 0, text
    assert "requested the deletion of ada in partitions 0, 1 of desk.state" in text
    assert text.count("deleted in partition") == 2
    assert [worker.known(user)[0] for user in ("ada", "bob")] == [False, True]
    assert (found["state"], found["other_copies"], found["deletion_requests"]) == (None, [], [])
    assert found["copies_not_compacted_yet"]
    assert len(desk.answers()) == before

    again = desk.restart()

    assert [again.known(user)[0] for user in ("ada", "bob")] == [False, True]


def test_a_person_is_found_under_any_spelling(command: Command) -> None:
    """A UUID in upper case is the one in lower case, for whoever asks as in the topic."""
    desk = Desk(state=OFTEN)
    worker = desk.serving()
    spelled = "123E4567-E89B-42D3-A456-426614174000"
    desk.click(spelled, partition=0)
    desk.until(lambda: worker.known(spelled)[1].get("saved"), "the user to be saved")
    desk.step(10)
    assert command(desk.cluster, "user", spelled)[0] == 0

    with stepping(desk):
        code, text = command(desk.cluster, "forget", spelled, "--wait", "30")

    assert code == 0, text
    assert f"requested the deletion of {spelled.lower()} in " in text
    assert not worker.known(spelled)[0]


def test_the_result_is_printed_as_json(command: Command) -> None:
    """Without --wait nobody knows what is pending; with it, the partitions are named that are late."""
    desk = Desk(state=OFTEN)
    desk.serving()
    desk.click("ada", partition=1)
    desk.settle()
    desk.stop()
    asked = {"user_id": "ada", "partitions": [0, 1]}

    for arguments, pending, code in (([], None, 0), (["--wait", "0"], [0, 1], 1)):
        ended, text = command(desk.cluster, "forget", "ada", "--json", *arguments)

        # The other output, which comes last, says what happens next.
        document, _, rest = text.partition("\n}\n")
        found = orjson.loads(document + "}")
        assert found == {"topic": "desk.state", "requests": [asked | {"pending": pending}]}
        assert "the next worker that starts will delete the data" in rest
        assert ended == code


def test_compaction_removes_the_last_trace(command: Command) -> None:
    """Then, and not before, `user` says that there is none."""
    desk = Desk(state=OFTEN)
    worker = desk.serving()
    desk.click("ada", partition=0)
    desk.until(lambda: worker.known("ada")[1].get("saved"), "ada to be saved")
    with stepping(desk):
        assert command(desk.cluster, "forget", "ada", "--wait", "30")[0] == 0
    assert command(desk.cluster, "user", "ada")[0] == 0

    desk.cluster.compact(desk.topics.state, tombstones=True)

    code, text = command(desk.cluster, "user", "ada")
    assert code == 1
    assert text.startswith("no data of ada in desk.state, as of the last flush; possible reasons:\n")


def test_a_request_waits_for_a_worker(command: Command) -> None:
    """Without one it is kept and shown; --wait says where it is not done; who starts obeys it."""
    desk = Desk(state=OFTEN)
    desk.serving()
    desk.click("ada", partition=1)
    desk.click("bob", partition=1)
    desk.settle()
    desk.stop()

    code, text = command(desk.cluster, "forget", "ada", "--wait", "0")
    shown_code, shown_text = command(desk.cluster, "user", "ada")

    assert code == 1
    assert "No worker of group desk is running; the next worker that starts will delete the data" in text
    assert "still pending after 0 s in partitions 0, 1" in text
    assert shown_code == 0
    assert "no state that a worker would load" in shown_text
    assert "pending in partition 1" in shown_text

    worker = desk.serving()

    desk.until(lambda: not shown(command, desk, "ada")["deletion_requests"], "the request to be done")
    assert [worker.known(user)[0] for user in ("ada", "bob")] == [False, True]


def test_without_time_it_looks_once(capsys: pytest.CaptureFixture[str]) -> None:
    """`--wait 0` asks whether it is done already."""
    assert left_after(iter([set(), {0, 1}]), [0, 1], 0, print) == set()
    assert left_after(iter([{1}, set()]), [0, 1], 0, print) == {1}
    assert capsys.readouterr().out.splitlines() == [
        *("deleted in partition 0", "deleted in partition 1", "deleted in partition 0"),
        "still pending after 0 s in partition 1",
    ]


def test_partitions_that_nobody_serves_are_named(command: Command) -> None:
    """The member that has just joined serves none yet."""
    desk = Desk()
    desk.start()
    desk.step()
    desk.cluster.add_partitions(desk.topics.state, 3)
    desk.cluster.add_partitions(desk.topics.clicks, 3)

    _, text = command(desk.cluster, "forget", "ada")

    assert "No worker serves partition 2 at present" in text


def test_clicks_after_the_request_count(command: Command) -> None:
    """A person who comes back begins at zero, also where a crash has the clicks replayed."""
    desk = Desk(state=SELDOM)
    worker = desk.serving()
    desk.click("ada", "item-3", partition=0)
    desk.settle()
    assert command(desk.cluster, "forget", "ada")[0] == 0
    desk.until(lambda: not worker.known("ada")[0], "ada to be forgotten")
    desk.click("ada", "item-5", partition=0)
    desk.settle()

    again = desk.restart()

    assert again.recent("ada") == ["item-5"]


def test_a_state_topic_with_too_few_partitions_is_named(command: Command) -> None:
    """Nothing is written to half of the partitions."""
    desk = Desk()
    desk.cluster.add_partitions(desk.topics.clicks, 3)

    code, text = command(desk.cluster, "forget", "ada")

    assert code == 2
    assert "topic desk.state has 2 partitions, but it needs 3" in text
    assert desk.states() == []


def test_a_request_that_cannot_be_read_is_written_again(command: Command) -> None:
    """The worker stops rather than skip it, and says so; after that all is as it was."""
    desk = Desk()
    desk.serving()
    desk.click("ada", "item-2", partition=1)
    desk.settle()
    desk.stop()
    desk.cluster.produce(desk.topics.state, b"junk", key=b"forget/eve", partition=1)
    with pytest.raises(StateRefused, match="run `nextclick-worker forget eve` to write it again"):
        desk.serving()
    desk.kill()
    desk.advance(11)

    code, _ = command(desk.cluster, "forget", "eve")

    assert code == 0
    assert desk.serving().recent("ada") == ["item-2"]
