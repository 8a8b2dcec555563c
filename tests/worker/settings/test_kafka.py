from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from deploy.kafka.certificates import Authority
from tests.settings import LOGIN, refused
from worker.config import load
from worker.errors import SettingError
from worker.kafka.oauth import ClientCredentials, FixedToken
from worker.kafka.refusals import SENTENCES
from worker.kafka.security import Security
from worker.settings.kafka import Kafka
from worker.settings.loading import variable

TOKEN: Final = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token": "t"}
CLIENT: Final = {
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "OAUTHBEARER",
    "sasl_oauth_url": "https://token",
    "sasl_username": "ada",
    "sasl_password": "hush",
}
KERBEROS: Final = {"security_protocol": "SASL_SSL", "sasl_mechanism": "GSSAPI"}


def kafka(**settings: str) -> Kafka:
    """The section with some settings."""
    return load(None, {variable(f"kafka.{name}"): value for name, value in settings.items()}).kafka


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"session_timeout_ms": "2000"}, "heartbeat_interval_ms is 1000 and session_timeout_ms is 2000"),
        ({"security_protocol": "SASL_SSL"}, "security_protocol is SASL_SSL; it requires sasl_mechanism"),
        (
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "ada"},
            "sasl_mechanism is PLAIN; it requires sasl_password",
        ),
        (
            {"sasl_mechanism": "PLAIN", "sasl_username": "ada", "sasl_password": "hush"},
            "sasl_mechanism, sasl_password, sasl_username: no effect with security_protocol PLAINTEXT; set",
        ),
        (
            {"security_protocol": "SSL", "sasl_username": "ada"},
            "SSL; set security_protocol to SASL_SSL or SASL_PLAINTEXT, or leave them out",
        ),
        (
            {"ssl_check_hostname": "false"},
            "ssl_check_hostname: no effect with security_protocol PLAINTEXT; set security_protocol to SSL",
        ),
        ({"ssl_ca_file": __file__}, "ssl_ca_file: no effect with security_protocol PLAINTEXT"),
        (
            {"security_protocol": "SSL", "ssl_ca_file": "nowhere.pem"},
            "ssl_ca_file is nowhere.pem, but there is no such file",
        ),
        (
            {"security_protocol": "SSL", "ssl_key_file": __file__, "ssl_key_password": "hush"},
            "ssl_key_file, ssl_key_password: no effect with no ssl_certificate_file; leave them out",
        ),
        (
            {**KERBEROS, "sasl_username": "ada"},
            "sasl_username: no effect with sasl_mechanism GSSAPI; leave them out",
        ),
        (
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "AWS_MSK_IAM"},
            "security_protocol is SASL_PLAINTEXT; sasl_mechanism AWS_MSK_IAM requires SASL_SSL",
        ),
        (
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"},
            "sasl_mechanism is OAUTHBEARER; it requires sasl_oauth_token or sasl_oauth_url",
        ),
        ({**TOKEN, "sasl_oauth_url": "https://token"}, "it requires sasl_oauth_token or sasl_oauth_url"),
        ({**TOKEN, "sasl_oauth_scope": "kafka"}, "sasl_oauth_scope: no effect with sasl_oauth_token"),
        (
            {key: value for key, value in CLIENT.items() if key != "sasl_password"},
            "sasl_oauth_url is set; it requires sasl_password",
        ),
        ({**CLIENT, "sasl_oauth_url": "file:///etc/passwd"}, "sasl_oauth_url is 'file:///etc/passwd'"),
        (
            {**CLIENT, "sasl_oauth_extensions": "cluster"},
            "sasl_oauth_extensions contains 'cluster', which must be name=value",
        ),
        (
            {**CLIENT, "sasl_oauth_extensions": "=cluster"},
            "sasl_oauth_extensions contains '=cluster', which must be name=value",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_named(settings: Mapping[str, str], problem: str) -> None:
    """With what would be right; nothing that was set is without effect in silence."""
    with pytest.raises(SettingError) as refusal:
        kafka(**settings)

    assert problem in str(refusal.value)


def test_what_the_client_needs_is_passed_on(tmp_path: Path) -> None:
    """All keys that say who we are and where the brokers are."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(Authority().own.pem)
    login = {key.partition(".")[2]: value for key, value in LOGIN.items()} | {
        "bootstrap_servers": "a:1,b:2",
        "security_protocol": "SASL_SSL",
        "ssl_ca_file": str(ca_file),
        "ssl_check_hostname": "false",
    }

    connection = kafka(**login).connection()
    arguments = connection.arguments()

    assert arguments["bootstrap_servers"] == ["a:1", "b:2"]
    assert arguments["sasl_mechanism"] == "PLAIN"
    assert (arguments["sasl_plain_username"], arguments["sasl_plain_password"]()) == ("ada", "secret")
    assert arguments["ssl_context"].ca_file == ca_file
    assert arguments["ssl_context"].check_hostname is False
    assert "secret" not in repr(connection)


def test_tokens_are_provided_by_a_setting_or_by_an_endpoint() -> None:
    """With the extensions; Kerberos has none."""

    def tokens(**settings: str) -> object:
        security: Security = kafka(**settings)._security()
        return security.sasl and security.sasl.tokens

    fixed, granted = tokens(**TOKEN, sasl_oauth_extensions="a=1,b=2=3"), tokens(**CLIENT)

    assert isinstance(fixed, FixedToken)
    assert (fixed.token(), fixed.extensions()) == ("t", {"a": "1", "b": "2=3"})
    assert isinstance(granted, ClientCredentials)
    assert tokens(**KERBEROS) is None


def test_a_key_that_cannot_be_used_is_named_before_anything_is_started(tmp_path: Path) -> None:
    """An encrypted one without its password, for example: nobody is asked for it on a terminal."""
    files = Authority().issue("client").write(tmp_path, key_password="hush")
    settings = kafka(
        security_protocol="SSL",
        ssl_certificate_file=str(files.certificate),
        ssl_key_file=str(files.key),
    )

    with pytest.raises(SettingError) as refusal:
        settings.connection()

    assert str(refusal.value) == SENTENCES["key needs password"].format(file=files.key)


def test_a_mechanism_of_nobody_is_refused(tmp_path: Path) -> None:
    """With those that there are."""
    assert "must be 'PLAIN', 'SCRAM-SHA-256'" in refused(tmp_path, "[kafka]\nsasl_mechanism = 'MAGIC'")
