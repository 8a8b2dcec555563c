"""The input topic. Applications write it; the worker's consumer group reads it.

A record has one event or several (`worker.core.event`); the order of clicks in the partition matters. The
group's committed offsets, written in the worker's transactions, mark the progress.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import numpy as np

from worker.core.batch import Clicks
from worker.core.click import Click, Part, Request, Several
from worker.core.event import Decoder
from worker.core.reasons import Reason, Skipped, Undecodable
from worker.core.request_record import ListRequest, parse_request
from worker.core.times import NAMES, NO_TIME, unit_of
from worker.kafka.interface import Record

_SEARCHED: Final = 100
"""Maximum number of records that are decoded again to find an example of a time."""


class Invalid(NamedTuple):
    """A record for the dead-letter topic.

    `parts`: in a record that may have several clicks, the place and reason of each invalid part.
    """

    record: Record
    reason: Reason
    parts: str = ""


class Requested(NamedTuple):
    """A request for a list, and the record that has it."""

    record: Record
    request: Request
    asked: ListRequest


class Decoded(NamedTuple):
    """The contents of some records.

    Each record is counted once: in `clicked`, in `requested`, in `skipped` or in `bad`.
    """

    clicks: Clicks
    bad: list[Invalid]
    skipped: Counter[Skipped]
    """By reason: the number of valid records without a click."""
    clicked: int
    """The number of records that have clicks and are not in `bad`."""
    trimmed: int
    """The number of ids with whitespace around them."""
    times: dict[str, tuple[int, Any]]
    """The number of clicks by the kind of their times (`worker.core.times`), each with an example.

    The example is None if it was not found quickly, or if the clicks have no time of their own.
    """
    requests: Sequence[Requested] = ()
    requested: int = 0
    """The number of records that have requests and no clicks, and are not in `bad`."""

    @property
    def records(self) -> int:
        """The total number of records."""
        return self.clicked + self.requested + self.skipped.total() + len(self.bad)

    def left_out(self) -> Counter[str]:
        """Return the number of skipped and invalid records, by reason."""
        return Counter([*map(str, self.skipped.elements()), *(str(one.reason) for one in self.bad)])


def decode(records: Sequence[Record], decoder: Decoder, *, enough: float = math.inf) -> Decoded:
    """Return the clicks in `records` as columns, the invalid records, and the number of skipped records.

    Decoding ends after the record that completes `enough` clicks; `Decoded.records` is the number of records
    decoded. Raises the errors of the decoder's `parse`.
    """
    trimmed = decoder.ids.trimmed
    decoder.times.take_kinds()
    good: list[Click] = []
    of: list[Record] = []
    parts: list[tuple[int, Part]] = []
    rest = _Rest()
    decoded, requests = decoder.decode, rest.requests
    for record in records:
        if len(good) + len(requests) >= enough:
            break
        if record.unreadable is not None:
            rest.bad.append(Invalid(record, Reason.UNREADABLE))
            continue
        found = decoded(record.value, record.key, record.timestamp, record.headers)
        if type(found) is Click:
            good.append(found)
            of.append(record)
        elif isinstance(found, Several):
            parts += enumerate(found.parts, len(good))
            good += [part.click for part in found.parts]
            of += [record] * len(found.parts)
            rest.add_several(record, found)
        elif not isinstance(found, Click):
            rest.add(record, found)
    clicked = len(good) - len(parts) + rest.several
    trimmed = decoder.ids.trimmed - trimmed
    times = _times(records, good, decoder)
    clicks = _columns(good, of, parts, typed=decoder.types is not None)
    return Decoded(clicks, rest.bad, rest.skipped, clicked, trimmed, times, requests, rest.requested)


class _Rest:
    """The results of decoding, except the clicks."""

    def __init__(self) -> None:
        self.bad: list[Invalid] = []
        self.skipped = Counter[Skipped]()
        self.requests: list[Requested] = []
        self.requested = self.several = 0
        """The numbers of records with requests alone, and of records of several clicks, without faults."""

    def add(self, record: Record, found: Request | Skipped | Reason) -> None:
        """Add a record without a click."""
        if isinstance(found, Request):
            wrong = _ask(record, found, self.requests)
            self.requested += wrong is None
            if wrong is not None:
                self.bad.append(Invalid(record, wrong))
        elif isinstance(found, Skipped):
            self.skipped[found] += 1
        else:
            self.bad.append(Invalid(record, found))

    def add_several(self, record: Record, found: Several) -> None:
        """Add a record that may have several clicks."""
        refused = [(one.element, _ask(record, one, self.requests)) for one in found.requests]
        # A request among the items of an event that is not in a list has no place.
        wrongs = found.bad + [
            (f"[{element - 1}]" if element else "", why) for element, why in refused if why is not None
        ]
        if wrongs:
            places = "; ".join(f"{place}: {reason}" if place else str(reason) for place, reason in wrongs)
            self.bad.append(Invalid(record, wrongs[0][1], places))
        elif found.parts:
            self.several += 1
        elif found.requests:
            self.requested += 1
        else:
            self.skipped[found.skipped[0]] += 1


def _ask(record: Record, request: Request, requests: list[Requested]) -> Reason | None:
    """Add a request to `requests`, or return the reason why it is not valid."""
    try:
        requests.append(Requested(record, request, parse_request(request.document)))
    except Undecodable as error:
        return error.reason
    return None


def _times(records: Sequence[Record], good: Sequence[Click], decoder: Decoder) -> dict[str, tuple[int, Any]]:
    """Return `Decoded.times` of the last decoded records."""
    kinds = decoder.times.take_kinds()
    if NO_TIME in kinds:
        kinds[NO_TIME] = kinds[NO_TIME][0], None
    # The decoder leaves out integers in milliseconds, because nearly all times are.
    plain = len(good) - sum(count for count, _ in kinds.values())
    if plain <= 0:
        return kinds
    name = NAMES["ms"]
    count, example = kinds.get(name, (0, None))
    if not kinds:
        example = good[-1].timestamp_ms
    elif example is None:
        found = (one for record in islice(records, _SEARCHED) for one in _plain_times(record, decoder))
        example = next(found, None)
    return {**kinds, name: (count + plain, example)}


def _plain_times(record: Record, decoder: Decoder) -> list[int]:
    """Return the times in a record that are integers in milliseconds."""
    found = decoder.times_in(record.value, record.key, record.timestamp, record.headers)
    return [one for one in found if type(one) is int and unit_of(one) == "ms"]


def _columns(
    good: Sequence[Click], of: Sequence[Record], parts: Sequence[tuple[int, Part]], *, typed: bool
) -> Clicks:
    """Return the clicks `good` of the records `of` as columns."""
    clicks = Clicks(
        partitions=np.array([record.partition for record in of], np.int32),
        offsets=np.array([record.offset for record in of], np.int64),
        user_ids=[click.user_id for click in good],
        item_ids=[click.item_id for click in good],
        timestamps_ms=np.array([click.timestamp_ms for click in good], np.int64),
        record_timestamps_ms=np.array([record.timestamp for record in of], np.int64),
    )
    if typed:
        clicks.kinds[:] = [click.kind for click in good]
    for place, part in parts:
        clicks.elements[place] = part.element
        clicks.ends_event[place] = part.ends_event
    return clicks
