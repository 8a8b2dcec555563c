"""The walk of a batch, told with releases whose answers are known; its laws stand in `tests/laws`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest

from tests.builders import ITEMS, successor_release_parts, tiny_release
from worker.core.batch import Clicks
from worker.core.recommender import Recommendations, Recommender
from worker.core.release import Release, verify
from worker.core.states import States
from worker.core.times import MAX_TIMESTAMP_MS
from worker.core.user_states import UserStates

NOW_MS: Final = 1_700_000_000_000
GAP_MS: Final = 1_800_000


class Served:
    """A recommender with its states, fed with clicks on items of one partition, a second apart."""

    def __init__(self, release: Release | None = None, *, recent_items: int = 20, **rules: Any) -> None:
        self.release = release or verify(*successor_release_parts(session_gap_seconds=GAP_MS / 1000))
        self.states = States(state_size=self.release.state_size, recent_items=recent_items)
        self._recommender = Recommender(self.release, self.states, **rules)
        self._offset = 0

    def replay(self, *clicks: tuple[str, str], offset: int) -> int:
        """Replay such a batch; how many of it were missing."""
        return self._recommender.replay(self._columns(clicks, NOW_MS, NOW_MS, offset))

    def batch(
        self,
        *clicks: tuple[str, str],
        at_ms: int | Sequence[int] = NOW_MS,
        record_ms: int | Sequence[int] = NOW_MS,
        offset: int | None = None,
    ) -> list[Recommendations]:
        """The lists for a batch of (user, item)."""
        first = self._offset if offset is None else offset
        self._offset += len(clicks)
        columns = self._columns(clicks, at_ms, record_ms, first)
        return self._recommender.rank(self._recommender.apply(columns, now_ms=NOW_MS))

    def _columns(
        self,
        clicks: Sequence[tuple[str, str]],
        at_ms: int | Sequence[int],
        record_ms: int | Sequence[int],
        offset: int,
    ) -> Clicks:
        count = len(clicks)
        return Clicks(
            partitions=np.zeros(count, np.int32),
            offsets=np.arange(count, dtype=np.int64) + offset,
            user_ids=[user_id for user_id, _ in clicks],
            item_ids=[item_id for _, item_id in clicks],
            timestamps_ms=np.broadcast_to(np.array(at_ms, np.int64), (count,)),
            record_timestamps_ms=np.broadcast_to(np.array(record_ms, np.int64), (count,)),
        )

    def state(self, user_id: str) -> UserStates:
        """The row of a user."""
        return self.states.read(self.states.rows(0, [user_id]))


def test_a_click_is_answered_with_what_follows() -> None:
    """Best first, a score beside each item, the click itself left out."""
    (found,) = Served(top=3).batch(("ada", "item-4"))

    assert (found.click, found.reason) == (0, "model")
    assert found.items[0] == "item-5"
    assert found.items[1:] == ["item-0", "item-1"]
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert found.scores.dtype == np.float32


def test_the_newest_click_of_each_user_is_answered() -> None:
    """With `latest`: one list for each user of the batch, in the order of those clicks."""
    found = Served(top=1).batch(("ada", "item-1"), ("bob", "item-2"), ("ada", "item-7"), ("cyd", "item-3"))

    assert [(one.click, one.items) for one in found] == [(1, ["item-3"]), (2, ["item-8"]), (3, ["item-4"])]


def test_every_click_is_answered_where_that_is_asked() -> None:
    """With `every`: each from the state just after it."""
    found = Served(top=1, publish="every").batch(("ada", "item-1"), ("bob", "item-2"), ("ada", "item-7"))

    assert [(one.click, one.items) for one in found] == [(0, ["item-2"]), (1, ["item-3"]), (2, ["item-8"])]


@pytest.mark.parametrize("publish", ["latest", "every"])
def test_a_batch_of_no_clicks_has_no_lists(publish: str) -> None:
    """All its records were dead letters."""
    served = Served(publish=publish)

    assert served.batch() == []
    assert len(served.states) == 0


def test_a_click_too_old_moves_the_state_and_has_no_list() -> None:
    """By its record's time: the limit itself passes, as does a record without one or from the future."""
    served = Served(top=1, publish="every", publish_max_age_ms=1000)
    ages = [NOW_MS - 1001, NOW_MS - 1000, -1, NOW_MS + 10**9, 0]
    found = served.batch(*[("ada", f"item-{number}") for number in range(5)], at_ms=0, record_ms=ages)

    assert [one.click for one in found] == [1, 2, 3]
    assert served.state("ada").clicks.tolist() == [5]


