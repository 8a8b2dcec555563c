"""The section `[events]`: what makes no sense together is an error at once, with both names."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.config import TrainerSettings
from worker.config import Settings
from worker.core.event_types import EXCLUDE, STEP
from worker.core.states import States
from worker.errors import SettingError
from worker.settings.loading import checked

SHOP = {"type": "kind", "step": ["view", "cart"], "exclude": ["purchase", "cart"]}


def settings(**sections: Any) -> Settings:
    """Settings with these sections."""
    return checked(Settings, sections, source="test")


def test_without_a_type_every_event_is_a_click() -> None:
    """As it was before there were types."""
    assert settings().events.types() is None
    assert checked(TrainerSettings, {}, source="test").events.clauses() == ()


def test_the_types_are_those_of_the_lists() -> None:
    """The worker knows what each event does; the trainer knows which are clicks."""
    types = settings(events=SHOP).events.types()

    assert types is not None
    assert types.excludes
    assert [types.kind(one) for one in ("view", "purchase", "cart")] == [STEP, EXCLUDE, STEP | EXCLUDE]
    (clause,) = checked(TrainerSettings, {"events": SHOP}, source="test").events.clauses()
    assert (clause.path.text, clause.setting) == ("kind", "events.type")
    assert [clause.holds(one) for one in ("view", "purchase", "cart", "request")] == [
        True,
        False,
        True,
        False,
    ]


def test_states_keep_what_is_left_out_and_nothing_else() -> None:
    """Memory is taken only where it is asked for."""
    found = []
    for events in ({}, {"type": "t"}, {"type": "t", "exclude": ["buy"], "exclude_days": 7}, {"fatigue": 2}):
        states = States(state_size=1)
        settings(events=events).events.prepare(states)
        found.append((states.bought and states.bought.days, states.fatigue is not None))

    assert found == [(None, False), (None, False), (7, False), (None, True)]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"events": {"step": ["view"]}}, "step: no effect without type"),
        ({"events": {"type": "t", "exclude_days": 3}}, "exclude_days: no effect without exclude"),
        ({"events": {"fatigue_hours": 3}}, "fatigue_hours: no effect without fatigue"),
        ({"events": {"type": "t", "exclude": [" "]}}, "exclude has an empty type"),
        (
            {"events": {"type": "t", "step": ["request"]}},
            "'request' is in step, but it is the type of requests",
        ),
        ({"events": {"type": "@nothing"}}, "starts with @"),
        ({"events": {"type": "items[].type"}}, "'items[].type' goes through a list"),
        ({"events": {**SHOP, "exclude_days": 31}}, "state.user_ttl is 30d and events.exclude_days is 31"),
    ],
)
def test_a_contradiction_is_named(sections: dict[str, Any], message: str) -> None:
    """With the value, and what to do."""
    with pytest.raises(SettingError) as refused:
        settings(**sections)

    assert message in str(refused.value)


def test_fatigue_needs_no_types() -> None:
    """All clicks have lists."""
    assert settings(events={"fatigue": 3}).events.fatigue_hours == 24


def test_states_that_never_expire_keep_exclusions_of_any_length() -> None:
    """0 is no limit."""
    assert settings(events={**SHOP, "exclude_days": 365}, state={"user_ttl": 0}).events.exclude_days == 365
