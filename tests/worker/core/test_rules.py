"""Rules: what is in force, by records and by the clock, against a model that asks each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.core.rules import Exclude, Rule, RuleChange, Rules

times = st.none() | st.integers(0, 20)
rules = st.builds(Rule, st.builds(Exclude, st.tuples(st.sampled_from("abc"))), from_ms=times, until_ms=times)
puts = st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), st.none() | rules), max_size=4)
steps = st.lists(st.tuples(puts, st.integers(-2, 6)), max_size=20)


@given(steps)
def test_records_and_clock_decide_together_what_is_in_force(
    steps: list[tuple[list[RuleChange], int]],
) -> None:
    """In the order of names. It is said to have changed exactly when it has; time never goes back."""
    held, said, now_ms, latest_ms, before = Rules(), dict[str, Rule | None](), 0, -100, dict[str, Rule]()
    for changes, passed in steps:
        now_ms += passed
        latest_ms = max(latest_ms, now_ms)
        changed = held.advance(now_ms)
        changed = held.put(changes, now_ms=now_ms) or changed
        said |= dict(changes)
        expected = {
            name: rule
            for name, rule in sorted(said.items())
            if rule is not None
            and (rule.from_ms is None or latest_ms >= rule.from_ms)
            and (rule.until_ms is None or latest_ms < rule.until_ms)
        }

        assert [*held.in_force.items()] == [*expected.items()]
        assert len(held) == sum(rule is not None for rule in said.values())
        assert changed or before == expected
        before = expected


def test_a_rule_comes_into_force_and_ends_at_its_times() -> None:
    """To the millisecond; in between, nothing has to be done."""
    rules = Rules()
    rule = Rule(Exclude(("old",)), from_ms=10, until_ms=20)

    assert rules.put([("rule", rule)], now_ms=0) is False
    assert [(rules.advance(now), [*rules.in_force]) for now in (9, 10, 19, 20, 30)] == [
        (False, []),
        (True, ["rule"]),
        (False, ["rule"]),
        (True, []),
        (False, []),
    ]


@given(puts)
def test_all_rules_can_be_put_elsewhere(changes: list[RuleChange]) -> None:
    """As changes: then the other one knows the same."""
    rules, other = Rules(), Rules()
    rules.put(changes, now_ms=5)
    other.put(rules.changes(), now_ms=5)

    assert other.in_force == rules.in_force
    assert len(other) == len(rules)
