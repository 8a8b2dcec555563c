from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import pytest

from deploy.kafka.certificates import Authority, Files
from worker.errors import SettingError
from worker.kafka.refusals import SENTENCES, Refused
from worker.kafka.tls import Tls

PASSWORD: Final = "hunter2"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A client certificate and its key."""
    return Authority().issue("client").write(tmp_path)


def refused(tls: Tls, cause: str, **facts: object) -> bool:
    """Whether the files are refused with the sentence of a cause."""
    with pytest.raises(Refused) as refusal:
        tls.context()
    return str(refusal.value) == SENTENCES[cause].format(**facts)


def test_a_certificate_and_its_key_are_loaded(files: Files, tmp_path: Path) -> None:
    """In two files or in one."""
    both = tmp_path / "both.pem"
    both.write_text(files.certificate.read_text() + files.key.read_text())

    for tls in (Tls(certificate_file=files.certificate, key_file=files.key), Tls(certificate_file=both)):
        assert isinstance(tls.context(), ssl.SSLContext)


def test_a_file_without_authorities_is_named(tmp_path: Path) -> None:
    """A PEM file of another kind, or none."""
    file = tmp_path / "ca.der"
    file.write_bytes(b"\x30\x82\x00")

    assert refused(Tls(ca_file=file), "no authorities", file=file)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    """With its setting: it was there when the settings were read."""
    file, why = tmp_path / "ca.pem", "No such file or directory"

    assert refused(Tls(ca_file=file), "unreadable", key="kafka.ssl_ca_file", file=file, why=why)


def test_a_file_without_a_certificate_is_named(files: Files) -> None:
    """Here: the key in its place."""
    tls = Tls(certificate_file=files.key, key_file=files.key)

    assert refused(tls, "no certificate", file=files.key)


@pytest.mark.parametrize("text", ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_certificate_without_its_key_is_named(files: Files, text: str) -> None:
    """Neither a setting nor the certificate's file has one; or it is damaged."""
    assert refused(Tls(certificate_file=files.certificate), "no key", file=files.certificate)
    files.key.write_text(text)
    assert refused(Tls(certificate_file=files.certificate, key_file=files.key), "no key", file=files.key)


def test_the_key_of_another_certificate_is_named(files: Files, tmp_path: Path) -> None:
    """With both files."""
    other = Authority().issue("other").write(tmp_path)
    tls = Tls(certificate_file=files.certificate, key_file=other.key)

    assert refused(tls, "other key", file=other.key, certificate_file=files.certificate)


def test_an_encrypted_key_asks_nobody_for_its_password(tmp_path: Path) -> None:
    """OpenSSL would ask on the terminal, and wait."""
    files = Authority().issue("client").write(tmp_path, key_password=PASSWORD)
    without = Tls(certificate_file=files.certificate, key_file=files.key)

    assert refused(without, "key needs password", file=files.key)


@pytest.mark.parametrize("password", ["wrong", "", "x" * 2_000])
def test_a_wrong_password_of_a_key_is_named(tmp_path: Path, password: str) -> None:
    """It is no message about PEM."""
    files = Authority().issue("client").write(tmp_path, key_password=PASSWORD)
    tls = Tls(certificate_file=files.certificate, key_file=files.key, key_password=lambda: password)

    assert refused(tls, "wrong key password", file=files.key)


def test_a_password_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """As its file says."""
    files = Authority().issue("client").write(tmp_path, key_password=PASSWORD)

    def password() -> str:
        raise SettingError("the file is gone")

    tls = Tls(certificate_file=files.certificate, key_file=files.key, key_password=password)

    assert refused(tls, "secret unreadable", why="the file is gone")


def test_new_files_are_read_at_the_next_connection(tmp_path: Path) -> None:
    """Certificate, key and password may change while the program runs."""
    passwords = ["first", "second"]
    files = Authority().issue("client").write(tmp_path, key_password="first")
    tls = Tls(certificate_file=files.certificate, key_file=files.key, key_password=lambda: passwords[0])
    assert isinstance(tls.context(), ssl.SSLContext)

    Authority().issue("client").write(tmp_path, key_password="second")
    passwords.pop(0)

    assert isinstance(tls.context(), ssl.SSLContext)
