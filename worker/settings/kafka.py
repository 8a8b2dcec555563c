"""The section `kafka`, shared by worker and trainer: brokers, credentials, time limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import model_validator

from worker.errors import SettingError
from worker.kafka.connection import KafkaConnection
from worker.kafka.interface import FETCH_MAX_WAIT_MS
from worker.kafka.oauth import ClientCredentials, FixedToken
from worker.kafka.refusals import Refused
from worker.kafka.sasl import Sasl
from worker.kafka.security import Security
from worker.kafka.tls import Tls
from worker.settings.fields import Addresses, Section, setting
from worker.settings.secrets import Secret, reading

_LOGIN: Final = frozenset({"sasl_username", "sasl_password"})
_OAUTH: Final = frozenset({"sasl_oauth_token", "sasl_oauth_url", "sasl_oauth_scope", "sasl_oauth_extensions"})

_USED: Final[Mapping[str, frozenset[str]]] = {
    "PLAIN": _LOGIN,
    "SCRAM-SHA-256": _LOGIN,
    "SCRAM-SHA-512": _LOGIN,
    "OAUTHBEARER": _LOGIN | _OAUTH,
    "GSSAPI": frozenset({"sasl_kerberos_service_name", "sasl_kerberos_domain_name"}),
    "AWS_MSK_IAM": frozenset(),
}
"""The settings that each mechanism uses."""


class Kafka(Section):
    """Brokers and credentials."""

    bootstrap_servers: Addresses = setting(
        "localhost:9092", "Comma-separated addresses of one or more brokers, as `host:port`."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = setting(
        "PLAINTEXT", "Security protocol of the connections to the brokers."
    )
    sasl_mechanism: (
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI", "AWS_MSK_IAM"] | None
    ) = setting(
        None,
        "SASL mechanism, required by both SASL protocols. `PLAIN`, `SCRAM-SHA-256` and `SCRAM-SHA-512` "
        "require user name and password, `OAUTHBEARER` a token or the URL of an endpoint. `GSSAPI` requires "
        "the package `gssapi` and a Kerberos ticket or keytab, `AWS_MSK_IAM` the package `botocore`, with "
        "credentials and a region where AWS programs look for them.",
    )
    sasl_username: str | None = setting(
        None, "SASL user name. With `sasl_oauth_url`: the id of the OAuth client.", min_length=1
    )
    sasl_password: Secret | None = setting(
        None, "SASL password. With `sasl_oauth_url`: the secret of the OAuth client."
    )
    sasl_oauth_token: Secret | None = setting(
        None, "Token for `OAUTHBEARER`, if another program obtains and renews it."
    )
    sasl_oauth_url: str | None = setting(
        None,
        "URL of the endpoint that grants tokens for `OAUTHBEARER` to a client (OAuth client credentials).",
        pattern=r"^https?://[^\s/@]+(/[^\s@]*)?$",
    )
    sasl_oauth_scope: str | None = setting(None, "Scope of the requested tokens.")
    sasl_oauth_extensions: tuple[str, ...] = setting(
        (), "SASL extensions that are sent with a token, each as `name=value`."
    )
    sasl_kerberos_service_name: str = setting(
        "kafka", "Name of the brokers' Kerberos service, for `GSSAPI`.", min_length=1
    )
    sasl_kerberos_domain_name: str | None = setting(
        None, "Host name in the brokers' Kerberos principals. Default: the host name of each broker."
    )
    ssl_ca_file: Path | None = setting(
        None, "PEM file of the trusted certificate authorities. Default: those that the system trusts."
    )
    ssl_certificate_file: Path | None = setting(None, "PEM file of the client certificate, for mutual TLS.")
    ssl_key_file: Path | None = setting(
        None,
        "PEM file of the private key of the client certificate. Default: the key is in "
        "`ssl_certificate_file`.",
    )
    ssl_key_password: Secret | None = setting(None, "Password of the private key.")
    ssl_check_hostname: bool = setting(True, "Whether the broker's certificate must match its host name.")
    session_timeout_ms: int = setting(
        10_000,
        "Time without heartbeats from a worker, in milliseconds, after which its partitions go to "
        "other workers.",
        ge=1_000,
    )
    heartbeat_interval_ms: int = setting(
        1_000,
        "Interval between heartbeats, in milliseconds. At most a third of `session_timeout_ms`.",
        ge=100,
    )
    transaction_timeout_ms: int = setting(
        10_000,
        "Time, in milliseconds, after which the broker aborts an open transaction. At least twice "
        "`commit_interval`.",
        ge=1_000,
    )
    fetch_max_wait_ms: int = setting(
        FETCH_MAX_WAIT_MS,
        "Maximum time, in milliseconds, that a broker waits for records before it answers a fetch. Kafka "
        "answers as soon as there is a record; some compatible brokers always wait this long.",
        ge=1,
        le=5_000,
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.heartbeat_interval_ms * 3 > self.session_timeout_ms:
            raise ValueError(
                f"heartbeat_interval_ms is {self.heartbeat_interval_ms} and session_timeout_ms is "
                f"{self.session_timeout_ms}; the first must be at most a third of the second"
            )
        self._check_sasl()
        self._check_tls()
        return self

    def _check_sasl(self) -> None:
        """Raise ValueError if the settings of SASL contradict each other."""
        protocol, mechanism = self.security_protocol, self.sasl_mechanism
        chosen = self._chosen("sasl_")
        if not protocol.startswith("SASL_"):
            _without_effect(chosen, f"security_protocol {protocol}", "SASL_SSL or SASL_PLAINTEXT")
            return
        if mechanism is None:
            raise ValueError(f"security_protocol is {protocol}; it requires sasl_mechanism")
        _without_effect(chosen - _USED[mechanism] - {"sasl_mechanism"}, f"sasl_mechanism {mechanism}")
        if mechanism == "AWS_MSK_IAM" and protocol != "SASL_SSL":
            raise ValueError(f"security_protocol is {protocol}; sasl_mechanism AWS_MSK_IAM requires SASL_SSL")
        if mechanism == "OAUTHBEARER":
            self._check_oauth(chosen)
        elif missing := sorted(_USED[mechanism] & _LOGIN - chosen):
            raise ValueError(f"sasl_mechanism is {mechanism}; it requires {' and '.join(missing)}")

    def _check_oauth(self, chosen: frozenset[str]) -> None:
        if ("sasl_oauth_token" in chosen) == ("sasl_oauth_url" in chosen):
            raise ValueError("sasl_mechanism is OAUTHBEARER; it requires sasl_oauth_token or sasl_oauth_url")
        if "sasl_oauth_token" in chosen:
            _without_effect(chosen & (_LOGIN | {"sasl_oauth_scope"}), "sasl_oauth_token")
        elif missing := sorted(_LOGIN - chosen):
            raise ValueError(f"sasl_oauth_url is set; it requires {' and '.join(missing)}")
        if wrong := [one for one in self.sasl_oauth_extensions if not all(one.partition("="))]:
            raise ValueError(f"sasl_oauth_extensions contains {wrong[0]!r}, which must be name=value")

    def _check_tls(self) -> None:
        """Raise ValueError if the settings of TLS contradict each other."""
        chosen = self._chosen("ssl_")
        if not self.security_protocol.endswith("SSL"):
            instead = self.security_protocol.replace("PLAINTEXT", "SSL")
            _without_effect(chosen, f"security_protocol {self.security_protocol}", instead)
        if self.ssl_certificate_file is None:
            _without_effect(chosen & {"ssl_key_file", "ssl_key_password"}, "no ssl_certificate_file")
        for name in ("ssl_ca_file", "ssl_certificate_file", "ssl_key_file"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"{name} is {path}, but there is no such file")

    def _chosen(self, prefix: str) -> frozenset[str]:
        """Return the settings with a prefix that do not have their default."""
        fields = type(self).model_fields
        return frozenset(
            name for name in fields if name.startswith(prefix) and getattr(self, name) != fields[name].default
        )

    def _security(self) -> Security:
        tls = Tls(
            ca_file=self.ssl_ca_file,
            certificate_file=self.ssl_certificate_file,
            key_file=self.ssl_key_file,
            key_password=reading(self.ssl_key_password),
            check_hostname=self.ssl_check_hostname,
        )
        if self.sasl_mechanism is None:
            return Security(self.security_protocol, tls)
        sasl = Sasl(
            self.sasl_mechanism,
            username=self.sasl_username,
            password=reading(self.sasl_password),
            tokens=self._tokens(),
            kerberos_service_name=self.sasl_kerberos_service_name,
            kerberos_domain_name=self.sasl_kerberos_domain_name,
        )
        return Security(self.security_protocol, tls, sasl)

    def _tokens(self) -> FixedToken | ClientCredentials | None:
        """Return the provider of tokens for OAUTHBEARER; None for another mechanism."""
        extensions = dict(one.split("=", 1) for one in self.sasl_oauth_extensions)
        if self.sasl_oauth_token:
            return FixedToken(self.sasl_oauth_token.read, extensions)
        if self.sasl_oauth_url and self.sasl_username and self.sasl_password:
            return ClientCredentials(
                self.sasl_oauth_url,
                client=self.sasl_username,
                secret=self.sasl_password.read,
                scope=self.sasl_oauth_scope or "",
                extensions=extensions,
                ca_file=self.ssl_ca_file,
            )
        return None

    def connection(self, origin: str = "") -> KafkaConnection:
        """Return a connection with these settings. `origin`: the source of the address, for messages.

        Raises SettingError if a certificate or a key cannot be used, or a package is missing.
        """
        security = self._security()
        try:
            security.require_usable()
        except Refused as error:
            raise SettingError(str(error)) from None
        return KafkaConnection(self.bootstrap_servers, security, origin=origin)


def _without_effect(names: frozenset[str], with_: str, instead: str = "") -> None:
    """Raise ValueError if there are settings without effect."""
    if names:
        remedy = f"set security_protocol to {instead}, or leave them out" if instead else "leave them out"
        raise ValueError(f"{', '.join(sorted(names))}: no effect with {with_}; {remedy}")
