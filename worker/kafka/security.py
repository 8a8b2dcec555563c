"""The security of connections to the brokers: protocol, TLS and login."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from worker.kafka.sasl import Sasl
from worker.kafka.tls import Tls


@dataclass(frozen=True, slots=True)
class Security:
    """A security protocol with its credentials; by default, neither encryption nor login."""

    protocol: str = "PLAINTEXT"
    tls: Tls = field(default_factory=Tls)
    sasl: Sasl | None = None

    @property
    def encrypted(self) -> bool:
        """Whether connections use TLS."""
        return self.protocol.endswith("SSL")

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of kafka-python's clients."""
        chosen: dict[str, Any] = {"security_protocol": self.protocol}
        if self.encrypted:
            chosen["ssl_context"] = self.tls
        return chosen | (self.sasl.arguments() if self.sasl else {})

    def require_usable(self) -> None:
        """Raise Refused if a certificate, a key or a package cannot be used."""
        if self.encrypted:
            self.tls.context()
        if self.sasl:
            self.sasl.require_package()

    def other(self, *, encrypted: bool | None = None, login: bool | None = None) -> str:
        """Return the protocol that differs from this one in the given respects."""
        encrypted = self.encrypted if encrypted is None else encrypted
        login = self.protocol.startswith("SASL_") if login is None else login
        return ("SASL_" if login else "") + ("SSL" if encrypted else "PLAINTEXT")