def test_without_a_limit_no_click_is_too_old() -> None:
    """`publish_max_age` 0."""
    found = Served(publish="every", publish_max_age_ms=0).batch(("ada", "item-1"), record_ms=0)

    assert len(found) == 1


def test_where_all_clicks_are_too_old_nothing_is_ranked() -> None:
    """Catching up is fast."""
    served = Served(publish_max_age_ms=1000)

    assert served.batch(("ada", "item-1"), ("bob", "item-2"), record_ms=NOW_MS - 5000) == []
    assert len(served.states) == 2


def test_who_is_new_and_clicks_the_unknown_gets_what_is_popular() -> None:
    """Reason `cold`, without scores."""
    served = Served(verify(*successor_release_parts(popular=["item-3", "item-1"])), top=20)
    (found,) = served.batch(("ada", "sofa"))

    assert (found.items, found.reason, found.scores.tolist()) == (["item-3", "item-1"], "cold", [])
    assert found.scores.dtype == np.float32


def test_the_popular_list_is_as_long_as_any_other() -> None:
    """And in its own order."""
    assert Served(top=2).batch(("ada", "sofa"))[0].items == ["item-11", "item-10"]


def test_without_popular_items_the_cold_list_is_empty() -> None:
    """It is a list all the same."""
    (found,) = Served(verify(*successor_release_parts(popular=[]))).batch(("ada", "sofa"))

    assert (found.items, found.reason) == ([], "cold")


def test_recent_items_are_not_recommended_to_who_is_cold() -> None:
    """The rule for lists holds for the popular list, too: a new session began with an unknown item."""
    served = Served(exclude_recent=2, top=2)
    served.batch(("ada", "item-11"))
    (found,) = served.batch(("ada", "sofa"), at_ms=NOW_MS + GAP_MS + 1)

    assert (found.items, found.reason) == (["item-10", "item-9"], "cold")


def test_one_known_item_is_enough_to_be_warm() -> None:
    """From there on an unknown item changes no list but by its own exclusion."""
    served = Served(top=1, publish="every")
    found = served.batch(("ada", "sofa"), ("ada", "item-4"), ("ada", "chair"))

    assert [one.reason for one in found] == ["cold", "model", "model"]
    assert found[1].items == found[2].items == ["item-5"]


def test_a_pause_longer_than_the_gap_begins_a_session() -> None:
    """The state begins at zero; a pause as long as the gap is none."""
    release = tiny_release(session_gap_seconds=GAP_MS / 1000)
    paused, resumed, fresh = Served(release), Served(release), Served(release)
    for served, pause_ms in ((paused, GAP_MS), (resumed, GAP_MS + 1)):
        served.batch(("ada", "item-4"))
        served.batch(("ada", "item-7"), at_ms=NOW_MS + pause_ms)
    fresh.batch(("ada", "item-7"))

    assert np.array_equal(resumed.state("ada").hidden, fresh.state("ada").hidden)
    assert not np.allclose(paused.state("ada").hidden, fresh.state("ada").hidden, atol=1e-2)
    assert [served.state("ada").session.tolist() for served in (paused, resumed)] == [[2], [1]]


def test_with_gap_zero_sessions_never_end() -> None:
    """Years later the state goes on."""
    served = Served(tiny_release(session_gap_seconds=0))
    served.batch(("ada", "item-4"), at_ms=0)
    served.batch(("ada", "sofa"), at_ms=MAX_TIMESTAMP_MS)

    assert served.state("ada").session.tolist() == [2]
    assert served.state("ada").warm.tolist() == [True]


def test_a_click_from_the_past_is_applied_where_it_arrives() -> None:
    """It opens no gap, and neither does the next one, which is not late compared with the latest."""
    served = Served()
    times = [NOW_MS, NOW_MS - 10 * GAP_MS, NOW_MS + GAP_MS]
    served.batch(*[("ada", f"item-{number}") for number in range(3)], at_ms=times)

    assert served.state("ada").session.tolist() == [3]
    assert served.state("ada").timestamp_ms.tolist() == [NOW_MS + GAP_MS]


def test_times_and_offsets_reach_their_limits() -> None:
    """The first and the last millisecond of a click, the last offset of a partition."""
    served = Served()
    served.batch(("ada", "item-1"), ("ada", "item-2"), at_ms=[0, MAX_TIMESTAMP_MS], offset=2**63 - 2)
    state = served.state("ada")

    assert state.offset.tolist() == [2**63 - 1]
    assert state.timestamp_ms.tolist() == [MAX_TIMESTAMP_MS]
    assert state.session.tolist() == [1]


