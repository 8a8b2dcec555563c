"""The answers of the HTTP server, without a connection: texts of scrapes, and who may ask about users."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter

from worker.errors import SettingError
from worker.http.handlers import OPENMETRICS, PLAIN, SAME_TEXT_SECONDS, Access, MetricsText


def test_the_text_of_a_scrape_is_made_once_for_scrapes_that_come_together() -> None:
    """For each format by itself."""
    seconds, registry = [0.0], CollectorRegistry()
    lamps = Counter("lamps", "Lamps sold.", registry=registry)
    text = MetricsText(registry, lambda: seconds[0])
    first = text.text(PLAIN)
    lamps.inc()
    seconds[0] = SAME_TEXT_SECONDS / 2
    same, other = text.text("*/*"), text.text(f"{OPENMETRICS}; version=1.0.0")
    seconds[0] = SAME_TEXT_SECONDS

    assert same == first
    assert b"lamps_total 1.0" in other[1]
    assert b"lamps_total 1.0" in text.text(PLAIN)[1]


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1", None), ("::1", None), ("localhost", None), ("0.0.0.0", 403)]
)
def test_without_a_token_a_loopback_address_is_open(host: str, status: int | None) -> None:
    """And no other."""
    refusal = Access(None, host=host).refusal("")

    assert (refusal and refusal[0]) == status


def test_a_token_is_read_for_every_request() -> None:
    """So a rotated one counts at once; on every address."""
    tokens = iter(["first-token-of-the-test", "second-token-of-the-test"])
    access = Access(lambda: next(tokens), host="127.0.0.1")
    header = "Bearer first-token-of-the-test"

    assert access.refusal(header) is None
    assert (access.refusal(header) or [None])[0] == 401


def test_a_token_that_cannot_be_read_opens_nothing() -> None:
    """503: the caller is not at fault."""

    def token() -> str:
        raise SettingError("http.token_file: no such file")

    assert (Access(token, host="127.0.0.1").refusal("") or [None])[0] == 503
