"""What lists must not show: items that their user bought, and items that are not available any more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from tests.oracle import Owner, PlacedClick
from tests.records import Record
from tests.verdict import UNAVAILABLE, Input, Verdict
from worker.core.event_types import EXCLUDE, STEP

KEPT: Final = 16
"""How many bought items a user keeps, as the worker's documentation says."""

DAY_MS: Final = 86_400_000

AT_MOST_MS: Final = 1_000
"""For how long lists may still have an item after it became unavailable."""

RECONNECT_MS: Final = 1_200
"""When a worker finds a broker that is back, at the latest: `RECONNECT_MAX_MS` of its client, and a fifth."""


class Removal(NamedTuple):
    """A time in which an item was unavailable."""

    item_id: str
    since_ms: float
    """When Kafka had acknowledged the record that says so, and the time in it, if any, had come."""
    until_ms: float
    """When a record that makes it available again was sent."""


def judge_bought(verdict: Verdict, given: Input, answers: Iterable[Record], *, exclude_days: int) -> None:
    """No answer to a click has an item that its user bought before it, by the order of the partition.

    Judged by the last purchase of each of the last 16 items: no item of these was dropped after it.
    """
    lists = {answer.header("id"): answer.json["items"] for answer in answers}
    for owner, events in _by_owner(given.events).items():
        bought: dict[str, PlacedClick] = {}
        for one in events:
            if one.click.kind & EXCLUDE:
                verdict.purchases += 1
                bought.pop(one.click.item_id, None)
                bought[one.click.item_id] = one
        kept = dict([*bought.items()][-KEPT:])
        for one in events:
            if not one.click.kind & STEP:
                continue
            name = f"{given.topic}/{one.partition}/{one.offset}"
            for item_id in lists.get(name, ()):
                purchase = kept.get(item_id)
                if purchase and purchase.offset <= one.offset and _days(purchase, one) <= exclude_days:
                    verdict.bought_shown += 1
                    verdict.problems.append(
                        f"the answer to {name} has {item_id}, which {owner} bought at {purchase.offset}"
                    )


def judge_removed(
    verdict: Verdict,
    removals: Iterable[Removal],
    answers: Sequence[Record],
    *,
    away: Sequence[tuple[float, float]] = (),
) -> None:
    """No list was produced with an item that had been unavailable for over a second.

    `away`: the times in ms in which a broker was away; the second begins again when workers have found it.
    Counts the removals of items that lists had in the second before, or still have: others tell nothing.
    """
    by_item: dict[str, list[Removal]] = defaultdict(list)
    for removal in removals:
        by_item[removal.item_id].append(removal)
    shown_ms: dict[Removal, float] = {}
    for answer in answers:
        document = answer.json
        for item_id in document["items"]:
            for removal in by_item.get(item_id, ()):
                after_ms = document["produced_at"] - removal.since_ms
                if after_ms < -AT_MOST_MS or document["produced_at"] >= removal.until_ms:
                    continue
                shown_ms[removal] = max(after_ms, shown_ms.get(removal, 0.0))
                if after_ms <= AT_MOST_MS:
                    continue
                if any(
                    begin <= document["produced_at"] <= end + RECONNECT_MS + AT_MOST_MS for begin, end in away
                ):
                    verdict.removed_in_outage += 1
                else:
                    verdict.removed_shown += 1
                    verdict.problems.append(
                        f"the answer to {answer.header('id')}, produced at {document['produced_at']}, has "
                        f"{item_id}, {UNAVAILABLE} {after_ms:.0f} ms"
                    )
    verdict.removals += len(shown_ms)
    verdict.seconds_shown += [time_ms / 1000 for time_ms in shown_ms.values()]


def _by_owner(events: Iterable[PlacedClick]) -> dict[Owner, list[PlacedClick]]:
    found: dict[Owner, list[PlacedClick]] = defaultdict(list)
    for one in events:
        found[Owner(one.partition, one.click.user_id)].append(one)
    return found


def _days(earlier: PlacedClick, later: PlacedClick) -> int:
    return later.click.timestamp_ms // DAY_MS - earlier.click.timestamp_ms // DAY_MS
