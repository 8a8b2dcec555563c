"""What is said of one user."""

from __future__ import annotations

from tests.worker.core.test_recommender import Served
from worker.core.description import described


def test_a_user_is_described_where_they_clicked_last() -> None:
    """With several homes the newest counts; without any there is nothing."""
    served = Served()
    served.batch(*[("ada", f"item-{number % 12}") for number in range(23)])
    states = served.states
    moved = states.rows(1, ["ada"])
    older = states.read(states.rows(0, ["ada"]))
    older.timestamp_ms -= 1
    states.write(moved, older)

    found = described(states, None, "ada", {0: (), 1: ()})

    assert found is not None
    assert found["partition"] == 0
    assert found["recent_items"] == [f"item-{number % 12}" for number in range(3, 23)]
    assert (found["clicks"], found["offset"], found["release"]) == (23, 22, 0)
    assert found["recommendations"] is None
    assert not found["saved"]
    assert described(states, None, "ada", {1: ()})["partition"] == 1  # type: ignore[index]  # there is one
    assert described(states, None, "bob", {0: (), 1: ()}) is None
