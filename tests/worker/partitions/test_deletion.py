"""Deletion requests: nothing of a person stays in the state topic, whenever they ask and whatever crashes."""

from __future__ import annotations

from typing import Final

import pytest

from tests.builders import ITEMS
from tests.worker.desk import Desk, DeskWorker, records
from worker.core import blocks
from worker.topics.states import FORGET, Forget, parse_forget

SELDOM: Final = {"flush_interval": 3_600}


def clicked(desk: Desk, *user_ids: str, rounds: int = 3) -> None:
    """Some clicks of each of these users, settled."""
    for number in range(rounds):
        for user in user_ids:
            desk.click(user, ITEMS[number % 12], partition=0)
    desk.settle()


def copies(desk: Desk, user: str) -> int:
    """How many blocks that count hold something of a user."""
    latest = {(one.partition, one.key): one.value for one in records(desk.states())}
    return sum(
        user in blocks.user_ids(value)
        for (_, key), value in latest.items()
        if value is not None and (key or b"").startswith(b"block/")
    )


def requests(desk: Desk, user: str) -> list[Forget | None]:
    """What stands in the state topic of a user's request, in order; None for a tombstone."""
    key = f"{FORGET}{user}".encode()
    values = [one.value for one in desk.states() if one.key == key]
    return [None if value is None else parse_forget(user, value) for value in values]


def fulfilled(desk: Desk, user: str) -> None:
    """Step until the latest request of a user is fulfilled."""
    desk.until(lambda: requests(desk, user)[-1:] == [None], "the deletion")


def asked(worker: DeskWorker) -> float:
    """How many users it deleted because they asked."""
    return worker.metric("nextclick_deleted_users_total")


def saved_desk() -> tuple[Desk, DeskWorker]:
    """A desk of one partition where clicks of three users are saved."""
    desk = Desk(partitions=1)
    worker = desk.serving()
    clicked(desk, "ada", "bob", "eve")
    desk.step(60)

    assert copies(desk, "eve") == 1

    return desk, worker


def test_a_request_that_is_heard_while_served_is_obeyed_at_once() -> None:
    """The row goes, the request stands as it was heard, all copies go; then it is fulfilled. Others stay."""
    desk, worker = saved_desk()
    desk.forget("eve")
    desk.step(3)

    assert worker.recent("eve") == []
    assert asked(worker) == 1

    fulfilled(desk, "eve")

    assert copies(desk, "eve") == 0
    assert [one and one.heard for one in requests(desk, "eve")] == [False, True, None]
    assert (copies(desk, "ada"), len(worker.recent("ada"))) == (1, 3)


def test_a_click_after_the_request_does_not_save_what_came_before() -> None:
    """The request is raised to where its owner hears of it, and stands so in the topic before the search."""
    desk, worker = saved_desk()
    end = desk.cluster.log(desk.topics.clicks, 0).end
    desk.forget("eve")
    desk.click("eve", "item-9", partition=0)
    desk.click("ada", "item-9", partition=0)
    desk.step(2)
    desk.settle()
    fulfilled(desk, "eve")
    heard = requests(desk, "eve")[1]

    assert heard is not None
    assert heard.before == end + 2
    assert worker.recent("eve") == []
    assert copies(desk, "eve") == 0


def test_who_comes_back_later_is_a_new_user() -> None:
    """Clicks after the request was heard count, and only these."""
    desk, worker = saved_desk()
    desk.forget("eve")
    desk.step(3)
    desk.click("eve", "item-9", partition=0)
    desk.settle()
    fulfilled(desk, "eve")
    desk.step(60)

    assert worker.recent("eve") == ["item-9"]
    assert copies(desk, "eve") == 1

    assert desk.restart().recent("eve") == ["item-9"]


def test_a_request_that_is_heard_while_loading_holds_up_to_where_the_partition_is_served() -> None:
    """Nobody obeyed it before the last commit: what came of any click until then goes."""
    desk, _ = saved_desk()
    desk.kill()
    desk.forget("eve", [0])
    worker = desk.restart()

    assert worker.recent("eve") == []
    assert worker.recent("ada") == ["item-0", "item-1", "item-2"]

    fulfilled(desk, "eve")
    assert copies(desk, "eve") == 0


