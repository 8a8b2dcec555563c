"""Most of what comes in are dead letters: the worker says so, and what the records have instead."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from structlog.testing import capture_logs

from tests.worker.desk import DeskWorker, successor_desk
from worker.process.dead_share import SECONDS, WINDOW

FOREIGN = b'{"who": {"id": 7}, "item_id": "lamp", "ts": 1}'


def warnings(logs: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    """Return the log lines about dead letters."""
    return [line for line in logs if "no clicks" in str(line["event"])]


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
    assert line["why"] == "have no field user_id"
    assert line["fields"] == "who.id, item_id, ts"
    assert "records went to the dead letters; " in notice(worker)
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
