"""The reasons why no connection to a broker is possible: one sentence each, with a remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.errors import KafkaAway

SENTENCES: Final[Mapping[str, str]] = {
    "unknown host": "the host name {host} does not resolve; fix it in {names}, or in your DNS",
    "nothing listens": "no program listens at {address}; start the broker, or fix the address in {names}",
    "unreachable": "{address} cannot be reached ({why}); check network and firewall, or fix "
    "the address in {names}",
    "silent": "{address} accepts a connection, but does not answer; check that it is a Kafka "
    "broker, and that the broker is not overloaded or frozen",
    "no broker": "{address} does not answer like a Kafka broker; check that it is the port of one",
    "TLS required": "{address} requires TLS, but kafka.security_protocol is {protocol}; set it to {instead}",
    "no TLS": "{address} does not use TLS, but kafka.security_protocol is {protocol}; set it to "
    "{instead}, or use the port of a TLS listener",
    "SASL required": "{address} requires SASL, but kafka.security_protocol is {protocol}; set it "
    "to {instead}, and set kafka.sasl_mechanism",
    "no SASL": "{address} does not use SASL, but kafka.security_protocol is {protocol}; set it to {instead}",
    "certificate expired": "the certificate of {address} has expired; renew it on the broker",
    "certificate not valid yet": "the certificate of {address} is not valid yet; fix the "
    "clock of this machine, or the certificate",
    "certificate self-signed": "the certificate of {address} is self-signed; add it to "
    "kafka.ssl_ca_file ({ca_file}), or sign it with a certificate authority",
    "authority not trusted": "the certificate of {address} is signed by an authority that is not "
    "in kafka.ssl_ca_file ({ca_file}); add the certificate of the authority",
    "wrong host name": "the certificate of {address} is not valid for the name {host}; use one "
    "of its names in {names}, or set kafka.ssl_check_hostname to false",
    "certificate not accepted": "the certificate of {address} is not accepted ({why}); fix it on the broker",
    "TLS fails": "TLS with {address} fails ({why}); the broker must offer TLS 1.2 or 1.3",
    "client certificate required": "{address} requires a client certificate; set "
    "kafka.ssl_certificate_file and kafka.ssl_key_file",
    "client certificate refused": "{address} refuses the client certificate {certificate_file} "
    "({why}); use one that is valid and signed by an authority that the broker trusts",
    "no authorities": "kafka.ssl_ca_file is {file}, which contains no PEM certificate; name a "
    "file with the certificates of the authorities",
    "no certificate": "kafka.ssl_certificate_file is {file}, which contains no PEM certificate; "
    "name the file of the client certificate",
    "no key": "{file} contains no PEM private key; set kafka.ssl_key_file to the key of "
    "kafka.ssl_certificate_file",
    "other key": "kafka.ssl_key_file ({file}) is not the key of kafka.ssl_certificate_file "
    "({certificate_file}); name the key that belongs to the certificate",
    "key needs password": "the private key {file} is encrypted; set kafka.ssl_key_password",
    "wrong key password": "kafka.ssl_key_password does not decrypt the private key {file}; fix it",
    "unreadable": "{key} is {file}, which cannot be read ({why}); fix the path or its permissions",
    "secret unreadable": "{why}; fix the path or the file",
    "login refused": "{address} refuses the user {username} or the password ({mechanism}); "
    "fix kafka.sasl_username or kafka.sasl_password",
    "mechanism refused": "{address} does not support the SASL mechanism {mechanism}; set "
    "kafka.sasl_mechanism to one that it supports: {supported}",
    "token refused": "{address} refuses the OAuth token ({why}); check its issuer, audience, "
    "scope and expiry",
    "token endpoint away": "the token endpoint {url} does not answer ({why}); fix "
    "kafka.sasl_oauth_url, or start it",
    "token endpoint not trusted": "the certificate of the token endpoint {url} is not trusted "
    "({why}); add its certificate authority to kafka.ssl_ca_file",
    "token not granted": "the token endpoint {url} grants no token ({why}); fix "
    "kafka.sasl_username, kafka.sasl_password or kafka.sasl_oauth_scope",
    "package missing": "kafka.sasl_mechanism is {mechanism}, which needs the Python package "
    "{package}; install it: pip install {package}",
    "credentials missing": "{mechanism} finds no credentials on this machine ({why}); {remedy}",
    "identity refused": "{address} refuses the identity of this machine ({mechanism}: {why}); "
    "check its rights on the broker's side",
}
"""A sentence for each cause. `make reference` writes them into deploy/README.md."""


class Refused(KafkaAway):
    """Raised when no connection to a broker is possible, for a known reason: one of `SENTENCES`.

    The reason may go away without a restart: files of secrets and certificates are read at every connection.
    """

    def __init__(self, cause: str, **facts: object) -> None:
        super().__init__(SENTENCES[cause].format(**facts))
        self.cause = cause
