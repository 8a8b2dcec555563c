"""Topics that are deleted and created again while a worker runs: it goes on, or says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from structlog.testing import capture_logs

from tests.worker.desk import Desk, successor_desk
from tests.worker.judging import assert_sound
from worker.errors import StateRefused
from worker.topics.watch import LOOK_SECONDS

USERS: Final = ("ada", "bob", "eve")
OUTPUTS: Final = ("recommendations", "dead_letters", "quality", "releases")


def again(desk: Desk, name: str) -> None:
    """Delete a topic and create it again."""
    desk.cluster.delete(getattr(desk.topics, name))
    desk.make_topics()


def clicked(desk: Desk, *items: str) -> None:
    """Let every user click these items, and all be answered."""
    for item in items:
        for user in USERS:
            desk.click(user, item)
    desk.settle()


def look(desk: Desk) -> None:
    """Let the worker look at its topics."""
    desk.advance(LOOK_SECONDS)
    desk.step(10)


def after_the_first_flush(desk: Desk) -> None:
    """Let all be saved, and nothing change since."""
    desk.until(lambda: desk.saved() == desk.committed(), "all to be saved")


def before_the_first_flush(desk: Desk) -> None:
    """Let nothing be saved."""


def in_the_midst_of_a_flush(desk: Desk) -> None:
    """Let a flush begin and not end."""
    worker = desk.workers["a"].worker
    partition = next(iter(worker.table))
    worker.loop._checkpoint._flushing._begin(partition)


@pytest.mark.parametrize("when", [after_the_first_flush, before_the_first_flush, in_the_midst_of_a_flush])
def test_states_in_memory_are_written_into_the_new_topic(when: Callable[[Desk], None]) -> None:
    """All of them, the users who do not click again too. Then a crash costs nothing."""
    desk = Desk()
    desk.serving()
    clicked(desk, "item-2", "item-3")
    when(desk)
    again(desk, "state")
    look(desk)
    desk.until(lambda: desk.saved() == desk.committed(), "all to be saved again")
    desk.cluster.compact(desk.topics.state)
    worker = desk.restart()

    assert [worker.recent(user) for user in USERS] == [["item-2", "item-3"]] * 3
    assert_sound(desk)


def test_a_deletion_request_is_fulfilled_in_the_new_topic() -> None:
    """One that the worker had heard of, and was looking for copies of."""
    desk = successor_desk()
    worker = desk.serving()
    clicked(desk, "item-2")
    after_the_first_flush(desk)
    desk.forget("ada")
    worker.worker.loop._recovery.load(1)
    again(desk, "state")
    look(desk)
    desk.until(lambda: not any(one.requests for one in worker.worker.table), "the request to be fulfilled")
    restarted = desk.restart()

    assert [restarted.recent(user) for user in USERS] == [[], ["item-2"], ["item-2"]]


def test_a_request_in_the_new_topic_is_heard() -> None:
    """The new topic is read from its begin, where the former one had been read further."""
    desk = successor_desk()
    worker = desk.serving()
    clicked(desk, "item-2")
    after_the_first_flush(desk)
    again(desk, "state")
    look(desk)
    desk.forget("ada")
    desk.step(20)

    assert worker.recent("ada") == []


def test_a_crash_before_the_states_are_written_again_is_no_silent_loss() -> None:
    """Half of them would be: the next worker refuses, with the command."""
    desk = successor_desk(state={"flush_interval": 1_000.0})
    desk.serving()
    clicked(desk, "item-2")
    again(desk, "state")
    desk.kill()
    desk.advance(11)

    with pytest.raises(StateRefused, match=r"reset --partition . --at committed"):
        desk.serving()


@pytest.mark.parametrize("name", OUTPUTS)
def test_other_topics_are_written_to_as_before(name: str) -> None:
    """The log says it once."""
    desk = successor_desk()
    desk.serving()
    clicked(desk, "item-2")
    with capture_logs() as logs:
        again(desk, name)
        look(desk)
    desk.send(b"garbage")
    clicked(desk, "item-3")

    said = [line["topic"] for line in logs if line["event"] == "a topic was deleted and created again"]
    assert said == [getattr(desk.topics, name)]
    assert desk.workers["a"].recent("ada") == ["item-2", "item-3"]
    assert len(desk.letters()) == 1


def test_the_clicks_are_for_a_person_to_decide() -> None:
    """The worker ends, and says with which command it goes on."""
    desk = successor_desk()
    desk.serving()
    clicked(desk, "item-2")
    again(desk, "clicks")

    with pytest.raises(StateRefused, match=r"topic clicks was deleted and created again .* reset --at saved"):
        look(desk)


def test_with_the_state_topic_the_states_are_gone() -> None:
    """No command is advised that would promise to keep them."""
    desk = successor_desk()
    desk.serving()
    clicked(desk, "item-2")
    for name in ("clicks", "state"):
        desk.cluster.delete(getattr(desk.topics, name))
    desk.make_topics()

    with pytest.raises(StateRefused, match=r"so was the state topic, .* reset --at earliest") as refused:
        look(desk)
    assert "--at saved" not in str(refused.value)


def test_states_of_former_clicks_are_never_saved_as_of_the_new_ones() -> None:
    """Not even where the watch has seen the new topic, and the worker stops before it heeds that."""
    desk = successor_desk(state={"flush_interval": 1_000.0})
    worker = desk.serving()
    clicked(desk, "item-2")
    again(desk, "clicks")
    for user in USERS * 2:
        desk.click(user, "item-5")
    worker.worker.loop._topics._step()
    desk.stop()

    with pytest.raises(StateRefused, match="topic clicks was deleted and created again"):
        desk.serving()


@pytest.mark.parametrize("name", [*OUTPUTS, "state", "clicks"])
def test_a_topic_that_is_gone_is_named_and_waited_for(name: str) -> None:
    """With no click at all: within seconds /readyz says which one, and the worker goes on after `topics`."""
    desk = successor_desk()
    worker = desk.serving()
    clicked(desk, "item-2")
    after_the_first_flush(desk)
    reasons: list[str] = []

    def meanwhile() -> None:
        reasons.append(worker.reason)
        if len(reasons) == 4:
            desk.make_topics()

    worker.stop_by_hand.meanwhile = meanwhile
    desk.cluster.delete(getattr(desk.topics, name))
    began = desk.cluster.steady()
    if name == "clicks":
        with pytest.raises(StateRefused, match="was deleted and created again"):
            desk.step(100)
    else:
        desk.until(lambda: reasons, "the worker to wait")
        assert desk.cluster.steady() - began < 15
        clicked(desk, "item-3")

        assert worker.reason == ""
        assert worker.recent("ada") == ["item-2", "item-3"]
    assert f"topic {getattr(desk.topics, name)} does not exist. Run `nextclick-worker topics" in reasons[0]
    assert worker.metric("nextclick_ready") == (name != "clicks")


def test_a_broker_without_ids_of_topics_has_none_that_were_created_again() -> None:
    """The rule is then that of offsets, as before there were any."""
    desk = successor_desk(topic_ids=False)
    desk.serving()
    clicked(desk, "item-2")
    after_the_first_flush(desk)
    desk.stop()
    again(desk, "clicks")

    with pytest.raises(StateRefused, match=r"was their topic recreated\?"):
        desk.serving()


def test_states_without_ids_are_taken_as_they_are() -> None:
    """An earlier version wrote them."""
    desk = successor_desk(topic_ids=False)
    desk.serving()
    clicked(desk, "item-2")
    desk.stop()
    desk.cluster._broker.topic_ids = True
    worker = desk.serving()
    clicked(desk, "item-3")

    assert worker.recent("ada") == ["item-2", "item-3"]