@pytest.mark.parametrize("clicks", [1, 2, 3, 4, 10, 11])
def test_of_more_clicks_than_the_ring_holds_the_last_stay(clicks: int) -> None:
    """In one batch: the order stays, and the session counts no more than are kept."""
    served = Served(recent_items=3)
    served.batch(*[("ada", f"item-{number}") for number in range(clicks)])
    state = served.state("ada")
    recent = served.states.item_codes.ids(state.ring.oldest_first(0))

    assert recent == [f"item-{number}" for number in range(clicks)][-3:]
    assert state.clicks.tolist() == [clicks]
    assert state.session.tolist() == [min(clicks, 3)]


@pytest.mark.parametrize("together", [True, False])
def test_the_last_items_are_not_recommended_back(together: bool) -> None:
    """As many as `exclude_recent` says, whether they came in one batch or one by one."""
    served = Served(exclude_recent=3, top=12)
    clicks = [("ada", item_id) for item_id in ITEMS[3::-1]]
    if together:
        served.batch(*clicks[:-1])
        (found,) = served.batch(clicks[-1])
    else:
        found = [one for click in clicks for one in served.batch(click)][-1]

    assert sorted(found.items) == sorted(set(ITEMS) - {"item-0", "item-1", "item-2"})


def test_more_cannot_be_excluded_than_is_kept() -> None:
    """The ring is the limit."""
    served = Served(exclude_recent=100, recent_items=2, top=12)
    found = served.batch(*[("ada", f"item-{number}") for number in range(4)])

    assert len(found[0].items) == 10


def test_the_release_says_how_many_items_are_excluded() -> None:
    """Unless a setting of the worker does; with 0, an item may follow itself."""
    manifest, blob = successor_release_parts()
    for of_release, here, excluded in ((0, None, 0), (2, None, 2), (0, 1, 1), (2, 0, 0)):
        release = verify(replace(manifest, exclude_recent=of_release), blob)
        served = Served(release, exclude_recent=here, top=12)
        found = [served.batch(("ada", item))[0] for item in ("item-4", "item-5")]
        assert {*ITEMS} - {*found[1].items} == {*["item-5", "item-4"][:excluded]}


def test_who_is_new_is_denied_nothing_that_others_clicked() -> None:
    """The empty places of a new user's ring exclude no item, whatever came into the worker last."""
    found, _ = Served(exclude_recent=5, top=12).batch(("ada", "item-5"), ("bob", "item-7"))

    assert sorted(found.items) == sorted(set(ITEMS) - {"item-5"})


def test_a_list_is_no_longer_than_what_is_left() -> None:
    """Down to a catalogue of one item, which was just clicked: an empty list from the network."""
    alone = verify(*successor_release_parts(["lamp"]))
    (found,) = Served(alone, top=20).batch(("ada", "lamp"))
    (other,) = Served(top=20).batch(("ada", "item-4"))

    assert (found.items, found.scores.tolist(), found.reason) == ([], [], "model")
    assert len(other.items) == len(other.scores) == len(ITEMS) - 1


def test_a_row_names_the_release_that_made_it() -> None:
    """Even where nothing was stepped: the state of zeros is every release's."""
    served = Served(tiny_release(number=2**31 - 1))
    served.batch(("ada", "item-1"), ("bob", "sofa"))

    assert served.state("ada").release.tolist() == served.state("bob").release.tolist() == [2**31 - 1]


def test_users_of_one_batch_do_not_mix() -> None:
    """Each ends where they would have ended alone."""
    release = tiny_release()
    together, alone = Served(release), Served(release)
    together.batch(
        ("ada", "item-1"), ("bob", "item-2"), ("ada", "item-3"), ("cyd", "sofa"), ("bob", "item-5")
    )
    alone.batch(("bob", "item-2"), ("bob", "item-5"))

    np.testing.assert_allclose(together.state("bob").hidden, alone.state("bob").hidden, rtol=0, atol=1e-3)
    assert not together.state("cyd").hidden.any()


def test_a_row_tells_the_list_that_was_published_last() -> None:
    """`recommend` gives it again, moves nothing, and ranks rows of another release as rebuilt."""
    served = Served(exclude_recent=3, top=5)
    (last,) = served.batch(("ada", "item-2"), ("ada", "item-4"), ("ada", "item-7"))
    before = served.state("ada")

    again = served._recommender.recommend(0)

    assert (again.items, again.reason) == (last.items, last.reason)
    assert again.scores.tolist() == last.scores.tolist()
    assert served.state("ada").hidden.tolist() == before.hidden.tolist()

    newer = Recommender(
        verify(*successor_release_parts(ITEMS[::-1]), number=2), served.states, exclude_recent=3, top=5
    )
    assert newer.recommend(0).items[0] == "item-6"


