"""The metrics of rules, and of lists that are shorter than they should be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from worker.core.reasons import Reason
from worker.core.rule_effects import RuleEffects

MAX_RULES: Final = 100
"""The number of rules for which changed lists are exported."""


class RuleMetrics:
    """The metrics of rules, in the registry of the worker's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._known = Gauge("nextclick_rules", "Rules in the rules topic.", registry=registry)
        self._in_force = Gauge(
            "nextclick_rules_in_force", "Rules of the rules topic that are in force now.", registry=registry
        )
        self._refused = Counter(
            "nextclick_rule_records_refused",
            "Records of the rules topic that are refused, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in Reason:
            self._refused.labels(reason)
        self._compared = Counter(
            "nextclick_rule_lists_compared",
            "Lists that were compared with those without each of the rules; a sample, one every 10 s.",
            registry=registry,
        )
        self._changed = Counter(
            "nextclick_rule_lists_changed",
            "Compared lists that a rule changed, by rule: the first 100 rules in force, by name.",
            ["rule"],
            registry=registry,
        )
        self.short_lists = Counter(
            "nextclick_short_lists",
            "Lists with fewer than recommend.top items, because no more may be in them.",
            registry=registry,
        )
        self._names: set[str] = set()
        """The rules for which changed lists are exported."""

    def observe_known(self, known: int, in_force: Collection[str]) -> None:
        """Record how many rules there are, and the names of those in force."""
        self._known.set(known)
        self._in_force.set(len(in_force))
        names = set(islice(in_force, MAX_RULES))
        for name in names - self._names:
            self._changed.labels(name)
        for name in self._names - names:
            self._changed.remove(name)
        self._names = names

    def observe_refused(self, refused: Mapping[Reason, int]) -> None:
        """Count refused records."""
        for reason, number in refused.items():
            self._refused.labels(reason).inc(number)

    def observe_effects(self, effects: RuleEffects) -> None:
        """Add the counts of compared lists."""
        self._compared.inc(effects.compared)
        for name in self._names & effects.changed.keys():
            self._changed.labels(name).inc(effects.changed[name])
