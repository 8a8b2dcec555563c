"""Metrics of rules: a bounded number of labels, for the rules in force only."""

from __future__ import annotations

from collections import Counter

from prometheus_client import CollectorRegistry

from worker.core.reasons import Reason
from worker.core.rule_effects import RuleEffects
from worker.metrics.rules import MAX_RULES, RuleMetrics


def changed(registry: CollectorRegistry) -> dict[str, float]:
    """By rule: how many compared lists it changed."""
    return {
        sample.labels["rule"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "nextclick_rule_lists_changed_total"
    }


def test_rules_in_force_have_a_series_from_the_start_until_they_end() -> None:
    """At 0, so that `increase()` sees the first list."""
    registry = CollectorRegistry()
    metrics = RuleMetrics(registry)
    metrics.observe_known(3, ["a", "b"])
    before = changed(registry)
    metrics.observe_effects(RuleEffects(compared=2, changed=Counter(a=2, gone=1)))
    metrics.observe_known(3, ["a"])

    assert before == {"a": 0, "b": 0}
    assert changed(registry) == {"a": 2}
    assert registry.get_sample_value("nextclick_rules") == 3
    assert registry.get_sample_value("nextclick_rules_in_force") == 1
    assert registry.get_sample_value("nextclick_rule_lists_compared_total") == 2


def test_many_rules_have_few_series() -> None:
    """Names are chosen by people, so their number is bounded."""
    registry = CollectorRegistry()
    RuleMetrics(registry).observe_known(1_000, [f"rule-{number}" for number in range(1_000)])

    assert len(changed(registry)) == MAX_RULES


def test_refused_records_are_counted_by_reason() -> None:
    """All reasons exist from the start."""
    registry = CollectorRegistry()
    metrics = RuleMetrics(registry)
    metrics.observe_refused({Reason.INVALID_RULE: 2})
    name = "nextclick_rule_records_refused_total"

    assert registry.get_sample_value(name, {"reason": "invalid_rule"}) == 2
    assert registry.get_sample_value(name, {"reason": "not_a_map"}) == 0
