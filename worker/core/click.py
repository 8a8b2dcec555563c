"""The results of decoding: a click, a request, or the several clicks of one record.

>>> Click("ada", "lamp", 1_700_000_000_000).kind == STEP
True
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from worker.core.event_types import STEP
from worker.core.reasons import Reason, Skipped


class Click(NamedTuple):
    """A valid click: ids are non-empty text, the time is in milliseconds since the epoch (UTC).

    `kind`: the sum of `STEP` and `EXCLUDE` that the event's type means (`worker.core.event_types`).
    """

    user_id: str
    item_id: str
    timestamp_ms: int
    kind: int = STEP


class Request(NamedTuple):
    """A valid request for a list: an event of the type `REQUEST`. Its `document` has more fields.

    `element`: see `Part`.
    """

    user_id: str
    timestamp_ms: int
    document: Mapping[Any, Any]
    element: int = 0


class Part(NamedTuple):
    """One of several clicks in a record.

    `element`: the position of the click's event in the record's list, from 1; 0 if the record is a single
    event. `ends_event`: whether this is the last click of its event. Only the last click of an event may get
    a list.
    """

    click: Click
    element: int
    ends_event: bool


class Several(NamedTuple):
    """The contents of a record that may have several clicks."""

    parts: list[Part]
    bad: list[tuple[str, Reason]]
    """The place of each invalid event or item, such as `[2].items[0]`, and the reason why it is invalid."""
    skipped: list[Skipped]
    requests: list[Request]

    @property
    def total(self) -> int:
        """The number of its clicks, requests, and invalid or skipped events and items."""
        return len(self.parts) + len(self.bad) + len(self.skipped) + len(self.requests)


Decoded = Click | Request | Several | Skipped | Reason
