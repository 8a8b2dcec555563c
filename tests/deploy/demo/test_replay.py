from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from deploy.demo.data import Click
from deploy.demo.replay import Pace, answer, side_by_side
from deploy.demo.scoreboard import Answer

RECORDED = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 99)), max_size=60).map(
    lambda pairs: [Click(user, str(item), at) for at, (user, item) in enumerate(pairs)]
)


@given(clicks=RECORDED, people=st.integers(1, 6))
def test_every_users_clicks_keep_their_order(clicks: list[Click], people: int) -> None:
    """Side by side means other neighbours, never another story of anybody."""
    replayed = list(side_by_side(clicks, people))

    for user in "abcdef":
        theirs = [click for click in replayed if click.user_id == user]
        assert theirs == [click for click in clicks if click.user_id == user][: len(theirs)]


@given(clicks=RECORDED)
def test_one_at_a_time_replays_everything(clicks: list[Click]) -> None:
    """User after user, in the order of their first click."""
    first = {
        user: min(c.timestamp_ms for c in clicks if c.user_id == user) for user in {c.user_id for c in clicks}
    }

    assert list(side_by_side(clicks, 1)) == sorted(clicks, key=lambda click: first[click.user_id])


def test_people_click_in_turn_until_half_of_them_have_left() -> None:
    """Whoever has no more clicks makes room for the next; the last ones do not click ever faster."""
    counts = {"a": 2, "b": 4, "c": 9, "d": 9}
    clicks = [Click(user, str(number), 0) for user, count in counts.items() for number in range(count)]

    assert "".join(click.user_id for click in side_by_side(clicks, 3)) == "abcabcdbcdbcdcdcdcdcdc"


def test_the_pace_is_kept_and_stands_still_while_held() -> None:
    """What was not due while held is not made up for."""
    now = 100.0
    pace = Pace(10, clock=lambda: now)
    due = []
    for now, held in ((101.0, False), (105.0, True), (105.5, False)):  # noqa: B007  # the clock reads it
        due.append(pace.due(held=held))

    assert due == [10, 10, 15]


def test_an_answer_is_read_from_a_recommendations_record() -> None:
    """Fields as in the contract of the output topic; what is not needed is ignored."""
    record = {
        "user_id": "7",
        "items": ["50", "51"],
        "scores": [2.0, 1.0],
        "release": 3,
        "reason": "model",
        "event": {"partition": 0, "offset": 12, "item_id": "9", "timestamp": 1},
        "produced_at": 2,
    }

    assert answer(orjson.dumps(record)) == Answer("7", "9", ("50", "51"), 3)
