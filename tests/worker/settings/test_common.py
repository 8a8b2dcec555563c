from __future__ import annotations

from pathlib import Path

import pytest

from tests.settings import refused
from worker.config import load
from worker.core.event import Fields
from worker.settings.loading import ENVIRONMENT_PREFIX


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[kafka]\nsession_timeout_ms = 2000", "heartbeat_interval_ms is 1000, session_timeout_ms 2000"),
        ("[kafka]\nsecurity_protocol = 'SASL_SSL'", "it needs sasl_mechanism, sasl_username and"),
        ("[kafka]\nssl_ca_file = 'nowhere.pem'", "ssl_ca_file is nowhere.pem: there is no such file"),
        ("[registry]\nurl = 'http://r'\nusername = 'ada'", "username and password go together"),
        (
            "[registry]\nurl = 'http://r'\nca_file = 'nowhere.pem'",
            "ca_file is nowhere.pem: there is no such file",
        ),
        (
            "[registry]\nusername = 'ada'\npassword = 'hush'",
            "password, username: without effect where url is",
        ),
        ("[recommend]\nformat = 'avro'", "recommend.format is avro: it needs registry.url"),
        ("[topics]\nquality = 'clicks'", "clicks and quality are both clicks: they must be different"),
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


def test_what_the_client_needs_is_passed_on(tmp_path: Path) -> None:
    """All keys of `[kafka]` that say who we are and where the brokers are."""
    certificate = tmp_path / "ca.pem"
    certificate.write_text("")
    kafka = {
        "bootstrap_servers": "a:1,b:2",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "ada",
        "sasl_password": "hush",
        "ssl_ca_file": str(certificate),
        "ssl_check_hostname": "false",
    }
    settings = load(None, {f"{ENVIRONMENT_PREFIX}KAFKA_{name.upper()}": one for name, one in kafka.items()})

    arguments = settings.kafka.connection().arguments()

    assert arguments["bootstrap_servers"] == ["a:1", "b:2"]
    assert arguments["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (arguments["sasl_plain_username"], arguments["sasl_plain_password"]) == ("ada", "hush")
    assert arguments["ssl_cafile"] == str(certificate)
    assert arguments["ssl_check_hostname"] is False


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
