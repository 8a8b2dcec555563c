"""The login of the connections to the brokers (SASL)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final

from kafka.net.sasl import get_sasl_mechanism, register_sasl_mechanism
from kafka.net.sasl.oauth import AbstractTokenProvider

from worker.errors import SettingError
from worker.kafka.oauth import ClientCredentials
from worker.kafka.refusals import Refused

PASSWORD_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
"""The mechanisms that need a user name and a password."""

_PACKAGES: Final[Mapping[str, str]] = {"GSSAPI": "gssapi", "AWS_MSK_IAM": "botocore"}
"""The package that kafka-python imports for a mechanism."""


@dataclass(frozen=True, slots=True)
class Sasl:
    """A mechanism and the credentials for it."""

    mechanism: str
    username: str | None = None
    password: Callable[[], str] | None = field(default=None, repr=False)
    """Called at every login, so that a new password in a file is used without a restart."""
    tokens: AbstractTokenProvider | None = None
    """Provides the tokens for OAUTHBEARER."""
    kerberos_service_name: str = "kafka"
    kerberos_domain_name: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of kafka-python's clients."""
        return {
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
            "sasl_oauth_token_provider": self.tokens,
            "sasl_kerberos_service_name": self.kerberos_service_name,
            "sasl_kerberos_domain_name": self.kerberos_domain_name,
        }

    def require_package(self) -> None:
        """Raise Refused if a package that the mechanism needs is not installed."""
        package = _PACKAGES.get(self.mechanism)
        if package and find_spec(package) is None:
            raise Refused("package missing", mechanism=self.mechanism, package=package)

    def client(self, host: str, protocol: str) -> Any:
        """Return kafka-python's client side of a login to a host. Raises Refused."""
        self.require_package()
        kind = get_sasl_mechanism(self.mechanism)
        try:
            return kind(host=host, security_protocol=protocol, **self.arguments())
        except Refused:
            raise
        except Exception as error:
            raise self.without_credentials(error) from error

    def refused(self, address: str, why: str) -> Refused:
        """Return the error for a broker that refuses the credentials."""
        mechanism = self.mechanism
        if mechanism in PASSWORD_MECHANISMS:
            return Refused("login refused", address=address, username=self.username, mechanism=mechanism)
        if isinstance(self.tokens, ClientCredentials):
            self.tokens.forget()
        if mechanism == "OAUTHBEARER":
            return Refused("token refused", address=address, why=why)
        return Refused("identity refused", address=address, mechanism=mechanism, why=why)

    def without_credentials(self, error: BaseException) -> Refused:
        """Return the error to raise for an `error` in the client side of a login."""
        remedies = {
            "GSSAPI": "get a Kerberos ticket with kinit, or set KRB5_CLIENT_KTNAME to a keytab",
            "AWS_MSK_IAM": "give it an AWS role, or set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
            "AWS_DEFAULT_REGION",
        }
        remedy = remedies.get(self.mechanism, "fix kafka.sasl_mechanism")
        why = str(error.args[0]) if error.args else type(error).__name__
        if isinstance(error, AttributeError):  # kafka-python 3.0.12 does not check for absent credentials
            why = "none are configured"
        return Refused("credentials missing", mechanism=self.mechanism, why=why, remedy=remedy)


def _reading(kind: type) -> type:
    """Return a mechanism that reads the password at each login; kafka-python's take it once."""

    class Reading(kind):  # type: ignore[misc]
        def __init__(self, **config: Any) -> None:
            password = config.get("sasl_plain_password")
            if callable(password):
                try:
                    config["sasl_plain_password"] = password()
                except SettingError as error:
                    raise Refused("secret unreadable", why=error) from None
            super().__init__(**config)

    return Reading


for _mechanism in PASSWORD_MECHANISMS:
    register_sasl_mechanism(_mechanism, _reading(get_sasl_mechanism(_mechanism)), overwrite=True)
