"""The rules in force, compiled for the items of one release, and kept current as tags of items change.

Rules for all lists cost nothing per click, except pins and limits: `Availability` adds them to the scores of
the table. Rules for some lists become a `Constraint` of these lists.

Of several rules, all hold. An item that one rule leaves out is left out. Boosts of an item add up.

>>> known = KnownItems()
>>> _ = known.put([("rug", Item(tags=("floor",))), ("lamp", Item(tags=("light",)))], now_ms=0)
>>> groups = _Grouped("l", items=3)
>>> owners, numbers = known.tags_at(known.places(["rug", "sofa", "lamp"]))
>>> groups.learn(known.tag_names)
>>> groups.look(np.arange(3, dtype=np.int32), owners, numbers)
>>> groups.groups.tolist()
[-1, -1, 0]
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.core.availability import Availability
from worker.core.catalogue import Catalogue
from worker.core.known_items import Item, KnownItems  # noqa: F401  # Item: for the doctest
from worker.core.placing import Cap, Constraint, Part
from worker.core.ranking import NO_ITEM, Floats, Indexes
from worker.core.rules import Boost, Exclude, Limit, Pin, Rule

Flags = NDArray[np.bool_]

_COMPILED: Final = 1 << 16
"""Items whose tags are looked at together: with 20 tags each, their numbers take about 30 MB."""

_KEPT: Final = 64
"""Constraints that are kept for the next batch; the ones that were not used for the longest time go first."""

_KEPT_BYTES: Final = 64 << 20
"""Maximum size of those that are kept, but for one. Each may take 4 bytes for each item of the catalogue."""


class _Tagged:
    """The items of a release that have one of some tags."""

    def __init__(self, tags: Collection[str], items: int) -> None:
        self._tags = frozenset(tags)
        self._by_tag: Flags = np.empty(0, np.bool_)
        self.flags: Flags = np.zeros(items + 1, np.bool_)
        """By item; the last one, which `NO_ITEM` addresses, has no tags."""

    def learn(self, names: Sequence[str]) -> None:
        """Take notice of new tags: `names` are all of them, by number."""
        if len(names) == len(self._by_tag):
            return
        new = names[len(self._by_tag) :]
        self._by_tag = np.append(self._by_tag, np.array([one in self._tags for one in new], np.bool_))

    def look(self, items: Indexes, owners: NDArray[np.intp], numbers: Indexes) -> None:
        """Look at the tags of `items` again: `numbers` are those of the items at `owners`."""
        self.flags[items] = False
        self.flags[items[owners[self._by_tag[numbers]]]] = True


class _Grouped:
    """The items of a release in groups, by their first tag with a prefix."""

    def __init__(self, prefix: str, items: int) -> None:
        self._prefix = prefix
        self._by_tag: Indexes = np.empty(0, np.int32)
        self._count = 0
        self.groups: Indexes = np.full(items, NO_ITEM, np.int32)

    def learn(self, names: Sequence[str]) -> None:
        """Take notice of new tags: `names` are all of them, by number."""
        if len(names) == len(self._by_tag):
            return
        new = names[len(self._by_tag) :]
        flags = np.array([one.startswith(self._prefix) for one in new], np.bool_)
        groups = np.where(flags, self._count - 1 + np.cumsum(flags), NO_ITEM).astype(np.int32)
        self._by_tag, self._count = np.append(self._by_tag, groups), self._count + int(flags.sum())

    def look(self, items: Indexes, owners: NDArray[np.intp], numbers: Indexes) -> None:
        """Look at the tags of `items` again: `numbers` are those of the items at `owners`, in their order."""
        self.groups[items] = NO_ITEM
        found = self._by_tag[numbers]
        # An item that is assigned to several times keeps the last value: its first tag.
        here = np.flatnonzero(found != NO_ITEM)[::-1]
        self.groups[items[owners[here]]] = found[here]


class Constraints:
    """The rules in force for one release. At first, there are none. Not thread-safe."""

    def __init__(self, catalogue: Catalogue, availability: Availability) -> None:
        self._catalogue = catalogue
        self._availability = availability
        self._known: KnownItems | None = None
        self._places: Indexes = np.empty(0, np.int32)
        """By item: its place among the known items; empty until a rule needs it."""
        self._rules: dict[str, Rule] = {}
        self._tagged: dict[tuple[str, ...], _Tagged] = {}
        self._grouped: dict[str, _Grouped] = {}
        """The tags, and the prefixes of tags, that rules look at."""
        self._always = Constraint()
        """That of all lists, without what `Availability` adds."""
        self._added: Floats | None = None
        self._conditional: list[str] = []
        self._made: dict[tuple[str, ...], Constraint] = {}
        """By the names of the conditional rules that hold: the constraint. The one used last is the last."""
        self._kept = max(1, min(_KEPT, _KEPT_BYTES // max(1, 4 * len(catalogue))))
        self._tag_changes = -1
        """The changes of tags when they were last looked at."""

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules in force, in the order of their names."""
        return self._rules

    def set(self, rules: Mapping[str, Rule], known: KnownItems) -> None:
        """Put these rules, in the order of their names, into force, and no others."""
        if not rules and not self._rules:
            return
        self._rules = dict(sorted(rules.items()))
        self._known = known
        self._conditional = [name for name, rule in self._rules.items() if rule.is_conditional]
        self._made = {}
        self._look(known)
        always = [rule for rule in self._rules.values() if not rule.is_conditional]
        self._added = self._adjusted(always)
        self._availability.add(self._added)
        self._always = Constraint(None, self._pins(always), self._caps(always))

    def retag(self, item_ids: Collection[str]) -> None:
        """Take notice of tags of known items that may have changed."""
        if self._known is None or not (self._tagged or self._grouped):
            return
        if self._tag_changes == self._known.tag_changes:
            return
        self._tag_changes = self._known.tag_changes
        ids = [*item_ids]
        indexes = self._catalogue.indexes(ids)
        here = np.flatnonzero(indexes != NO_ITEM)
        if not len(here):
            return
        items = indexes[here]
        self._places[items] = self._known.places(ids[one] for one in here.tolist())
        self._compile(self._known, items)
        self._made = {}
        added = self._adjusted([rule for rule in self._rules.values() if not rule.is_conditional], items)
        if added is not None and self._added is not None:
            self._added[items] = added
            self._availability.add(self._added, items)

    def holding(self, last: Indexes, placement: str = "") -> list[str]:
        """Return the names of the rules that hold for a list after a click on the item `last` `[1]`."""
        return [
            name
            for name, rule in self._rules.items()
            if not rule.is_conditional or (_is_at(rule, placement) and self._holds(rule, last)[0])
        ]

    def together(self, names: Collection[str], items: Indexes | None = None) -> Constraint:
        """Return the constraint that some of the rules make, with what `Availability` adds to scores.

        `items`: ascending, with all that are pinned; the constraint is for a table of these alone.
        """
        some = [rule for name, rule in self._rules.items() if name in names]
        pins, caps = self._pins(some), self._caps(some)
        if items is not None:
            pins = tuple((place, int(np.searchsorted(items, item))) for place, item in pins)
            caps = tuple(cap._replace(groups=cap.groups[items]) for cap in caps)
        return Constraint(self._adjusted(some, items), pins, caps)

    def adjusting(self, name: str, items: Indexes) -> Floats | None:
        """Return by how much one rule changes the scores of `items`; None if it changes no scores."""
        return self._adjusted([self._rules[name]], items)

    def parts(self, last: Indexes, placement: str = "") -> list[Part]:
        """Divide lists by their constraints. `last`: the item of each user's last event, or `NO_ITEM`."""
        every = np.arange(len(last))
        conditional = [name for name in self._conditional if _is_at(self._rules[name], placement)]
        if not conditional:
            return [Part(every, self._of(()))] if len(last) else []
        holds = np.stack([self._holds(self._rules[name], last) for name in conditional], axis=1)
        sets, which = np.unique(holds, axis=0, return_inverse=True)
        names = [tuple(np.array(conditional, np.object_)[one]) for one in sets]
        return [
            Part(np.flatnonzero(which.reshape(-1) == number), self._of(one))
            for number, one in enumerate(names)
        ]

    def _holds(self, rule: Rule, last: Indexes) -> Flags:
        if not rule.last_event_tags:
            return np.ones(len(last), np.bool_)
        return self._tagged[rule.last_event_tags].flags[last]

    def _of(self, names: tuple[str, ...]) -> Constraint | None:
        """Return the constraint of lists for which these conditional rules hold."""
        if not names:
            return self._always if self._always.pins or self._always.caps else None
        made = self._made.pop(names, None)
        if made is None:
            some = [self._rules[name] for name in names]
            every = [rule for name, rule in self._rules.items() if not rule.is_conditional or name in names]
            made = Constraint(self._adjusted(some), self._pins(every), self._caps(every))
        self._made[names] = made
        if len(self._made) > self._kept:
            del self._made[next(iter(self._made))]
        return made

    def _look(self, known: KnownItems) -> None:
        """Look at the tags that the rules need, of all items."""
        items, new = len(self._catalogue), False
        tagged, self._tagged, grouped, self._grouped = self._tagged, {}, self._grouped, {}
        for rule in self._rules.values():
            action = rule.action
            if isinstance(action, Limit):
                new |= action.prefix not in grouped
                self._grouped[action.prefix] = grouped.get(action.prefix) or _Grouped(action.prefix, items)
            for tags in (rule.last_event_tags, () if isinstance(action, Pin | Limit) else action.tags):
                if tags:
                    new |= tags not in tagged
                    self._tagged[tags] = tagged.get(tags) or _Tagged(tags, items)
        if new:
            if not len(self._places):
                self._places = known.places_of(self._catalogue)
            for begin in range(0, items, _COMPILED):
                self._compile(known, np.arange(begin, min(begin + _COMPILED, items), dtype=np.int32))
        elif not (self._tagged or self._grouped):
            self._places = np.empty(0, np.int32)

    def _compile(self, known: KnownItems, items: Indexes) -> None:
        """Look at the tags of `items`."""
        owners, numbers = known.tags_at(self._places[items])
        looks: list[_Tagged | _Grouped] = [*self._tagged.values(), *self._grouped.values()]
        for one in looks:
            one.learn(known.tag_names)
            one.look(items, owners, numbers)

    def _adjusted(self, rules: Sequence[Rule], items: Indexes | None = None) -> Floats | None:
        """Return by how much rules change the scores of `items`, or of all; None if they change no scores."""
        which: Indexes | slice = slice(len(self._catalogue)) if items is None else items
        change: Floats | None = None
        for rule in rules:
            if isinstance(rule.action, Pin | Limit):
                continue
            flags = self._tagged[rule.action.tags].flags[which]
            if change is None:
                change = np.zeros(len(flags), np.float32)
            if isinstance(rule.action, Boost):
                change[flags] += np.float32(np.log(rule.action.factor))
            else:
                change[flags if isinstance(rule.action, Exclude) else ~flags] = -np.inf
        return change

    def _pins(self, rules: Sequence[Rule]) -> tuple[tuple[int, int], ...]:
        """Return the pins in the order of places, and then of names; of an item, the first one counts."""
        pins = sorted((rule.action for rule in rules if isinstance(rule.action, Pin)), key=_place)
        found = dict[int, int]()
        for pin, item in zip(
            pins, self._catalogue.indexes(pin.item_id for pin in pins).tolist(), strict=True
        ):
            if item != NO_ITEM:
                found.setdefault(item, pin.place)
        return tuple((place, item) for item, place in found.items())

    def _caps(self, rules: Sequence[Rule]) -> tuple[Cap, ...]:
        found = list[Cap]()
        for rule in rules:
            if isinstance(rule.action, Limit):
                found.append(Cap(self._grouped[rule.action.prefix].groups, rule.action.at_most))
        return tuple(found)


def _place(pin: Pin) -> int:
    return pin.place


def _is_at(rule: Rule, placement: str) -> bool:
    return not rule.placements or placement in rule.placements
