"""Records come in and nothing useful comes of them: the worker says so, and why."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.worker.desk import Desk, DeskWorker, successor_desk
from worker.core.event import Decoder, Fields
from worker.core.reasons import Reason
from worker.http.readiness import Readiness
from worker.metrics import Metrics
from worker.process.outcomes import FEWEST, SECONDS, WINDOW, Letter, Outcomes
from worker.schemas.interface import Schema
from worker.schemas.memory import MemoryRegistry

FOREIGN = b'{"who": {"id": 7}, "item_id": "lamp", "ts": 1}'
LETTER = Letter(Reason.MALFORMED, b"{", None, ())


def warnings(logs: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    """Return the log lines about what comes of records."""
    return [line for line in logs if "why" in line]


def notice(worker: DeskWorker) -> str:
    """Return what /readyz?verbose adds."""
    return worker.process.readiness.notice


def test_more_than_half_are_dead_letters() -> None:
    """One warning a minute, with the most frequent reason and the fields of the newest record."""
    desk = successor_desk()
    worker = desk.serving()
    with capture_logs() as logs:
        for _ in range(30):
            desk.send(FOREIGN)
        desk.send(b"{")
        desk.settle()
        desk.send(FOREIGN)
        desk.settle()
    (line,) = warnings(logs)

    assert line["reason"] == "missing_field"
    assert "30 have no field user_id" in line["why"]
    assert line["fields"] == "who.id, item_id, ts"
    assert "records are dead letters; " in notice(worker)
    assert notice(worker).endswith("have no field user_id; the newest has who.id, item_id, ts")

    desk.advance(SECONDS)
    with capture_logs() as logs:
        desk.send(FOREIGN)
        desk.settle()

    assert len(warnings(logs)) == 1


def test_it_is_over_when_clicks_come_again() -> None:
    """Only the last 1,000 records count; half of them may be dead letters."""
    desk = successor_desk()
    worker = desk.serving()
    for _ in range(WINDOW // 2 + 1):
        desk.send(FOREIGN)
    desk.settle()

    assert notice(worker)

    for _ in range(WINDOW // 2):
        desk.click("ada")
    desk.settle()

    assert notice(worker)

    desk.click("ada")
    desk.settle()

    assert not notice(worker)


def test_a_few_records_are_no_ground_for_a_warning() -> None:
    """As those that somebody tries."""
    desk = successor_desk()
    worker = desk.serving()
    desk.send(b"hello")
    desk.settle()

    assert not notice(worker)


def test_answers_to_requests_are_answers() -> None:
    """A topic of requests alone is no ground for a warning, unless all of them are too old."""
    desk = Desk(partitions=1, events={"type": "type"}, recommend={"publish_max_age": 60.0})
    worker = desk.serving()
    value = b'{"user_id": "ada", "type": "request", "request_id": "r"}'
    for _ in range(FEWEST):
        desk.send(value)
    desk.settle()

    assert not notice(worker)

    for _ in range(WINDOW):
        desk.cluster.produce(desk.topics.clicks, value, timestamp=desk.cluster.now_ms - 120_000)
    desk.settle()

    why = (
        "none of the last 1,000 records was answered: 1,000 are requests older than recommend.publish_max_age"
    )
    assert why in notice(worker)


def old(desk: Desk, count: int, *, minutes: int) -> None:
    """Send clicks whose records are that old."""
    for _ in range(count):
        value = b'{"user_id": "ada", "item_id": "item-1"}'
        desk.cluster.produce(
            desk.topics.clicks, value, timestamp=desk.cluster.now_ms - minutes * 60_000, partition=0
        )
    desk.settle()


def test_all_clicks_are_too_old() -> None:
    """One line a minute with the age that was seen, no warning: a worker that catches up says it, too."""
    desk = successor_desk(recommend={"publish_max_age": 60.0})
    worker = desk.serving()
    with capture_logs() as logs:
        old(desk, FEWEST - 1, minutes=300)

        assert not notice(worker)

        old(desk, 5, minutes=180)
    (line,) = [one for one in logs if one["event"] == "no record is answered"]

    assert line["log_level"] == "info"
    assert line["why"] == notice(worker)
    assert notice(worker) == (
        "none of the last 24 records was answered: 24 are older than recommend.publish_max_age (60 s; the "
        "newest is 3 hours old) and only update the states, which is normal while a worker catches up"
    )

    desk.click("ada")
    desk.settle()

    assert not notice(worker)


def test_some_clicks_are_too_old_and_some_are_none() -> None:
    """Each cause with its count, the largest first."""
    desk = successor_desk(recommend={"publish_max_age": 60.0})
    worker = desk.serving()
    for _ in range(9):
        desk.send(FOREIGN)
    desk.settle()
    old(desk, 20, minutes=5)

    text = notice(worker)
    assert text.startswith("none of the last 29 records was answered: 20 are older")
    assert text.endswith("; 9 are dead letters: 9 have no field user_id")


def test_records_that_do_not_count_are_named() -> None:
    """By the setting that says which do."""
    readiness = Readiness(Metrics().ready, lambda: 0.0)
    outcomes = Outcomes(Decoder(Fields()), max_age_seconds=60.0, readiness=readiness, steady=lambda: 0.0)
    outcomes.note(FEWEST, [], skipped=FEWEST)

    assert readiness.notice.endswith(
        "answered: 20 do not count as clicks, because of click.where or events.step, or as deletions"
    )


def test_no_clicked_item_is_known() -> None:
    """All lists are the fallback: an item is shown as it came; a known one ends it."""
    desk = successor_desk()
    worker = desk.serving()
    with capture_logs() as logs:
        for number in range(FEWEST):
            desk.click(f"user-{number}", "SKU-7")
        desk.settle()
    (line,) = warnings(logs)

    assert line["event"] == "the release knows none of the clicked items"
    assert line["item_id"] == "SKU-7"
    assert "the last 20 lists are all the fallback" in notice(worker)

    desk.click("ada", "item-3")
    desk.settle()

    assert not notice(worker)


def timed(desk: Desk, *moments: object) -> None:
    """Send clicks with these times, and let the worker answer them."""
    for moment in moments:
        desk.send(orjson.dumps({"user_id": "ada", "item_id": "item-1", "timestamp": moment}))
    desk.settle()


def test_a_mixture_of_units_is_named_with_counts_and_examples() -> None:
    """Once a minute, and in /readyz?verbose until the mixture has left the window."""
    desk = successor_desk()
    worker = desk.serving()
    now_ms = desk.cluster.now_ms
    with capture_logs() as logs:
        timed(desk, *[now_ms] * FEWEST)

        assert not notice(worker)

        timed(desk, now_ms, now_ms // 1000, "2023-11-14")
        timed(desk, now_ms)
    (line,) = warnings(logs)

    assert line["event"] == "the times of clicks have different units or types"
    assert line["log_level"] == "warning"
    assert (
        f"23 clicks have different units or types: 21 in milliseconds, such as {now_ms}; "
        f"1 in dates and times, such as '2023-11-14'; 1 in seconds, such as {now_ms // 1000}"
    ) in line["why"]
    assert "24 clicks have different units or types: 22 in milliseconds" in notice(worker)

    timed(desk, *[now_ms] * WINDOW)

    assert not notice(worker)


@pytest.mark.parametrize("moment", [None, 1_700_000_000, "2023-11-14"])
def test_one_unit_is_no_mixture(moment: object) -> None:
    """Even if some clicks have no time of their own."""
    desk = successor_desk()
    worker = desk.serving()
    timed(desk, *[moment, moment, None] * FEWEST)

    assert not notice(worker)


def test_a_time_field_that_no_click_has_is_named() -> None:
    """One click with the field ends it."""
    desk = successor_desk(click={"timestamp": "at"})
    worker = desk.serving()
    with capture_logs() as logs:
        timed(desk, *[1] * FEWEST)
    (line,) = warnings(logs)

    assert line["field"] == "at"
    assert notice(worker) == line["why"]
    assert notice(worker).startswith(
        "none of the last 20 clicks has the field at (click.timestamp); the times"
    )

    desk.send(b'{"user_id": "ada", "item_id": "item-1", "at": 1700000000000}')
    desk.settle()

    assert not notice(worker)


def test_two_troubles_are_both_named() -> None:
    """Each on its own line."""
    desk = successor_desk(click={"timestamp": "at"})
    worker = desk.serving()
    timed(desk, *[1] * FEWEST)
    for _ in range(FEWEST + 1):
        desk.send(FOREIGN)
    desk.settle()

    first, second = notice(worker).splitlines()
    assert first.startswith("21 of the last 41 records are dead letters; 21 have no field user_id")
    assert second.startswith("none of the last 20 clicks has the field at")


def test_a_header_that_the_mapping_names_is_looked_for_in_the_headers() -> None:
    """As the decoder does: without it, the record would seem to have everything or nothing."""
    desk = successor_desk(click={"user_id": "@header.user", "item_id": "sku"})
    worker = desk.serving()
    for headers in ([], [("user", b"ada")]):
        for _ in range(FEWEST):
            desk.cluster.produce(desk.topics.clicks, b'{"item": 1}', headers=headers)
        desk.settle()
        found = notice(worker)
        desk.restart()
        worker = desk.workers["a"]

        assert ("have no header user and no field sku" in found) == (not headers)
        assert ("have no field sku; the newest has item" in found) == bool(headers)


def test_the_fields_of_framed_records_are_named() -> None:
    """The schema comes from the registry; while the registry is away, the frame is named."""
    registry = MemoryRegistry()
    schema_id = registry.register("clicks", Schema("{}", "JSON"))
    desk = successor_desk(registry=registry)
    worker = desk.serving()
    for _ in range(FEWEST):
        desk.send(b"\0" + schema_id.to_bytes(4) + b'{"who": 7}')
    desk.settle()

    assert notice(worker).endswith("have no field user_id and no field item_id; the newest has who")


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(0, 3), st.integers(0, 2)), max_size=30))
def test_the_window_is_the_last_batches(batches: list[tuple[int, int, int]]) -> None:
    """Its counts are those of the fewest last batches that have as many records as it needs."""
    readiness = Readiness(Metrics().ready, lambda: 0.0)
    outcomes = Outcomes(Decoder(Fields()), max_age_seconds=60.0, readiness=readiness, steady=lambda: 0.0)
    for records, dead, skipped in batches:
        outcomes.note(records, [LETTER] * dead, skipped=skipped)
    last: list[tuple[int, int, int]] = []
    for batch in reversed(batches):
        if sum(records for records, _, _ in last) < WINDOW:
            last.append(batch)

    found = outcomes._all
    assert found.records == sum(records for records, _, _ in last)
    assert sum(found.dead.values()) == sum(dead for _, dead, _ in last)
    assert found.skipped == sum(skipped for _, _, skipped in last)
