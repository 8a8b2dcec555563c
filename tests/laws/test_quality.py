"""Laws of live quality: what is counted is what one would count by hand from what was published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ITEMS, tiny_release
from tests.examples import examples
from tests.laws.test_recommender import MAX_AGE_MS, NOW_MS, dated, sequences
from tests.reference import OneClick, columns
from worker.core.quality import Quality, Tally
from worker.core.recommender import COLD, Recommendations, Recommender
from worker.core.release import Release
from worker.core.serving import Serving
from worker.core.states import States

POPULAR: Final = ITEMS[4:1:-1]


class Rules(NamedTuple):
    """Under what lists are made."""

    publish: Literal["latest", "every"]
    top: int
    exclude_recent: int
    share: float


rules = st.builds(
    Rules,
    publish=st.sampled_from(["latest", "every"]),
    top=st.sampled_from([1, 2, 20]),
    exclude_recent=st.sampled_from([0, 1, 3]),
    share=st.sampled_from([0.0, 0.5]),
)


class ByHand:
    """The definition: each user's newest list, held against the next click in another batch."""

    def __init__(self, rules: Rules) -> None:
        self.tallies = {number: Tally() for number in (1, 2)}
        self._rules = rules
        self._shown: dict[tuple[int, str], Recommendations] = {}
        self._items: dict[tuple[int, str], list[str]] = {}

    def judge(self, clicks: Sequence[OneClick], lists: Sequence[Recommendations]) -> None:
        """Count one batch and what was published for it."""
        newest = {(click.partition, click.user_id): place for place, click in enumerate(clicks)}
        for click in clicks:
            key = click.partition, click.user_id
            items = self._items.setdefault(key, [])
            if key in self._shown:
                self._count(self._shown.pop(key), click.item_id, items)
            items.append(click.item_id)
        for one in lists:
            key = clicks[one.click].partition, clicks[one.click].user_id
            if newest[key] == one.click:
                self._shown[key] = one
                self.tallies[one.release].lists += 1
                self.tallies[one.release].cold += one.reason == COLD

    def drop(self, partition: int) -> None:
        """Forget what was shown to the users of a partition."""
        self._shown = {key: one for key, one in self._shown.items() if key[0] != partition}

    def _count(self, shown: Recommendations, item_id: str, before: list[str]) -> None:
        tally, excluded = self.tallies[shown.release], before[::-1][: self._rules.exclude_recent]
        popular = [item for item in POPULAR if item not in excluded][: self._rules.top]
        tally.clicks += 1
        if item_id in shown.items:
            tally.hits += 1
            tally.reciprocal_ranks += 1 / (shown.items.index(item_id) + 1)
        if item_id in popular:
            tally.popular_hits += 1
            tally.popular_reciprocal_ranks += 1 / (popular.index(item_id) + 1)


def releases() -> list[Release]:
    """A champion and a candidate whose popular items are known."""
    return [
        tiny_release(cell=cell, number=number, session_gap_seconds=0.0, popular=POPULAR)
        for number, cell in ((1, "gru"), (2, "elman"))
    ]


@given(sequences, rules, st.sets(st.integers(0, 5)))
@examples(0.6)
def test_what_is_counted_is_what_a_person_would_count(
    batches: list[Any], rules: Rules, drops: set[int]
) -> None:
    """For both releases, and for the popular items of each; what a partition was shown is dropped with it."""
    states = States(state_size=8)
    quality = Quality(states, top=rules.top)
    champion, candidate = (
        Recommender(
            release,
            states,
            publish=rules.publish,
            publish_max_age_ms=MAX_AGE_MS,
            exclude_recent=rules.exclude_recent,
            top=rules.top,
            quality=quality,
        )
        for release in releases()
    )
    serving = Serving(states, champion, candidate if rules.share else None, rules.share)
    by_hand = ByHand(rules)
    for number, clicks in enumerate(dated(batches)):
        if number in drops:
            quality.drop(0)
            by_hand.drop(0)
        lists = serving.rank(serving.apply(columns(clicks), now_ms=NOW_MS))
        by_hand.judge(clicks, lists)

    for release, expected in by_hand.tallies.items():
        found = quality.open.get(release, Tally())
        for name in ("lists", "cold", "clicks", "hits", "popular_hits"):
            assert getattr(found, name) == getattr(expected, name), name
        for name in ("reciprocal_ranks", "popular_reciprocal_ranks"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name)), name
        assert found.clicks_by_bucket.sum() == found.clicks
        assert found.hits_by_bucket.sum() == found.hits
