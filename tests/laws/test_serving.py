"""The law of a refresh: whatever served before, a state is what the serving release makes of the items."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.laws.test_rebuilt import Successor, successor_parts, successors
from tests.laws.test_recommender import dated, sequences
from tests.reference import Reference, check_user, columns
from worker.core.recommender import Recommender
from worker.core.release import Release, verify
from worker.core.serving import Serving
from worker.core.states import States

RECENT_ITEMS = 5


class Phase(NamedTuple):
    """What serves for some batches."""

    champion: int
    candidate: int | None
    share: float
    rebuilds: bool
    """Whether idle time comes before the first batch."""


phases = st.builds(
    Phase,
    champion=st.integers(0, 2),
    candidate=st.sampled_from([None, 3, 4]),
    share=st.sampled_from([0.2, 0.5, 1.0]),
    rebuilds=st.booleans(),
)


class Fleet:
    """The releases that may serve, and the definition of what they make of users."""

    def __init__(self, cell: str, kinds: list[Successor]) -> None:
        parts = [successor_parts(cell, kind) for kind in kinds]
        self.releases: list[Release] = [verify(*one, number=n) for n, one in enumerate(parts, 1)]
        self.references = [Reference(*one, kind.item_ids) for one, kind in zip(parts, kinds, strict=True)]
        for reference in self.references:
            reference.users = self.references[0].users
        self.made_by: dict[tuple[int, str], int] = {}

    def rebuild(self, key: tuple[int, str], release: Release, *, away: bool) -> None:
        """What that release makes of a user whom another one knew, who may be away."""
        users, number = self.references[0].users, release.number
        if key in users and self.made_by.get(key) != number:
            session = users[key].session
            users[key] = self.references[number - 1].rebuild(users[key], RECENT_ITEMS)
            users[key].session = session
        if key in users and not away and not release.session_gap_ms:
            users[key].session = len(users[key].items)
        self.made_by[key] = number


@given(
    st.lists(st.tuples(phases, sequences), min_size=1, max_size=4),
    st.sampled_from(["gru", "lstm", "elman"]),
    st.lists(successors, min_size=5, max_size=5),
)
@examples(0.4)
def test_a_state_is_what_the_serving_release_makes_of_the_items(
    history: list[tuple[Phase, Any]], cell: str, kinds: list[Successor]
) -> None:
    """Through champions, candidates of any share, rollbacks and sizes; by a click or in the background."""
    fleet = Fleet(cell, kinds)
    states = States(state_size=1, recent_items=RECENT_ITEMS)
    batches = iter(dated(batch for _, batches in history for batch in batches))
    for phase, counted in history:
        champion = fleet.releases[phase.champion]
        candidate = None if phase.candidate is None else fleet.releases[phase.candidate]
        size = max(champion.state_size, candidate.state_size if candidate else 0)
        if size != states.state_size:
            fleet.made_by.clear()
        states.resize(size)
        serving = Serving(
            states,
            Recommender(champion, states),
            Recommender(candidate, states) if candidate else None,
            phase.share,
        )
        if phase.rebuilds:
            serving.rebuild(serving.stale(np.arange(states.end)))
            for key in fleet.references[0].users:
                fleet.rebuild(key, serving.recommender(key[1]).release, away=True)
        for _ in counted:
            clicks = next(batches)
            serving.rank(serving.apply(columns(clicks), now_ms=0))
            for click in clicks:
                key, release = (click.partition, click.user_id), serving.recommender(click.user_id).release
                fleet.rebuild(key, release, away=False)
                fleet.references[release.number - 1].apply(click)
        for (partition, user_id), user in fleet.references[0].users.items():
            if fleet.made_by.get((partition, user_id)) == serving.recommender(user_id).release.number:
                check_user(states, partition, user_id, user)
