from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.builders import START_MS, table
from trainer.dataset.sessions import TEST, cut
from trainer.dataset.split import TestSplit as Split
from trainer.errors import TooFewClicks

SESSIONS = st.lists(st.integers(1, 7), min_size=1, max_size=8)


def sessions_of(lengths: list[int]) -> pl.DataFrame:
    """A table of sessions of these lengths, each click with its own item and time."""
    clicks = [
        (f"user-{number}", f"item-{number}-{place}", START_MS + 10 * place + number)
        for number, length in enumerate(lengths)
        for place in range(length)
    ]
    return cut(table(clicks), gap_seconds=0)


def ids(clicks: pl.DataFrame) -> list[str]:
    """The items of a table, which name its clicks."""
    return clicks["item_id"].to_list()


@given(SESSIONS, st.integers(1, 5))
def test_the_last_clicks_of_each_session_are_held_out(lengths: list[int], last: int) -> None:
    """As a loop says it; the first click of a session never is, and the others are context."""
    sessions = sessions_of(lengths)
    if max(lengths) <= last:
        with pytest.raises(TooFewClicks, match=f"leave_last is {last}, but the longest session has"):
            Split(leave_last=last).of(sessions, endless=False)
        return
    held = [
        f"item-{number}-{place}"
        for number, length in enumerate(lengths)
        for place in range(max(1, length - last), length)
    ]
    with_any = {number for number, length in enumerate(lengths) if length > 1}

    before, after = Split(leave_last=last).of(sessions, endless=False)

    assert ids(after.filter("scored")) == held
    assert ids(before) == [one for one in ids(sessions) if one not in held]
    assert ids(after) == [one for one in ids(sessions) if int(one.split("-")[1]) in with_any]


@given(SESSIONS, st.integers(1, 7))
def test_a_prediction_has_its_context(lengths: list[int], context: int) -> None:
    """That many clicks are before it in its session; where nothing has it, that is an error."""
    split = Split(min_context=context)
    _, after = split.of(sessions_of(lengths), endless=False)
    if context > 1 and max(lengths) <= context:
        with pytest.raises(TooFewClicks, match=f"min_context is {context}, but no click of the test split"):
            split.predictions(after)
        return

    scored = split.predictions(after).filter("scored")

    # The first clicks are left out later, when tables become arrays (`to_arrays`).
    places = [int(one.split("-")[2]) for one in ids(scored)]
    begin = context if context > 1 else 0
    assert places == [place for length in lengths for place in range(begin, length)]


@pytest.mark.parametrize("gap_seconds", [0, 1800])
def test_marked_clicks_are_the_test_split(gap_seconds: int) -> None:
    """Where sessions end, none has clicks of both; where they do not, the others are its context."""
    rows = [("a", "x"), ("a", "y"), ("b", "x"), ("a", "z")]
    clicks = table([(user, item, START_MS + number) for number, (user, item) in enumerate(rows)])
    clicks = clicks.with_columns(pl.Series(TEST, [False, False, False, True]))

    before, after = Split().of(cut(clicks, gap_seconds=gap_seconds), endless=gap_seconds == 0)

    assert ids(before) == ["x", "y", "x"]
    assert ids(after) == (["z"] if gap_seconds else ["x", "y", "z"])
    assert ids(after.filter("scored")) == ["z"]


def test_without_a_choice_all_clicks_are_held_out() -> None:
    """Then nothing is before them."""
    before, after = Split().of(sessions_of([2, 3]), endless=False)

    assert (len(before), int(after["scored"].sum())) == (0, 5)


def test_only_clicks_before_the_test_split_are_seen() -> None:
    """By time or by file; the last clicks of each session are not known before sessions are cut."""
    sessions = sessions_of([3]).with_columns(pl.Series(TEST, [False, True, False]))
    plain = sessions.drop(TEST)

    assert ids(Split().seen(sessions)) == ["item-0-0", "item-0-2"]
    assert ids(Split(START_MS + 10).seen(plain)) == ["item-0-0"]
    assert len(Split(leave_last=1).seen(plain)) == len(Split().seen(plain)) == 3
