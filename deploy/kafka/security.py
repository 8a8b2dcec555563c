"""A locked-down Kafka on this machine: TLS, SCRAM, PLAIN, client certificates and ACLs.

A test takes the `[kafka]` settings of a user from `access`. The fixture `locked_kafka` is the `access` of a
node that all tests of a run share.

    with LockedKafka() as kafka:
        access = kafka.access
        access.scram("worker")              # SASL_SSL with SCRAM-SHA-512, principal User:worker
        access.plain("worker")              # SASL_SSL with PLAIN
        access.mutual("trainer")            # SSL with a client certificate, principal User:trainer
        access.bootstrap                    # for the test itself: PLAINTEXT, a super user

- OAUTHBEARER takes every unsigned token that has not expired (Kafka's default, for experiments only).
- `access.users` maps the users of SCRAM and PLAIN to their passwords: `LockedKafka(users={"ann": "secret"})`.
  Client certificates need no list: `mutual(name)` issues one for any name.
- Without an ACL nobody has any right, except for the test, which connects without credentials.
- `access.authority` issues more certificates (`deploy.kafka.certificates`), valid ones and faulty ones:
  `access.mutual("trainer", certificate=access.authority.issue("trainer", ends=ONE_DAY_AGO))`;
  `access.mutual("trainer", key_password="secret")` encrypts the file of the key.
- `LockedKafka(servers={"EXPIRED": certificate, ...})` adds a listener for each certificate, with the users of
  SASL_SSL: `access.scram("worker", listener="EXPIRED")`. `self_signed("broker")` is a certificate of no
  authority, `Authority().issue("broker")` is one of another authority.
- `properties` are properties of a broker. They override those set here, for example to add a mechanism.

Needs the package cryptography.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from deploy.kafka.certificates import Authority, Certificate, Files
from deploy.kafka.local import LocalKafka

SASL: Final = "SASL"
"""The listener for users with a password."""

MUTUAL: Final = "MUTUAL"
"""The listener for users with a client certificate."""

MECHANISMS: Final = ("SCRAM-SHA-512", "PLAIN", "OAUTHBEARER")

USERS: Final[Mapping[str, str]] = MappingProxyType(
    {name: f"{name}-password" for name in ("worker", "trainer", "admin", "stranger")}
)
"""The users of SCRAM and PLAIN unless others are given, with their passwords."""

# The broker and its controller are one process without credentials, and so is the test: ANONYMOUS. Clients of
# the other listeners always have a name.
_AUTHORIZER: Final = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": "User:ANONYMOUS",
    "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
}
_LOGIN: Final = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Access:
    """The addresses and credentials of a locked-down Kafka."""

    bootstrap: str
    """The `host:port` where clients without credentials are super users."""
    listeners: Mapping[str, str]
    """The `host:port` of each secure listener."""
    users: Mapping[str, str]
    """The users of SCRAM and PLAIN, with their passwords."""
    folder: str
    """The folder of the certificates."""

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority, as a PEM file."""
        return self._authority_files.certificate

    @property
    def authority(self) -> Authority:
        """The authority that broker and clients trust."""
        return Authority(Certificate.read(self._authority_files))

    def scram(self, user: str, *, listener: str = SASL) -> dict[str, str]:
        """Return the settings of `[kafka]` for a user with a password, over SCRAM-SHA-512."""
        return self._with_password(user, "SCRAM-SHA-512", listener)

    def plain(self, user: str, *, listener: str = SASL) -> dict[str, str]:
        """Return the settings of `[kafka]` for a user with a password, over PLAIN."""
        return self._with_password(user, "PLAIN", listener)

    def mutual(
        self, user: str, *, certificate: Certificate | None = None, key_password: str | None = None
    ) -> dict[str, str]:
        """Return the settings of `[kafka]` for a user with a client certificate, by default a valid one.

        With a password, the file of the key is encrypted.
        """
        shown = certificate or self.authority.issue(user)
        # Each in its own folder, so that a second certificate of a user does not replace the first.
        files = shown.write(Path(tempfile.mkdtemp(dir=self.folder)), key_password=key_password)
        return ({} if key_password is None else {"ssl_key_password": key_password}) | {
            "bootstrap_servers": self.listeners[MUTUAL],
            "security_protocol": "SSL",
            "ssl_ca_file": str(self.ca_file),
            "ssl_certificate_file": str(files.certificate),
            "ssl_key_file": str(files.key),
        }

    def _with_password(self, user: str, mechanism: str, listener: str) -> dict[str, str]:
        return {
            "bootstrap_servers": self.listeners[listener],
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": mechanism,
            "sasl_username": user,
            "sasl_password": self.users[user],
            "ssl_ca_file": str(self.ca_file),
        }

    @property
    def _authority_files(self) -> Files:
        return Files(Path(self.folder) / "ca.pem", Path(self.folder) / "ca.key")


class LockedKafka(LocalKafka):
    """A Kafka node that requires TLS and authentication, and grants only what ACLs allow."""

    def __init__(
        self,
        *,
        users: Mapping[str, str] = USERS,
        servers: Mapping[str, Certificate] | None = None,
        java_options: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
    ) -> None:
        authority = Authority()
        sasl = {SASL: authority.issue("broker")} | dict(servers or {})
        protocols = dict.fromkeys(sasl, "SASL_SSL") | {MUTUAL: "SSL"}
        super().__init__(
            java_options=java_options,
            listeners=protocols,
            format_options=[word for user in users.items() for word in ("--add-scram", _scram_user(*user))],
        )
        folder = self.folder / "tls"
        addresses = {name: self.listener(name) for name in protocols}
        self.access = Access(self.bootstrap, addresses, dict(users), str(folder))
        authority.own.write(folder, name="ca")
        self._properties |= _AUTHORIZER
        for name, certificate in sasl.items():
            self._properties |= _server_certificate(name, certificate, folder) | _logins(name, users)
        self._properties |= _server_certificate(MUTUAL, authority.issue("broker"), folder)
        self._properties |= _client_certificates(self.access.ca_file) | dict(properties or {})


def _prefix(listener: str) -> str:
    return f"listener.name.{listener.lower()}."


def _server_certificate(listener: str, certificate: Certificate, folder: Path) -> dict[str, str]:
    file = folder / f"{listener.lower()}.pem"
    file.write_text(certificate.key_pem() + certificate.pem)  # Kafka wants both in one file
    prefix = _prefix(listener)
    return {f"{prefix}ssl.keystore.type": "PEM", f"{prefix}ssl.keystore.location": str(file)}


def _client_certificates(ca_file: Path) -> dict[str, str]:
    prefix = _prefix(MUTUAL)
    return {
        f"{prefix}ssl.client.auth": "required",
        f"{prefix}ssl.truststore.type": "PEM",
        f"{prefix}ssl.truststore.location": str(ca_file),
    }


def _logins(listener: str, users: Mapping[str, str]) -> dict[str, str]:
    prefix = _prefix(listener)
    plain = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    return {
        f"{prefix}sasl.enabled.mechanisms": ",".join(MECHANISMS),
        f"{prefix}scram-sha-512.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;",
        f"{prefix}plain.sasl.jaas.config": f"{_LOGIN}.plain.PlainLoginModule required {plain};",
        # Tokens without a signature: the principal is the claim `sub`.
        f"{prefix}oauthbearer.sasl.jaas.config": f"{_LOGIN}.oauthbearer.OAuthBearerLoginModule required "
        'unsecuredLoginStringClaim_sub="broker";',
    }


def _scram_user(name: str, password: str) -> str:
    return f"SCRAM-SHA-512=[name={name},password={password}]"
