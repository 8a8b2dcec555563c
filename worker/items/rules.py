"""The rules in service: which of them are in force, in every release that serves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from worker.core.known_items import KnownItems
from worker.core.reasons import Reason
from worker.core.recommender import Recommender
from worker.core.rule_effects import RuleEffects
from worker.core.rules import RuleChange, Rules
from worker.items.following import Following, Messages

COMPARE_SECONDS: Final = 10.0
"""The interval at which a list is compared with those that it would be without each of the rules."""

log = structlog.get_logger("worker")


class RuleUpdates(Following[Rules, RuleChange]):
    """The latest rules."""

    what = "rules"
    messages = Messages(
        reading="reading the rules: ",
        read="read the rules",
        refused="records of rules refused",
        behind="the rules are not up to date",
        again="the rules are up to date again",
    )
    items: Callable[[], KnownItems]
    """Returns what is known of items, always the same object."""
    _compare_due = 0.0

    def _introduce(self, known: Rules, recommender: Recommender) -> None:
        recommender.listing.constraints.set(known.in_force, self.items())

    def _change(self, known: Rules, changes: Sequence[RuleChange]) -> None:
        before = known.in_force
        if known.put(changes, now_ms=self._clock.now_ms()):
            self._in_force(before, known)

    def _advance(self, known: Rules) -> None:
        before = known.in_force
        if known.advance(self._clock.now_ms()):
            self._in_force(before, known)

    def _in_force(self, before: Mapping[str, object], known: Rules) -> None:
        for recommender in self._recommenders():
            self._introduce(known, recommender)
        after = known.in_force
        log.info(
            "other rules are in force",
            rules=len(after),
            new=[name for name, rule in after.items() if before.get(name) != rule][:20],
            ended=[name for name in before if name not in after][:20],
        )

    def _note(self, known: Rules) -> None:
        metrics = self._metrics.rules
        metrics.observe_known(len(known), known.in_force)
        due = self._clock.steady() >= self._compare_due
        for recommender in self._recommenders():
            metrics.observe_effects(recommender.listing.effects)
            recommender.listing.effects = RuleEffects(due or recommender.listing.effects.due)
        if due:
            self._compare_due = self._clock.steady() + COMPARE_SECONDS

    def _summary(self, known: Rules) -> dict[str, int]:
        return {"rules": len(known), "in_force": len(known.in_force)}

    def _count(self, refused: Counter[Reason]) -> None:
        self._metrics.rules.observe_refused(refused)
