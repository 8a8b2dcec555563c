from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.config import Settings
from worker.settings.fields import duration_text, parse_addresses, parse_duration, parse_moment
from worker.settings.loading import load, replaced


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", 0.3), ("30s", 30), ("1.5h", 5_400), ("7d", 604_800), ("12", 12), (2.5, 2.5), (3, 3)],
)
def test_a_duration_has_a_unit_or_is_seconds(text: Any, seconds: float) -> None:
    """As text and as a number."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-3s", "1y", "h", "1h30m", True, math.inf, None, [3]])
def test_nothing_else_is_a_duration(text: Any) -> None:
    """The message shows what one looks like."""
    with pytest.raises(ValueError, match="must be a duration like 30s, 5m, 1h or 7d"):
        parse_duration(text)


@given(st.floats(1e-6, 1e12) | st.integers(0, 10**12))
def test_a_duration_is_written_as_it_is_read(seconds: float) -> None:
    """To the last bit, in the largest unit that has no fraction."""
    assert parse_duration(duration_text(seconds)) == seconds


@pytest.mark.parametrize(("seconds", "text"), [(86_400, "1d"), (5_400, "90m"), (0, "0s"), (0.25, "0.25s")])
def test_a_duration_is_short(seconds: float, text: str) -> None:
    """So that a person reads it."""
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    "text", ["2020-09-13T12:26:40Z", "2020-09-13T14:26:40+02:00", "2020-09-13 12:26:40", 1_600_000_000_000]
)
def test_a_moment_is_a_time_or_milliseconds(text: Any) -> None:
    """Without an offset it is UTC."""
    assert parse_moment(text) == 1_600_000_000_000


@pytest.mark.parametrize("text", ["soon", None, 1.5, True])
def test_nothing_else_is_a_moment(text: Any) -> None:
    """The message shows what one looks like."""
    with pytest.raises(ValueError, match="must be a time like 2020-09-13"):
        parse_moment(text)


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("localhost:9092", "localhost:9092"),
        (" a.b-c_d:1 , 10.0.0.1:65535", "a.b-c_d:1,10.0.0.1:65535"),
        ("[::1]:9092", "[::1]:9092"),
        ("[fe80::1%eth0]:9092", "[fe80::1%eth0]:9092"),
    ],
)
def test_addresses_are_host_and_port(text: str, addresses: str) -> None:
    """Blanks around the commas are left out."""
    assert parse_addresses(text) == addresses


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("127.0.0.1:nine", "the port 'nine' is not a number from 1 to 65535"),
        ("host:99999", "the port '99999' is not a number from 1 to 65535"),
        ("host:0", "the port '0' is not"),
        ("host:", "the port '' is not"),
        ("host:1:2", "the port '1:2' is not"),
        ("a:1,host", "host has no port"),
        ("[::1]", "has no port"),
        ("::1:9092", "such as localhost:9092 or [::1]:9092, not ::1:9092"),
        (":9092", "not :9092"),
        ("ho st:1", "not ho st:1"),
        ("me@host:1", "not me@host:1"),
        ("host:٣", "not host:٣"),
        ("kafka://host:9092", "without a protocol"),
        ("", "one address is empty"),
        ("a:1,,b:2", "one address is empty"),
        ("a:1,", "one address is empty"),
    ],
)
def test_nothing_else_is_an_address(text: str, why: str) -> None:
    """The message says what is wrong: the client would end with a traceback, or try for ever."""
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_addresses(text)


@pytest.mark.parametrize(
    "text",
    ["2020-09-13T00:00:00Z", "20200913", "1599955200", "1599955200000", "1599955200000000"],
)
def test_a_moment_in_a_document_is_unix_time_in_any_unit(text: str) -> None:
    """The size of the number tells the unit; eight digits are a date."""
    settings = load(Settings, None, {}, [("click.earliest", text)])

    assert settings.click.earliest == 1_599_955_200_000
    assert replaced(settings, {"click.max_bytes": 1_000}).click.earliest == 1_599_955_200_000


def test_a_moment_in_the_program_is_in_milliseconds() -> None:
    """Also one that looks like seconds: settings are read again whenever one of them is replaced."""
    settings = load(Settings, None, {}, [("click.earliest", "1972-01-01"), ("click.timestamp_unit", "ms")])

    assert replaced(settings, {"click.max_bytes": 1_000}).click.earliest == 63_072_000_000
