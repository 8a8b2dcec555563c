from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from worker.errors import SettingError
from worker.kafka.refusals import SENTENCES, Refused
from worker.kafka.sasl import PASSWORD_MECHANISMS, Sasl


@pytest.mark.parametrize("mechanism", PASSWORD_MECHANISMS)
def test_a_password_is_read_at_every_login(mechanism: str) -> None:
    """A new one needs no restart: kafka-python takes the arguments of a client once."""
    passwords = iter(["first", "second"])
    sasl = Sasl(mechanism, username="ada", password=lambda: next(passwords))

    logins = [sasl.client("broker", "SASL_SSL") for _ in range(2)]

    shown = [getattr(one, "password", None) or one._scram_client.password.decode() for one in logins]
    assert shown == ["first", "second"]
    assert "first" not in repr(sasl)


def test_a_password_that_cannot_be_read_is_named() -> None:
    """As its file says."""

    def gone() -> str:
        raise SettingError("the file is gone")

    with pytest.raises(Refused) as refusal:
        Sasl("PLAIN", username="ada", password=gone).client("broker", "SASL_SSL")

    assert str(refusal.value) == SENTENCES["secret unreadable"].format(why="the file is gone")


@pytest.mark.parametrize(("mechanism", "package"), [("GSSAPI", "gssapi"), ("AWS_MSK_IAM", "botocore")])
def test_a_package_that_is_not_installed_is_named(mechanism: str, package: str) -> None:
    """With the command that installs it."""
    if find_spec(package):
        pytest.skip(f"{package} is installed")

    with pytest.raises(Refused) as refusal:
        Sasl(mechanism).require_package()

    assert str(refusal.value) == SENTENCES["package missing"].format(mechanism=mechanism, package=package)


def no_credentials() -> Any:
    """AWS's package with nothing configured."""
    return SimpleNamespace(get_credentials=lambda: None)


def no_region() -> Any:
    """AWS's package with credentials, but no region."""
    keys = SimpleNamespace(access_key="a", secret_key="b", token=None)
    return SimpleNamespace(
        get_credentials=lambda: SimpleNamespace(get_frozen_credentials=lambda: keys),
        get_config_variable=lambda _: None,
    )


@pytest.mark.parametrize(
    ("session", "why"), [(no_credentials, "none are configured"), (no_region, "Is AWS_DEFAULT_REGION set?")]
)
def test_absent_credentials_of_aws_are_named(
    monkeypatch: pytest.MonkeyPatch, session: Callable[[], Any], why: str
) -> None:
    """kafka-python asks botocore for them."""
    for name in ("botocore", "botocore.session"):
        package = ModuleType(name)
        package.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setattr(sys.modules["botocore.session"], "Session", session, raising=False)
    sasl = Sasl("AWS_MSK_IAM")

    with pytest.raises(AttributeError if session is no_credentials else Exception) as failure:
        sasl.client("broker", "SASL_SSL").auth_bytes()
    refusal = sasl.without_credentials(failure.value)

    assert refusal.cause == "credentials missing"
    assert why in str(refusal)
    assert "AWS_ACCESS_KEY_ID" in str(refusal)


def test_an_absent_ticket_is_named() -> None:
    """With the remedy of Kerberos."""
    refusal = Sasl("GSSAPI").without_credentials(RuntimeError("No Kerberos credentials available"))

    assert str(refusal) == SENTENCES["credentials missing"].format(
        mechanism="GSSAPI",
        why="No Kerberos credentials available",
        remedy="get a Kerberos ticket with kinit, or set KRB5_CLIENT_KTNAME to a keytab",
    )


def test_a_broker_that_refuses_an_identity_is_named() -> None:
    """Of a machine, there is no password to correct."""
    refusal = Sasl("AWS_MSK_IAM").refused("broker:9098", "Access denied")

    assert str(refusal) == SENTENCES["identity refused"].format(
        address="broker:9098", mechanism="AWS_MSK_IAM", why="Access denied"
    )


def test_the_settings_of_every_mechanism_reach_the_client() -> None:
    """Under kafka-python's names."""
    sasl = Sasl("GSSAPI", kerberos_service_name="brokers", kerberos_domain_name="example.org")

    arguments = sasl.arguments()

    assert arguments["sasl_mechanism"] == "GSSAPI"
    assert arguments["sasl_kerberos_service_name"] == "brokers"
    assert arguments["sasl_kerberos_domain_name"] == "example.org"
