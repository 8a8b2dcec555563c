from __future__ import annotations

import math
import re
from typing import Any, get_type_hints

import pytest

from trainer.config import FitSettings, connection
from worker.errors import SettingError


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"cell": "transformer"}, "cell is 'transformer', it must be one of elman, gru, lstm"),
        ({"epochs": 0}, "epochs is 0, it must be 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, it must be greater than 0"),
        ({"dropout": 1.0}, "dropout is 1.0, it must be at least 0 and less than 1"),
        ({"scale": 100.0}, "scale is 100.0, it must be at most 40"),
        ({"session_gap_seconds": -1.0}, "session_gap_seconds is -1.0, it must be 0 or more"),
        ({"session_gap_seconds": 1e11}, "session_gap_seconds is 100000000000.0, it must be at most 1e"),
        ({"max_session_clicks": 1}, "max_session_clicks is 1, it must be 2 or more"),
        ({"loss": "hinge"}, "loss is 'hinge', it must be one of cross_entropy, bpr_max"),
        ({"layers": 0}, "layers is 0, it must be 1 or more"),
        (
            {"embedding_size": 50},
            r"embedding_size \(50\) and hidden_size \(100\) must be equal where output_table is tied",
        ),
        ({"label_smoothing": 0.1, "loss": "bpr_max"}, r"label_smoothing \(0.1\) and loss \(bpr_max\) do not"),
        ({"momentum": 0.9}, r"momentum \(0.9\) and optimizer \(adam\) do not go together"),
        (
            {"item_features": "a.csv"},
            "item_features is 'a.csv', it must be left out, or come with categorical",
        ),
        ({"memory_clicks": 9, "cell": "elman"}, r"memory_clicks \(9\) and cell \(elman\) do not"),
        (
            {"top": 100, "exclude_recent": 1},
            r"top \(100\) and exclude_recent \(1\) together must not exceed 100",
        ),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named_with_its_value(setting: dict[str, Any], message: str) -> None:
    """And with what it must be; where two belong together, with both."""
    with pytest.raises(SettingError, match=message):
        FitSettings(**setting)


FLOATS = [name for name, kind in get_type_hints(FitSettings).items() if kind in (float, tuple[float, ...])]
"""The settings that are numbers, or lists of them, but no whole ones."""


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("name", FLOATS)
def test_a_number_that_is_not_finite_is_refused(name: str, number: float) -> None:
    """In lists, too: a manifest could not hold it."""
    value: Any = (24.0, number) if name.endswith("_hours") else number

    with pytest.raises(SettingError, match=re.escape(f"{name} is {value!r}, it must be finite")):
        FitSettings(**{name: value})


def test_few_clicks_are_seen_more_often() -> None:
    """At least 5 epochs; more where these would show few clicks, within reason; or as many as are set."""
    usual = FitSettings()

    assert [usual.epochs_for(clicks) for clicks in (10**6, 10**5, 20_000, 1)] == [5, 5, 25, 100]
    assert FitSettings(epochs=3).epochs_for(1) == 3


def test_the_way_to_kafka_comes_from_the_workers_variables() -> None:
    """TLS and SASL by the same names; what the trainer has no use for is the worker's."""
    found = connection(
        "broker:9093",
        {
            "NEXTCLICK_KAFKA_BOOTSTRAP_SERVERS": "elsewhere:9092",
            "NEXTCLICK_KAFKA_SECURITY_PROTOCOL": "SSL",
            "NEXTCLICK_KAFKA_SSL_CHECK_HOSTNAME": "false",
            "NEXTCLICK_KAFKA_SESSION_TIMEOUT_MS": "9000",
        },
    )

    assert (found.bootstrap_servers, found.security_protocol) == ("broker:9093", "SSL")
    assert found.ssl_check_hostname is False


def test_a_flag_must_be_one() -> None:
    """Anything but true and false is refused, with the variable's name."""
    with pytest.raises(SettingError, match="NEXTCLICK_KAFKA_SSL_CHECK_HOSTNAME is 'maybe'"):
        connection("broker:9092", {"NEXTCLICK_KAFKA_SSL_CHECK_HOSTNAME": "maybe"})
