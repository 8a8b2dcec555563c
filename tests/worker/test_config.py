from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from worker.config import ENVIRONMENT_PREFIX, Settings, load
from worker.errors import SettingError


def refused(text: str, tmp_path: Path, **environment: str) -> str:
    """Return the message with which settings are refused."""
    path = tmp_path / "worker.toml"
    path.write_text(text)
    with pytest.raises(SettingError) as error:
        load(path, {ENVIRONMENT_PREFIX + name: value for name, value in environment.items()})
    return str(error.value)


def test_defaults_need_no_file() -> None:
    """Names that depend on others are derived."""
    settings = load(None, {})

    assert settings.worker_id == socket.gethostname()
    assert (settings.topics.dead_letters, settings.topics.state) == ("clicks.dead-letter", "nextclick.state")
    assert settings.transactional_id == f"nextclick.{socket.gethostname()}"


def test_derived_names_follow_the_settings_they_come_from(tmp_path: Path) -> None:
    """Those that are given stay."""
    path = tmp_path / "worker.toml"
    path.write_text('group = "shop"\n[topics]\nclicks = "shop.events"\nstate = "kept"\n')

    assert load(path, {}).topics.dead_letters == "shop.events.dead-letter"
    assert load(path, {}).topics.state == "kept"


def test_the_environment_wins(tmp_path: Path) -> None:
    """Its values are text and become what the setting is."""
    path = tmp_path / "worker.toml"
    path.write_text("[recommend]\ntop = 5\nexclude_recent = 2\n")
    settings = load(path, {"NEXTCLICK_RECOMMEND_TOP": "7", "NEXTCLICK_GROUP": "shop", "PATH": "of others"})

    assert (settings.recommend.top, settings.recommend.exclude_recent, settings.group) == (7, 2, "shop")


@pytest.mark.parametrize(
    ("text", "environment", "named"),
    [
        ("[kafka]\nbootstrap_server = 'a:1'", {}, "did you mean kafka.bootstrap_servers?"),
        ("groups = 'a'", {}, "did you mean group?"),
        ("", {"RECOMEND_TOP": "5"}, "did you mean NEXTCLICK_RECOMMEND_TOP?"),
        ("[recommend]\ntop = 0", {}, "recommend.top"),
        (
            "[kafka]\nheartbeat_interval_ms = 5000",
            {},
            "heartbeat_interval_ms is 5000, session_timeout_ms 10000",
        ),
        (
            "commit_interval_seconds = 6",
            {},
            "commit_interval_seconds is 6, kafka.transaction_timeout_ms 10000",
        ),
        ("[kafka]\nsecurity_protocol = 'SASL_SSL'", {}, "it needs sasl_mechanism, sasl_username"),
        ("[kafka]\nssl_ca_file = 'none.pem'", {}, "ssl_ca_file is none.pem: there is no such file"),
        ("[topics]\nstate = 'clicks'", {}, "are both clicks"),
        ("group = 'a'\n[topics]\nquality = 'a.state'", {}, "are both a.state"),
        ("not toml", {}, "is not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_name(
    text: str, environment: dict[str, str], named: str, tmp_path: Path
) -> None:
    """And, where one was misspelled, with the name that was meant."""
    assert named in refused(text, tmp_path, **environment)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """A line for each."""
    message = refused("[recommend]\ntop = 0\n[http]\nport = 70000\n", tmp_path, NO_SUCH="1")

    assert len(message.splitlines()) == 4


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It is no reason to go on with the defaults."""
    with pytest.raises(SettingError, match=r"none\.toml cannot be read"):
        load(tmp_path / "none.toml", {})


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    """Neither with the settings nor with an error about them."""
    secret = {"SASL_PASSWORD": "hush", "SSL_KEY_PASSWORD": "hush"}
    environment = {f"KAFKA_{name}": value for name, value in secret.items()}
    settings = load(None, {ENVIRONMENT_PREFIX + name: value for name, value in environment.items()})

    assert settings.kafka.connection().sasl_password == "hush"
    assert "hush" not in repr(settings) + repr(settings.kafka.connection())
    assert "hush" not in refused("[kafka]\nsecurity_protocol = 'SASL_SSL'", tmp_path, **environment)


def test_settings_cannot_be_changed() -> None:
    """Whoever has them has what was checked."""
    settings: Any = Settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.group = "other"


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
