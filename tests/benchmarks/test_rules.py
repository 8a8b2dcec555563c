"""The benchmark of rules measures what it says: few items, to see that it runs to its end."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks import rules
from tests.benchmarks.items import release_of
from worker.core.recommender import Recommender
from worker.core.states import States
from worker.core.tables import Ranking


@pytest.mark.parametrize("ranking", ["exact", "approximate"])
def test_the_cost_is_a_ratio(ranking: Ranking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Near one, for so small a catalogue within wide limits."""
    monkeypatch.setattr(rules, "ITEMS", 2_000)
    monkeypatch.setattr(rules, "BATCH", 50)
    every = {**rules.ALWAYS, **rules.CAPS, **rules.CONDITIONAL}

    assert 0.1 < rules.rules_over_none(every, rules.described(2_000), ranking=ranking, rounds=3) < 10


def test_its_rules_reach_items() -> None:
    """Each of them: a rule for a tag that nobody has would cost nothing."""
    release, known = release_of(20_000), rules.described(20_000)
    constraints = Recommender(release, States(state_size=release.state_size)).listing.constraints
    every = {**rules.ALWAYS, **rules.CAPS, **rules.CONDITIONAL}
    constraints.set(every, known)

    for name in every:
        constraint = constraints.together([name])
        adjusted = constraint.adjust is not None and np.count_nonzero(constraint.adjust)
        assert adjusted or constraint.pins or any((cap.groups >= 0).all() for cap in constraint.caps)
    assert constraints.parts(np.arange(20_000, dtype=np.int32))[1].rows.size > 50
