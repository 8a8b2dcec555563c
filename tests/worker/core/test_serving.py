"""A champion and a candidate beside it: who is served by which, and what that leaves of their states."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest

from tests.builders import ITEMS, clicked, tiny_release
from tests.reference import OneClick, columns
from worker.core.flush import Flush, Ledger
from worker.core.recommender import Recommender
from worker.core.serving import Serving, chosen
from worker.core.states import States
from worker.core.user_states import NO_RELEASE

USERS: Final = [f"user-{number}" for number in range(10_000)]
SHARE: Final = 0.3


def served(share: float = SHARE, *, candidate_size: int = 8) -> tuple[Serving, States]:
    """Champion 1 and candidate 2, both publishing for every click."""
    champion, candidate = tiny_release(number=1), tiny_release(number=2, seed=3, hidden_size=candidate_size)
    states = States(state_size=max(8, candidate_size))
    one, other = (Recommender(release, states, publish="every") for release in (champion, candidate))
    return Serving(states, one, other, share), states


def batch(count: int) -> list[OneClick]:
    """A click of each of the first users, in turn, from two partitions."""
    return [
        OneClick(number % 2, number, USERS[number], ITEMS[number % 12], 10**12 + number, 10**12)
        for number in range(count)
    ]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_a_share_is_that_part_of_the_users(share: float) -> None:
    """To the precision that chance allows."""
    flags = chosen(USERS, number=7, share=share)

    assert abs(flags.mean() - share) < 4 * (share * (1 - share) / len(USERS)) ** 0.5


def test_the_whole_share_is_everybody() -> None:
    """`share` 1."""
    assert chosen(USERS, number=7, share=1.0).all()


def test_another_candidate_has_other_users() -> None:
    """As many of them as chance would give, so that nobody is always the one who tries."""
    one, other = (chosen(USERS, number=number, share=0.5) for number in (7, 8))

    assert abs((one & other).mean() - 0.25) < 0.03


def test_who_is_in_stays_in_when_the_share_grows() -> None:
    """A canary is widened without changing sides."""
    small, large = (chosen(USERS, number=7, share=share) for share in (0.1, 0.2))

    assert not (small & ~large).any()


def test_each_is_answered_by_the_release_that_serves_them() -> None:
    """In the order of arrival, with that release's number, and the row knows who made it."""
    serving, states = served()
    clicks = batch(200)
    lists = serving.rank(serving.apply(columns(clicks), now_ms=10**12))
    tried = chosen(USERS[:200], number=2, share=SHARE)
    rows = [states.find(click.partition, click.user_id) for click in clicks]

    assert [one.click for one in lists] == [*range(200)]
    assert [one.release for one in lists] == np.where(tried, 2, 1).tolist()
    assert states.read_column("release", np.array(rows)).tolist() == np.where(tried, 2, 1).tolist()
    assert [serving.recommender(user).release.number for user in USERS[:200]] == np.where(
        tried, 2, 1
    ).tolist()


def test_a_part_of_a_batch_is_answered_as_it_would_be_alone() -> None:
    """Beside a candidate the champion's users get the champion's lists, and the other way round."""
    serving, _ = served(candidate_size=12)
    clicks = columns(batch(100))
    lists = serving.rank(serving.apply(clicks, now_ms=10**12))
    for number, recommender in ((1, serving.champion), (2, serving.candidate)):
        assert recommender is not None
        states = States(state_size=recommender.release.state_size)
        alone = Recommender(recommender.release, states, publish="every")
        expected = alone.rank(alone.apply(clicks, now_ms=10**12))
        for one in lists:
            if one.release == number:
                assert one.items == expected[one.click].items
                np.testing.assert_allclose(one.scores, expected[one.click].scores, atol=1e-2)


def test_what_is_replayed_is_divided_alike() -> None:
    """After a crash the rows are made by the releases that made them before."""
    serving, states = served()
    again, states_again = served()
    clicks = columns(batch(100))
    serving.apply(clicks, now_ms=10**12)

    assert again.replay(clicks) == 100
    assert again.replay(clicks) == 0
    for name in ("release", "hidden"):
        rows = np.arange(100)
        np.testing.assert_array_equal(states.read_column(name, rows), states_again.read_column(name, rows))


def test_rebuilding_saves_nobody() -> None:
    """Rows made anew in the background do not count as changed: a refresh makes no flush."""
    serving, states = served()
    rows = clicked(states, 0, USERS[:50], ["item-3", "item-4"], offset=9)
    states.saved(rows, 1)
    ledger = Ledger()
    ledger.add(1, rows, size=50, size_bytes=10_000)

    assert serving.stale(rows).tolist() == rows.tolist()
    assert serving.rebuild(rows) == 50
    assert serving.rebuild(rows) == 0
    assert len(serving.stale(rows)) == 0
    assert Flush(states, ledger, partition=0).next_blocks(9) == []


def test_another_size_of_states_makes_all_of_them_stale() -> None:
    """Nothing else of the rows changes."""
    serving, states = served()
    rows = clicked(states, 0, USERS[:50], ["item-3"], offset=9)
    serving.rebuild(rows)
    before = states.read(rows)
    states.resize(20)
    after = states.read(rows)

    assert set(after.release.tolist()) == {NO_RELEASE}
    assert after.hidden.shape == (50, 20)
    for name in ("recent", "clicks", "session", "timestamp_ms", "offset"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
