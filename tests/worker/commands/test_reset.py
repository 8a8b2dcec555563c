"""`reset`: what `--at` means for a partition.

That it mends what a worker refuses is shown in `tests.worker.partitions.test_consistency`.
"""

from __future__ import annotations

from typing import Final

import orjson
import pytest

from tests.worker.conftest import Command
from tests.worker.desk import Desk
from worker.commands.reset import At, plan
from worker.errors import StateRefused
from worker.topics.state_changes import Beginning
from worker.topics.state_scan import Contents, Entry, Marks
from worker.topics.states import Forget, Replay

HOME: Final = 1
"""The partition that has clicks."""


def held(replay: int | None = None) -> Contents:
    """A partition with a damaged block, two deletion requests, one of them unreadable, and a replay."""
    contents = Contents()
    values = {
        b"block/1": b"damaged",
        b"block/2": None,
        b"forget/ada": Forget(5, 1).value(),
        b"forget/bob": b"damaged",
        b"replay": None if replay is None else Replay(replay, 1).value(),
    }
    for offset, (key, value) in enumerate(values.items()):
        contents.take(Entry(3, offset, key, value))
    return contents


@pytest.mark.parametrize(
    ("at", "replay", "marks", "offset"),
    [
        ("committed", 4, Marks(0, 9, 6), 6),
        ("committed", 4, Marks(7, 9, 6), 7),
        ("committed", 4, Marks(2, 9, None), 2),
        ("earliest", 4, Marks(2, 9, 6), 2),
        ("latest", 4, Marks(2, 9, 6), 9),
        ("saved", 4, Marks(2, 9, None), 4),
        ("saved", 4, Marks(7, 9, 6), 7),
    ],
)
def test_where_it_goes_on(at: At, replay: int, marks: Marks, offset: int) -> None:
    """Never before the first click that is still there; deletion requests stay, what cannot be read goes."""
    beginning, text = plan(3, at, held(replay), marks)

    dropped = [] if at == "saved" else [b"block/1", b"forget/bob"]
    assert beginning == Beginning(3, offset, dropped or (), release=None if at == "saved" else 0)
    assert f"partition 3: {'keeps' if at == 'saved' else 'drops'}" in text
    assert f"continues at offset {offset}" in text
    assert ("request to delete bob cannot be read and is dropped, too; repeat it" in text) == (at != "saved")


@pytest.mark.parametrize(
    ("at", "replay", "marks"), [("committed", 4, Marks(0, 5, 6)), ("saved", 4, Marks(0, 3, 1))]
)
def test_beyond_the_end_of_the_clicks_is_no_beginning(at: At, replay: int, marks: Marks) -> None:
    """It says what would help."""
    with pytest.raises(StateRefused, match="--at earliest starts at the first click"):
        plan(3, at, held(replay), marks)


@pytest.mark.parametrize(("clicks_id", "another"), [("one", False), ("two", True), ("", False)])
@pytest.mark.parametrize("at", ["saved", "earliest", "latest"])
def test_in_another_topic_no_offset_is_what_it_was(at: At, clicks_id: str, another: bool) -> None:
    """The states stay as of no click of it, and a deletion request holds for all that was clicked before."""
    contents = Contents()
    request = Forget(5, 1)
    values = {b"replay": Replay(4, 7, "one").value(), b"forget/ada": request.value()}
    for offset, (key, value) in enumerate(values.items()):
        contents.take(Entry(3, offset, key, value))
    beginning, text = plan(3, at, contents, Marks(0, 30, None), clicks_id=clicks_id)

    assert beginning is not None
    assert beginning.requests == ({"ada": request} if another else {})
    assert beginning.blocks_anew == (another and at == "saved")
    if at == "saved":
        assert (beginning.offset, beginning.release) == ((0, 7) if another else (4, None))
        assert ("the first click of the new topic" in text) == another


def test_a_committed_offset_may_be_of_the_former_topic() -> None:
    """Nothing says of which it is."""
    contents = Contents()
    contents.take(Entry(3, 0, b"replay", Replay(4, 7, "one").value()))

    with pytest.raises(StateRefused, match=r"may belong to the old topic\. .*--at saved starts at the"):
        plan(3, "committed", contents, Marks(0, 30, 4), clicks_id="two")


def test_states_that_cannot_be_read_cannot_be_kept_for_another_topic() -> None:
    """It says which record that is."""
    contents = held(4)
    contents.take(Entry(3, 9, b"replay", Replay(4, 7, "one").value()))

    with pytest.raises(StateRefused, match=r"block/1 cannot be read: .* Nothing was changed"):
        plan(3, "saved", contents, Marks(0, 30, 4), clicks_id="two")


def test_where_nothing_is_saved_there_is_nothing_to_keep() -> None:
    """The partition stays as it is."""
    assert plan(3, "saved", held(), Marks(0, 9, 6)) == (
        None,
        "partition 3: nothing is saved; no change",
    )


def ada_saved() -> Desk:
    """A group whose worker has saved two clicks of ada, on items 2 and 3, and stopped."""
    desk = Desk()
    desk.serving()
    desk.click("ada", "item-2", partition=HOME)
    desk.click("ada", "item-3", partition=HOME)
    desk.settle()
    desk.stop()
    return desk


