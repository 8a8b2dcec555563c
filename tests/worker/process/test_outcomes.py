"""Records come in and nothing useful comes of them: the worker says so, and why."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.worker.desk import Desk, DeskWorker, successor_desk
from worker.core.event import Fields
from worker.core.reasons import Reason
from worker.http.readiness import Readiness
from worker.metrics import Metrics
from worker.process.outcomes import FEWEST, SECONDS, WINDOW, Outcomes

FOREIGN = b'{"who": {"id": 7}, "item_id": "lamp", "ts": 1}'


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
    outcomes = Outcomes(Fields(), max_age_seconds=60.0, readiness=readiness, steady=lambda: 0.0)
    outcomes.note(FEWEST, [], skipped=FEWEST)

    assert readiness.notice.endswith(
        "answered: 20 do not count as clicks, because of click.where or as deletions"
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


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(0, 3), st.integers(0, 2)), max_size=30))
def test_the_window_is_the_last_batches(batches: list[tuple[int, int, int]]) -> None:
    """Its counts are those of the fewest last batches that have as many records as it needs."""
    readiness = Readiness(Metrics().ready, lambda: 0.0)
    outcomes = Outcomes(Fields(), max_age_seconds=60.0, readiness=readiness, steady=lambda: 0.0)
    for records, dead, skipped in batches:
        outcomes.note(records, [(b"{", None, Reason.MALFORMED)] * dead, skipped=skipped)
    last: list[tuple[int, int, int]] = []
    for batch in reversed(batches):
        if sum(records for records, _, _ in last) < WINDOW:
            last.append(batch)

    found = outcomes._all
    assert found.records == sum(records for records, _, _ in last)
    assert sum(found.dead.values()) == sum(dead for _, dead, _ in last)
    assert found.skipped == sum(skipped for _, _, skipped in last)
