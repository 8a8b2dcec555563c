"""What a TLS client says to each certificate: the faults are the ones asked for, and no others."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.kafka.certificates import ONE_DAY_AGO, Authority, Certificate, self_signed

HOST = "127.0.0.1"


def shake_hands(server: Certificate, trusted: str, folder: Path) -> None:
    """Do a TLS handshake in memory; raises what the client objects to."""
    files = server.write(folder)
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    accepting.load_cert_chain(files.certificate, files.key)
    connecting = ssl.create_default_context(cadata=trusted)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = connecting.wrap_bio(back, there, server_hostname=HOST)
    peer = accepting.wrap_bio(there, back, server_side=True)
    for side in (client, peer, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


def test_a_certificate_of_the_authority_is_trusted(tmp_path: Path) -> None:
    """For this machine, by whoever trusts the authority."""
    authority = Authority()

    shake_hands(authority.issue("broker"), authority.own.pem, tmp_path)


@pytest.mark.parametrize(
    ("made", "objection"),
    [
        (lambda authority: authority.issue("broker", ends=ONE_DAY_AGO), "certificate has expired"),
        (lambda authority: authority.issue("broker", hosts=["elsewhere.example"]), "IP address mismatch"),
        (lambda _: Authority().issue("broker"), "unable to get local issuer certificate"),
        (lambda _: self_signed("broker"), "self-signed certificate"),
    ],
)
def test_a_faulty_certificate_is_refused_for_its_fault(
    made: Callable[[Authority], Certificate], objection: str, tmp_path: Path
) -> None:
    """Each fault is found by the client, and is the only one."""
    authority = Authority()

    with pytest.raises(ssl.SSLCertVerificationError, match=objection):
        shake_hands(made(authority), authority.own.pem, tmp_path)


@pytest.mark.parametrize(("password", "opens"), [("secret", True), ("wrong", False)])
def test_an_encrypted_key_opens_with_its_password_only(password: str, opens: bool, tmp_path: Path) -> None:
    """The file of the key is of no use without the password."""
    files = Authority().issue("worker").write(tmp_path, key_password="secret")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def load() -> bool:
        try:
            context.load_cert_chain(files.certificate, files.key, password)
        except ssl.SSLError:
            return False
        return True

    assert load() is opens