def test_reset_asks_first(command: Command) -> None:
    """Nothing changes without a yes."""
    desk = ada_saved()
    before = desk.states(), desk.committed()

    refused, text = command(desk.cluster, "reset", "--at", "earliest", types="n\n")
    after = desk.states(), desk.committed()
    agreed, _ = command(desk.cluster, "reset", "--at", "earliest", types="y\n")

    assert (refused, agreed) == (1, 0)
    assert "partition 1: drops the states of 1 users, continues at offset 0, the first click" in text
    assert "Aborted" in text
    assert after == before
    assert desk.committed() == {0: 0, 1: 0}
    assert command(desk.cluster, "user", "ada")[1].startswith("ada in desk.state")
    desk.cluster.compact(desk.topics.state, tombstones=True)
    assert command(desk.cluster, "user", "ada")[0] == 1


def test_reset_prints_its_result_as_json(command: Command) -> None:
    """The plan and the question are on the other output; without a change the list is empty."""
    desk = ada_saved()

    _, text = command(desk.cluster, "reset", "--at", "earliest", "--json", types="y\n")
    empty = command(Desk().cluster, "reset", "--at", "saved", "--json")[1]

    document = [{"partition": 0, "offset": 0}, {"partition": HOME, "offset": 0}]
    assert orjson.loads(between(text)) == {"topic": "desk.state", "reset": document}
    assert orjson.loads(between(empty)) == {"topic": "desk.state", "reset": []}


def between(text: str) -> str:
    """Return the JSON document among the lines of a command."""
    return text[text.index("{") : text.rindex("}") + 1]


def test_reset_refuses_while_a_worker_runs(command: Command) -> None:
    """The members are named, those too that were killed and are still members."""
    desk = ada_saved()
    desk.serving()

    running, text = command(desk.cluster, "reset", "--at", "earliest", "--yes")
    desk.kill()
    killed, _ = command(desk.cluster, "reset", "--at", "earliest", "--yes")
    desk.advance(11)
    gone, _ = command(desk.cluster, "reset", "--at", "earliest", "--yes")

    assert (running, killed, gone) == (2, 2, 0)
    assert "group desk has members: desk/a at memory. Stop all its workers first" in text


def test_reset_latest_skips_what_is_there(command: Command) -> None:
    """Of one partition alone: its clicks that nobody answered are passed over, the others are not."""
    desk = ada_saved()
    desk.click("ada", "item-4", partition=HOME)
    desk.click("bob", "item-4", partition=0)

    code, text = command(desk.cluster, "reset", "--at", "latest", "--partition", str(HOME), "--yes")
    worker = desk.serving()
    desk.click("ada", "item-5", partition=HOME)
    desk.settle()

    assert code == 0, text
    assert worker.recent("ada") == ["item-5"]
    assert worker.recent("bob") == ["item-4"]
    assert len(desk.answers()) == 4


def test_reset_of_a_partition_that_is_not_there_is_a_mistake(command: Command) -> None:
    """It is named, and nothing happens."""
    desk = ada_saved()

    code, text = command(desk.cluster, "reset", "--at", "latest", "--partition", "7", "--yes")

    assert code == 2
    assert "topic clicks has 2 partitions, but no partition 7" in text


def test_where_nothing_is_saved_there_is_nothing_to_do(command: Command) -> None:
    """`--at saved` on a state topic that is empty."""
    code, text = command(Desk().cluster, "reset", "--at", "saved", "--yes")

    assert code == 0
    assert text.endswith("nothing to do\n")


def test_a_reset_that_fails_changes_nothing(command: Command) -> None:
    """All of it or nothing: tombstones, replay and offsets stand in one transaction."""
    desk = ada_saved()
    before = desk.states(), desk.committed()
    desk.cluster.fail("commit")

    code, _ = command(desk.cluster, "reset", "--at", "earliest", "--yes")

    assert code == 2
    assert (desk.states(), desk.committed()) == before


def test_states_that_were_kept_for_another_topic_take_its_clicks(command: Command) -> None:
    """Its offsets begin again: neither a crash nor a flush prefers what the former topic left."""
    desk = Desk(state={"flush_interval": 1_000.0})
    desk.serving()
    for item in ("item-1", "item-2", "item-3"):
        desk.click("ada", item, partition=HOME)
        desk.click("bob", item, partition=HOME)
    desk.settle()
    desk.stop()
    desk.forget("bob")
    desk.cluster.delete(desk.topics.clicks)
    desk.make_topics()

    code, text = command(desk.cluster, "reset", "--at", "saved", "--yes")
    assert code == 0, text
    desk.serving()
    for user in ("ada", "bob"):
        desk.click(user, "item-4", partition=HOME)
    desk.settle()
    crashed = desk.restart()
    after_a_crash = crashed.recent("ada"), crashed.recent("bob")
    desk.stop()
    stopped = desk.serving()

    assert after_a_crash == (["item-1", "item-2", "item-3", "item-4"], ["item-4"])
    assert (stopped.recent("ada"), stopped.recent("bob")) == after_a_crash
