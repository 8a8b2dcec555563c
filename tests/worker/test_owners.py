"""The addresses of the owners of partitions."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tests.worker.desk import GROUP, Desk
from worker.owners import Owners


def _owners(desk: Desk) -> Owners:
    return Owners(desk.connection, group=GROUP, topic=desk.topics.clicks)


def _address(desk: Desk, worker_id: str, address: str) -> None:
    """Start a worker that says its address."""
    desk.sections = {**desk.sections, "http": {"advertised": address}}
    desk.start(worker_id)


def test_each_partition_has_the_address_of_its_owner() -> None:
    """As far as the workers say theirs."""
    desk = Desk(partitions=4)
    _address(desk, "a", "http://a:1")
    _address(desk, "b", "")
    desk.until(lambda: [len(worker.served) for worker in desk.workers.values()] == [2, 2], "two owners")

    assert _owners(desk).look_up() == dict.fromkeys(desk.workers["a"].served, "http://a:1")


def test_nothing_but_a_url_is_an_address() -> None:
    """The token of the group goes there."""
    desk = Desk(partitions=1)
    desk.connection.member(
        topic=desk.topics.clicks,
        group=GROUP,
        client_id="stranger",
        session_timeout_ms=10_000,
        heartbeat_interval_ms=1_000,
        address="file:///etc/passwd",
    ).join(lambda _: None)

    assert _owners(desk).look_up() == {}


def test_an_outage_is_no_owner() -> None:
    """And a line in the log."""
    desk = Desk()
    owners = _owners(desk)
    desk.cluster.down()

    with capture_logs() as logged:
        assert owners.look_up() == {}

    assert [one["log_level"] for one in logged] == ["warning"]


@pytest.mark.parametrize("address", ["a:1", "http://", "http://a/b", "http://a?b", "ftp://a", "http://u@a"])
def test_a_setting_that_is_no_address_is_refused(address: str) -> None:
    """At the start."""
    with pytest.raises(ValueError, match="advertised"):
        Desk(http={"advertised": address}).settings()
