from __future__ import annotations

import pytest

from worker.kafka.refusals import Refused
from worker.kafka.sasl import Sasl
from worker.kafka.security import Security
from worker.kafka.tls import Tls


def test_without_settings_there_is_neither_encryption_nor_login() -> None:
    """kafka-python keeps its defaults for the rest."""
    assert Security().arguments() == {"security_protocol": "PLAINTEXT"}


def test_encryption_and_login_are_passed_to_the_client() -> None:
    """TLS in place of a context, so that its files are read at every connection."""
    tls = Tls()
    arguments = Security("SASL_SSL", tls, Sasl("PLAIN", username="ada")).arguments()

    assert arguments["ssl_context"] is tls
    assert arguments["sasl_plain_username"] == "ada"


@pytest.mark.parametrize(
    ("protocol", "encrypted", "login", "other"),
    [
        ("PLAINTEXT", True, None, "SSL"),
        ("PLAINTEXT", None, True, "SASL_PLAINTEXT"),
        ("SASL_PLAINTEXT", True, None, "SASL_SSL"),
        ("SASL_SSL", False, None, "SASL_PLAINTEXT"),
        ("SASL_SSL", None, False, "SSL"),
        ("SSL", False, True, "SASL_PLAINTEXT"),
    ],
)
def test_the_other_protocol_differs_in_what_is_wrong(
    protocol: str, encrypted: bool | None, login: bool | None, other: str
) -> None:
    """The rest stays."""
    assert Security(protocol).other(encrypted=encrypted, login=login) == other


def test_a_package_that_is_missing_is_noticed_before_a_connection() -> None:
    """So is a key that cannot be used (`test_tls`)."""
    with pytest.raises(Refused, match="pip install gssapi"):
        Security("SASL_PLAINTEXT", sasl=Sasl("GSSAPI")).require_usable()
