"""What a partition says of itself."""

from __future__ import annotations

import pytest

from worker.partitions.partition import DeletionRequest, Partition, RecoveryProgress, Stage, Status
from worker.topics.states import Forget, Replay


def partition(status: Status = Status.ASSIGNED) -> Partition:
    """Partition 3, assigned at second 100."""
    return Partition(3, 1, RecoveryProgress(assigned_at=100.0), status=status)


def test_it_is_served_in_one_status_alone() -> None:
    """Clicks of any other are not answered."""
    assert [status for status in Status if partition(status).served] == [Status.SERVED]


def test_what_is_saved_ends_where_the_replay_record_says() -> None:
    """Before the first one: where serving began."""
    one = partition()
    one.serve_from = 7

    assert one.saved_until == 7

    one.saved = Replay(5, release=1)

    assert one.saved_until == 5


def test_the_time_left_follows_what_was_done() -> None:
    """First the blocks, then the clicks to replay; nothing where nothing is known yet."""
    one = partition(Status.LOADING)

    assert one.left_seconds(110.0) == 0.0

    one.progress.loaded = 0.25

    assert one.left_seconds(110.0) == 30.0

    one.status, one.replay_from, one.serve_from, one.position = Status.REPLAYING, 10, 20, 18

    assert one.left_seconds(110.0) == pytest.approx(2.5)

    one.replay_from = one.serve_from = one.position = 20

    assert one.left_seconds(110.0) == 0.0


def test_requests_are_found_by_their_stage() -> None:
    """And moved together."""
    one = partition()
    for user in ("ada", "bob", "eve"):
        one.requests[user] = DeletionRequest(Forget(5, 1), written=False)
    one.move(["ada", "eve"], Stage.SEARCHED)

    assert one.at(Stage.ASKED) == ["bob"]
    assert one.at(Stage.SEARCHED) == ["ada", "eve"]
