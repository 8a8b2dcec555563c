"""The rules of a shop: what is left out of lists, lifted, pinned or capped, and when.

A rule has one action. It holds for all lists, or for those at some placements, or for those after an event on
an item with some tags. A rule is in force from `from_ms` up to, not including, `until_ms`.

>>> rules = Rules()
>>> rules.put([("fresh", Rule(Boost(("new",), 2.0), until_ms=2_000))], now_ms=1_000)
True
>>> [*rules.in_force], rules.advance(2_000), [*rules.in_force]
(['fresh'], True, [])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

_NEVER: Final = 1 << 62


class Exclude(NamedTuple):
    """No item with one of the tags is in a list."""

    tags: tuple[str, ...]


class Allow(NamedTuple):
    """Only items with one of the tags are in a list."""

    tags: tuple[str, ...]


class Boost(NamedTuple):
    """The score of items with one of the tags is higher by the logarithm of `factor`."""

    tags: tuple[str, ...]
    factor: float


class Pin(NamedTuple):
    """The item is at this place of a list, counted from 1."""

    item_id: str
    place: int


class Limit(NamedTuple):
    """At most `at_most` items of a list have the same tag with this prefix; an item's first one counts."""

    prefix: str
    at_most: int


Action = Exclude | Allow | Boost | Pin | Limit


class Rule(NamedTuple):
    """One rule. Empty `placements`: for all of them. Empty `last_event_tags`: whatever the last event."""

    action: Action
    from_ms: int | None = None
    until_ms: int | None = None
    placements: tuple[str, ...] = ()
    last_event_tags: tuple[str, ...] = ()

    @property
    def is_conditional(self) -> bool:
        """Whether the rule holds for some lists only."""
        return bool(self.placements or self.last_event_tags)

    def is_in_force(self, now_ms: int) -> bool:
        """Return whether the rule is in force at a time."""
        begun = self.from_ms is None or now_ms >= self.from_ms
        return begun and (self.until_ms is None or now_ms < self.until_ms)


RuleChange = tuple[str, Rule | None]
"""The name of a rule and the new rule; None: the rule is gone."""


class Rules:
    """The latest rules by name, and those that are in force.

    Time never goes back: an earlier `now_ms` counts as the latest one.
    """

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}
        self._now_ms = -_NEVER
        self._next_ms = _NEVER
        """The next time at which a rule comes into force, or ends."""
        self.in_force: dict[str, Rule] = {}
        """The rules that are in force, in the order of their names."""

    def __len__(self) -> int:
        return len(self._rules)

    def put(self, changes: Iterable[RuleChange], *, now_ms: int) -> bool:
        """Store new rules, in their order; return whether what is in force has changed."""
        for name, rule in changes:
            if rule is None:
                self._rules.pop(name, None)
            else:
                self._rules[name] = rule
        return self._judge(now_ms)

    def advance(self, now_ms: int) -> bool:
        """Let the clock go on; return whether what is in force has changed."""
        return now_ms >= self._next_ms and self._judge(now_ms)

    def changes(self) -> Iterator[RuleChange]:
        """Yield all rules, as changes to put."""
        yield from self._rules.items()

    def _judge(self, now_ms: int) -> bool:
        now = self._now_ms = max(now_ms, self._now_ms)
        times = (time for rule in self._rules.values() for time in (rule.from_ms, rule.until_ms))
        self._next_ms = min((time for time in times if time is not None and time > now), default=_NEVER)
        found = {name: rule for name, rule in sorted(self._rules.items()) if rule.is_in_force(now)}
        changed, self.in_force = found != self.in_force, found
        return changed
