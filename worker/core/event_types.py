"""The types of events, and what an event of each type does: a view is a click, a purchase excludes an item.

A type is compared in the form of ids (`worker.core.ids`), as in `worker.core.where`.

>>> path = parse("type")
>>> types = EventTypes(path, step=["view", "cart"], exclude=["purchase", "cart"], request="ask")
>>> [types.kind(one) for one in ("view", "cart", "purchase", "ask", "search", None)]
[1, 3, 2, 4, 0, 0]

Without `step`, all types that are in no other list move the network, and so does an event without a type:

>>> types = EventTypes(path, exclude=["purchase"], request="ask")
>>> [types.kind(one) for one in ("view", "purchase", "ask", "search", None)]
[1, 2, 4, 1, 1]
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from worker.core.ids import canonical
from worker.core.paths import Path, parse  # noqa: F401  # parse: for the doctest
from worker.core.where import Clause, compared

STEP: Final = 1
"""The event is a click: it moves the network and gets a list."""
EXCLUDE: Final = 2
"""The event's item is excluded from the user's lists for some time."""
REQUEST: Final = 4
"""The event asks for a list."""
SKIP: Final = 0
"""The event does nothing. Other kinds of events are sums of `STEP` and `EXCLUDE`, or `REQUEST` alone."""


class EventTypes:
    """The effects of an event, by the type in its field at `path`.

    Without `step`, events of all types but those in `exclude` and `request` are steps. Otherwise, events of
    types in no list are skipped. A type may be in both `step` and `exclude`.
    """

    def __init__(
        self, path: Path, *, step: Collection[str] = (), exclude: Collection[str] = (), request: str = ""
    ) -> None:
        self.path = path
        self.excludes = bool(exclude)
        """Whether any type excludes items."""
        self._kinds = dict[str, int]()
        for kind, types in ((STEP, step), (EXCLUDE, exclude), (REQUEST, [request] if request else ())):
            for one in map(canonical, types):
                self._kinds[one] = self._kinds.get(one, SKIP) | kind
        self._other = SKIP if step else STEP

    def kind(self, found: Any, *, exact: bool = False) -> int:
        """Return what an event with this value of its type does. Raises Inexact like `ids.text_of`."""
        kinds = self._kinds
        if type(found) is str and found in kinds:
            return kinds[found]
        return kinds.get(compared(found, exact=exact) or "", self._other)

    def steps(self) -> Clause:
        """Return the clause that holds for the events that are steps."""
        is_listed = self._other == SKIP
        return Clause(
            self.path,
            is_listed,
            frozenset(one for one, kind in self._kinds.items() if bool(kind & STEP) is is_listed),
            setting="events.type",
        )
