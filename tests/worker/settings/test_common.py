from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.settings import refused
from worker.config import load
from worker.core.click import Click, Decoded
from worker.core.event import Fields
from worker.core.reasons import Reason, Skipped
from worker.settings.loading import ENVIRONMENT_PREFIX


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[registry]\nurl = 'http://r'\nusername = 'ada'", "username and password must be set together"),
        (
            "[registry]\nurl = 'http://r'\nca_file = 'nowhere.pem'",
            "ca_file is nowhere.pem, but there is no such file",
        ),
        (
            "[registry]\nusername = 'ada'\npassword = 'hush'",
            "password, username: no effect without url",
        ),
        ("[recommend]\nformat = 'avro'", "recommend.format is avro; it requires registry.url"),
        ("[click]\nuser_id = '@keys'", "click.user_id is '@keys': '@keys' starts with @, so it must be @key"),
        ("[click]\nwhere = 'type'", "click.where is 'type': character 5: 'type' must be followed by = or !="),
        ("[click]\ntime_zone = 'Berlin'", "click.time_zone is 'Berlin': must be a time zone like UTC or"),
        (
            "[click]\nearliest = 1970-01-01",
            "earliest is 1970-01-01, but before 1973-03-04 a number may be a valid time",
        ),
        ("[click]\nearliest = 'then'", "click.earliest is 'then': must be a time like 2020-09-13 or"),
        ("[click]\ntimestamp = 'a + b + c'", "timestamp is 'a + b + c'; it must be one or two paths"),
        ("[click]\nuser_id = 'a[].b'", "'a[].b' goes through a list that the item's path 'item_id' does not"),
        ("[topics]\nquality = 'clicks'", "clicks and quality are both clicks; they must be different"),
    ],
)
def test_values_of_a_section_must_go_together(text: str, problem: str, tmp_path: Path) -> None:
    """Both names and values are in the message."""
    assert problem in refused(tmp_path, text)


def test_a_column_of_files_is_named_or_recognised() -> None:
    """A path that nobody chose is the worker's default; the key of a record is no column."""
    chosen = load(None, {"NEXTCLICK_CLICK_ITEM_ID": "what.sku", "NEXTCLICK_CLICK_USER_ID": "@key"}).click

    assert [chosen.named(name) for name in ("user_id", "item_id", "timestamp")] == [None, "what.sku", None]
    assert chosen.fields() == Fields("@key", "what.sku", "timestamp")


def test_a_column_is_named_as_it_is() -> None:
    """As a path, with its escapes; a record's key is no column."""
    names = {"USER_ID": r"who\.id", "ITEM_ID": "items[].id", "TIMESTAMP": "day + clock"}
    chosen = load(None, {f"NEXTCLICK_CLICK_{name}": value for name, value in names.items()}).click

    assert [chosen.named(name) for name in ("user_id", "item_id", "timestamp")] == [
        r"who\.id",
        "items[].id",
        "day + clock",
    ]
    assert load(None, {"NEXTCLICK_CLICK_USER_ID": "@key.id"}).click.named("user_id") is None


def test_the_rules_of_a_click_are_passed_on() -> None:
    """To the decoder: the unit, the zone, what is missing, what counts, the envelope, the size."""
    names = {
        "EARLIEST": "1970-01-01",
        "TIMESTAMP_UNIT": "s",
        "TIME_ZONE": "Europe/Berlin",
        "MISSING": "-,none",
        "WHERE": "type = view",
        "ENVELOPE": "debezium",
        "MAX_BYTES": "200",
    }
    decoder = load(None, {f"NEXTCLICK_CLICK_{name}": value for name, value in names.items()}).click.decoder()

    def decoded(**other: object) -> Decoded:
        row = {"user_id": "NULL", "item_id": 1, "timestamp": 5, "type": "view", **other}
        return decoder.decode(orjson.dumps({"op": "c", "after": row}), None, -1)

    assert decoded() == Click("NULL", "1", 5_000)
    assert decoded(timestamp="1970-01-02 01:00") == Click("NULL", "1", 86_400_000)
    assert decoded(user_id="-") == Reason.EMPTY_ID
    assert decoded(type="buy") == Skipped.WHERE
    assert decoded(more="x" * 200) == Reason.TOO_LARGE


@pytest.mark.parametrize("url", ["registry:8081", "ftp://registry", "http://ada:hush@registry", "http://"])
def test_an_address_of_a_registry_is_one_of_http(url: str, tmp_path: Path) -> None:
    """Without credentials: it is logged."""
    assert "registry.url" in refused(tmp_path, f"[registry]\nurl = '{url}'")


def test_what_the_registry_needs_is_passed_on() -> None:
    """Without an address there is none."""
    registry = {"URL": "https://registry:8081/", "USERNAME": "ada", "PASSWORD": "hush"}
    settings = load(None, {f"{ENVIRONMENT_PREFIX}REGISTRY_{name}": one for name, one in registry.items()})
    connection = settings.registry.connection()

    assert connection is not None
    assert connection.url == "https://registry:8081"
    assert "hush" not in repr(settings)
    assert settings.registry.parser() is not None
    assert load(None, {}).registry.connection() is None
    assert load(None, {}).registry.parser() is None


def test_a_worker_without_a_registry_loads_none_of_its_libraries() -> None:
    """They take 13 MB, and a quarter of a second of every start."""
    program = (
        "import sys, worker.wiring\n"
        "print([name for name in ('fastavro', 'google.protobuf', 'urllib3') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
