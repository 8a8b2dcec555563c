"""Certificates for local tests of TLS: a certificate authority, and certificates with chosen faults.

    authority = Authority()
    good = authority.issue("worker")                                    # valid for 127.0.0.1 and localhost
    expired = authority.issue("worker", ends=ONE_DAY_AGO)
    other_host = authority.issue("worker", hosts=["elsewhere.example"])
    other_ca = Authority().issue("worker")
    alone = self_signed("worker")
    files = good.write(folder)                                          # files.certificate, files.key: PEM
    locked = good.write(folder, key_password="secret")                  # with an encrypted key

Needs the package cryptography.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE: Final = ("127.0.0.1", "localhost")
"""The names of this machine in a certificate."""

ONE_DAY_AGO: Final = datetime.now(UTC) - timedelta(days=1)
"""The end of an expired certificate."""


class Files(NamedTuple):
    """The PEM files of a certificate."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key."""

    name: str
    """The common name of the subject."""
    signed: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        """The certificate as PEM."""
        return self.signed.public_bytes(Encoding.PEM).decode()

    @classmethod
    def read(cls, files: Files) -> Certificate:
        """Return a certificate from its files, which `write` has written without a password."""
        key = load_pem_private_key(files.key.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{files.key} holds another kind of key than `write` writes")
        return cls(
            files.certificate.stem, x509.load_pem_x509_certificate(files.certificate.read_bytes()), key
        )

    def key_pem(self, *, password: str | None = None) -> str:
        """Return the private key as PEM (PKCS#8), encrypted if there is a password."""
        encryption: KeySerializationEncryption = NoEncryption()
        if password is not None:
            encryption = BestAvailableEncryption(password.encode())
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()

    def write(self, folder: Path, *, name: str | None = None, key_password: str | None = None) -> Files:
        """Write `<name>.pem` and `<name>.key` into a folder, which is created; return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        stem = name or self.name
        files = Files(folder / f"{stem}.pem", folder / f"{stem}.key")
        files.certificate.write_text(self.pem)
        files.key.write_text(self.key_pem(password=key_password))
        return files


@dataclass(frozen=True)
class Authority:
    """A certificate authority; `Authority()` makes a new one."""

    own: Certificate = field(default_factory=lambda: _authority("Nextclick tests"))
    """The certificate that clients must trust: `own.pem` is the contents of `ssl_ca_file`."""

    def issue(self, name: str, *, hosts: Sequence[str] = HERE, ends: datetime | None = None) -> Certificate:
        """Return a certificate for servers and clients. It ends in ten years unless `ends` says otherwise."""
        key = ec.generate_private_key(ec.SECP256R1())
        own = self.own
        return _signed(name, key, issuer=own.signed.subject, signer=own.private_key, hosts=hosts, ends=ends)


def self_signed(name: str, *, hosts: Sequence[str] = HERE) -> Certificate:
    """Return a certificate that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _signed(name, key, issuer=x509_name(name), signer=key, hosts=hosts)


def x509_name(common_name: str) -> x509.Name:
    """Return the distinguished name `CN=<common name>`."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _authority(name: str) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    return _signed(name, key, issuer=x509_name(name), signer=key, is_authority=True)


def _signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    hosts: Sequence[str] = (),
    ends: datetime | None = None,
    is_authority: bool = False,
) -> Certificate:
    starts = min(ends or ONE_DAY_AGO, ONE_DAY_AGO) - timedelta(days=1)
    authority = x509.SubjectKeyIdentifier.from_public_key(signer.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends or starts + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False
        )
        .add_extension(_usage(is_authority), critical=True)
    )
    if not is_authority:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return Certificate(name, builder.sign(signer, hashes.SHA256()), key)


def _usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
