"""One name, one worker: the newcomer stops; a worker that was killed is waited for."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tests.worker.desk import GROUP, Desk, DeskWorker, successor_desk
from worker.errors import SharedIdentity
from worker.process.stop import StopNow


def newcomer(desk: Desk) -> DeskWorker:
    """Return another worker with the name of `a`, who goes on while that one waits."""
    serving = desk.workers["a"]
    other = DeskWorker(desk.cluster, desk.settings("a"), desk.advance)
    other.stop_by_hand.meanwhile = serving.round
    return other


def test_a_newcomer_with_the_name_of_a_live_worker_stops() -> None:
    """Before it fences that one, with one message; the other does not notice."""
    desk = successor_desk()
    serving = desk.serving()
    other = newcomer(desk)

    with pytest.raises(
        SharedIdentity, match=r"another worker runs as desk/a at memory .* different worker_id"
    ):
        other.begin()
    desk.click("ada")
    desk.settle()

    assert "waiting up to 15 s for its session to end, in case it was killed" in other.reason
    assert serving.metric("nextclick_checkpoints_total", outcome="failed") == 0
    desk.assert_answered_once()


def test_a_worker_that_was_killed_is_waited_for() -> None:
    """No longer than its session lasts; the log says so once."""
    desk = successor_desk()
    desk.serving()
    desk.kill()
    began = desk.cluster.steady()
    with capture_logs() as logs:
        desk.start()

    assert 0 < desk.cluster.steady() - began <= 15
    assert sum("for its session to end" in str(line.get("reason")) for line in logs) == 1

    desk.click("ada")
    desk.settle()

    desk.assert_answered_once()


def test_a_static_member_comes_back_at_once() -> None:
    """It takes the place of the one that was killed, under its own name."""
    desk = successor_desk(static_membership=True)
    desk.serving()
    desk.kill()
    began = desk.cluster.steady()
    desk.start()

    assert desk.cluster.steady() == began


def test_another_name_is_not_waited_for() -> None:
    """Nor one that begins with the same letters."""
    desk = successor_desk()
    desk.serving("a")
    began = desk.cluster.steady()
    desk.start("a-2")

    assert desk.cluster.steady() == began


def test_who_waits_can_be_stopped() -> None:
    """At once."""
    desk = successor_desk()
    desk.serving()
    other = newcomer(desk)
    other.stop_by_hand.request()

    with pytest.raises(StopNow):
        other.begin()


def test_a_rival_is_another_member_with_the_same_name() -> None:
    """Not the worker itself, also while it joins again; where nobody answers, none is known."""
    desk = successor_desk()
    serving = desk.serving()
    desk.serving("b")
    rival = serving.worker.loop._retry._rival
    alone = rival()
    desk.freeze("a")
    desk.advance(11)
    desk.step(3)
    serving.member.poll(0)
    joining = rival()
    member = desk.cluster.connect().member(
        topic=desk.topics.clicks,
        group=GROUP,
        client_id=serving.settings.transactional_id,
        session_timeout_ms=10_000,
        heartbeat_interval_ms=500,
    )
    member.join(lambda _: None)
    member.poll(0)
    both = rival()
    desk.down(5)

    assert (alone, joining) == ("", "")
    assert serving.member.ids.isdisjoint(member.ids)
    assert both.startswith("at memory (member desk/a-")
    assert rival() == ""