def test_a_replay_does_not_bring_a_person_back() -> None:
    """Their clicks are passed over, those of others are not."""
    desk = Desk(partitions=1, state=SELDOM)
    desk.serving()
    clicked(desk, "ada", "eve")
    desk.kill()
    desk.forget("eve")
    worker = desk.restart()

    assert worker.metric("nextclick_replayed_clicks_total") == 6
    assert worker.recent("eve") == []
    assert len(worker.recent("ada")) == 3


def test_a_request_that_comes_while_clicks_are_replayed_is_heard() -> None:
    """It passes on all that is replayed after it, too."""
    desk = Desk(partitions=1, state=SELDOM)
    desk.serving()
    clicked(desk, "ada", "eve", rounds=400)
    desk.kill()
    worker = desk.start()
    desk.advance(11)
    desk.until(lambda: "clicks replayed" in worker.reason, "the replay")
    desk.forget("eve")
    desk.settle()
    desk.step(3)

    assert worker.recent("eve") == []
    assert len(worker.recent("ada")) == 20


def test_a_request_is_fulfilled_only_when_no_replay_can_undo_it() -> None:
    """Where a flush began before the request, its `replay` offset lies before the user's clicks: it waits."""
    desk = Desk(partitions=1, state={"flush_interval": 60.0})
    desk.serving()
    clicked(desk, "ada", "eve")
    desk.forget("eve")
    desk.step(60)
    done = [one is None for one in requests(desk, "eve")]

    # No block ever held anything of her: the flush that the search lets begin is past her clicks.
    assert done == [False, False, True]
    assert desk.saved()[0] >= 6


def test_two_requests_in_a_row_are_both_fulfilled() -> None:
    """Of one user, the second while the first is on its way; and of another one meanwhile."""
    desk, worker = saved_desk()
    desk.forget("eve")
    desk.step(1)
    desk.click("eve", "item-9", partition=0)
    desk.step(5)
    desk.forget("eve")
    desk.forget("bob")
    desk.step(3)
    fulfilled(desk, "eve")
    fulfilled(desk, "bob")

    assert worker.recent("eve") == worker.recent("bob") == []
    assert copies(desk, "eve") == copies(desk, "bob") == 0
    assert copies(desk, "ada") == 1


def test_what_an_owner_writes_about_an_earlier_request_does_not_count_for_a_later_one() -> None:
    """A worker that dies between both leaves: asked, heard, asked again. The second is obeyed."""
    desk, _ = saved_desk()
    desk.forget("eve")
    desk.step(6)
    desk.kill()
    desk.click("eve", "item-9", partition=0)
    desk.forget("eve")
    worker = desk.restart()
    fulfilled(desk, "eve")

    assert worker.recent("eve") == []
    assert copies(desk, "eve") == 0


def test_the_request_of_nobody_is_fulfilled() -> None:
    """In every partition: who asks need not know where they are, nor be known."""
    desk = Desk(partitions=2)
    desk.serving()
    clicked(desk, "ada")
    desk.forget("nobody")
    desk.until(
        lambda: (
            [one.partition for one in desk.states() if one.key == b"forget/nobody" and one.value is None]
            == [0, 1]
        ),
        "both tombstones",
    )

    assert copies(desk, "ada") == 1


@pytest.mark.parametrize("rounds", range(0, 12, 2))
def test_a_crash_at_any_time_forgets_no_request(rounds: int) -> None:
    """Between the request and its fulfilment: the next owner goes on from what stands in the topic."""
    desk, _ = saved_desk()
    desk.forget("eve")
    desk.step(rounds)
    worker = desk.restart()
    fulfilled(desk, "eve")

    assert worker.recent("eve") == []
    assert copies(desk, "eve") == 0
    assert copies(desk, "ada") == 1


def test_a_request_moves_with_its_partition() -> None:
    """Who gets it in the midst of a deletion brings it to its end."""
    desk, _ = saved_desk()
    desk.forget("eve")
    desk.step(2)
    desk.stop()
    worker = desk.serving("b")
    fulfilled(desk, "eve")

    assert worker.recent("eve") == []
    assert copies(desk, "eve") == 0


def test_a_request_alone_is_made_durable() -> None:
    """Nobody clicks: what was heard has a transaction of its own, with the offset that fences it."""
    desk, _ = saved_desk()
    desk.step(300)
    desk.forget("eve")
    desk.step(6)

    assert [one and one.heard for one in requests(desk, "eve")][:2] == [False, True]