def test_a_row_without_a_known_item_gets_the_popular_ones() -> None:
    """As its last click did; of the recent items none is recommended back."""
    served = Served(exclude_recent=3, top=5)
    (last,) = served.batch(("ada", "unknown"))

    again = served._recommender.recommend(0)

    assert (again.items, again.reason, len(again.scores)) == (last.items, "cold", 0)


@pytest.mark.parametrize("together", [True, False])
def test_after_the_time_to_live_a_user_is_new(together: bool) -> None:
    """A click as late as that is in time; one later finds nothing, not even the items."""
    release = tiny_release(session_gap_seconds=0)
    in_time, late, fresh = (Served(release, user_ttl_ms=10 * GAP_MS) for _ in range(3))
    for served, pause_ms in ((in_time, 10 * GAP_MS), (late, 10 * GAP_MS + 1)):
        clicks = [("ada", "item-4"), ("ada", "item-7")]
        times = [NOW_MS, NOW_MS + pause_ms]
        if together:
            served.batch(*clicks, at_ms=times)
        else:
            for click, at_ms in zip(clicks, times, strict=True):
                served.batch(click, at_ms=at_ms)
    fresh.batch(("ada", "item-7"))

    assert [served.state("ada").clicks.tolist() for served in (in_time, late, fresh)] == [[2], [1], [1]]
    assert np.array_equal(late.state("ada").hidden, fresh.state("ada").hidden)
    assert late.states.item_codes.ids(late.state("ada").recent[0, :1]) == ["item-7"]


def test_who_is_new_may_have_again_what_they_had_before() -> None:
    """Items from before the time to live are not held against the user."""
    served = Served(exclude_recent=5, top=12, user_ttl_ms=GAP_MS)
    served.batch(("ada", "item-1"))
    (found,) = served.batch(("ada", "item-4"), at_ms=NOW_MS + GAP_MS + 1)

    assert sorted(found.items) == sorted(set(ITEMS) - {"item-4"})


def test_replay_fills_in_what_is_missing() -> None:
    """For each user from where their row ends; how many those were."""
    served, straight = Served(tiny_release()), Served(tiny_release())
    clicks = [("ada", "item-1"), ("bob", "item-2"), ("ada", "item-3"), ("cyd", "item-4"), ("ada", "item-5")]
    served.batch(*clicks[:2])
    straight.batch(*clicks)

    assert [served.replay(*clicks, offset=0), served.replay(*clicks, offset=0)] == [3, 0]
    for name in ("ada", "bob", "cyd"):
        assert np.allclose(served.state(name).hidden, straight.state(name).hidden, atol=1e-3)
        assert served.state(name).offset.tolist() == straight.state(name).offset.tolist()


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("replayed", [False, True])
def test_of_who_is_forgotten_only_later_clicks_count(before: int, replayed: bool) -> None:
    """Wherever the limit falls in a batch, and whatever clocks the clicks before it had."""
    release = tiny_release(session_gap_seconds=GAP_MS / 1000)
    served, fresh = Served(release, user_ttl_ms=3 * GAP_MS), Served(release, user_ttl_ms=3 * GAP_MS)
    clicks = [("ada", f"item-{number}") for number in range(5)]
    times = [NOW_MS + 9 * GAP_MS, NOW_MS, NOW_MS + 1, NOW_MS + 2 * GAP_MS, NOW_MS + 2 * GAP_MS + 1]
    served.states.forget(0, "ada", before)
    if replayed:
        served._recommender.replay(served._columns(clicks, times, times, 0))
    else:
        served.batch(*clicks, at_ms=times)
    if before < 5:
        fresh.batch(*clicks[before:], at_ms=times[before:], offset=before)

    assert served.states.users(0) == fresh.states.users(0)
    if before < 5:
        ours, theirs = served.state("ada"), fresh.state("ada")
        assert np.allclose(ours.hidden, theirs.hidden, atol=1e-3)
        for name in ("clicks", "session", "warm", "timestamp_ms", "offset"):
            assert getattr(ours, name).tolist() == getattr(theirs, name).tolist()


def test_clicks_that_are_void_are_answered_all_the_same() -> None:
    """A deletion request is obeyed at the end of the batch."""
    served = Served(top=1, publish="every")
    served.states.forget(0, "ada", 10)
    found = served.batch(("ada", "item-1"), ("bob", "item-3"), ("ada", "item-5"))

    assert [one.items for one in found] == [["item-2"], ["item-4"], ["item-6"]]
    assert served.states.users(0) == 1
