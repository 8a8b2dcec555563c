"""TLS of the connections to the brokers: certificates and keys, read again at every connection."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from worker.errors import SettingError
from worker.kafka.refusals import Refused

_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"
_KEY: Final = "PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of TLS. kafka-python uses it in place of an `ssl.SSLContext`."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    """The file of the private key. None: the key is in `certificate_file`."""
    key_password: Callable[[], str] | None = field(default=None, repr=False)
    check_hostname: bool = True

    def context(self) -> ssl.SSLContext:
        """Return a context with the present content of the files. Raises Refused.

        Never asks for a password on the terminal.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self.check_hostname
        self._trust(context)
        if self.certificate_file is not None:
            self._identify(context, self.certificate_file)
        return context

    def wrap_socket(self, sock: Any, **more: Any) -> ssl.SSLSocket:
        """Return a TLS socket over `sock`, like `ssl.SSLContext.wrap_socket`. Raises Refused."""
        return self.context().wrap_socket(sock, **more)

    def _trust(self, context: ssl.SSLContext) -> None:
        if self.ca_file is None:
            context.load_default_certs()
            return
        _readable(self.ca_file, "kafka.ssl_ca_file")
        try:
            context.load_verify_locations(self.ca_file)
        except ssl.SSLError:
            raise Refused("no authorities", file=self.ca_file) from None

    def _identify(self, context: ssl.SSLContext, certificate_file: Path) -> None:
        """Load the client certificate and its key."""
        key_file = self.key_file or certificate_file
        if _CERTIFICATE not in _readable(certificate_file, "kafka.ssl_certificate_file"):
            raise Refused("no certificate", file=certificate_file)
        if _KEY not in _readable(key_file, "kafka.ssl_key_file"):
            raise Refused("no key", file=key_file)
        asked = False

        def password() -> str:
            nonlocal asked
            asked = True
            if self.key_password is None:
                # Without this function, OpenSSL would ask on the terminal.
                raise Refused("key needs password", file=key_file)
            try:
                return self.key_password()
            except SettingError as error:
                raise Refused("secret unreadable", why=error) from None

        try:
            context.load_cert_chain(certificate_file, key_file, password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise Refused("other key", file=key_file, certificate_file=certificate_file) from None
            if asked:
                raise Refused("wrong key password", file=key_file) from None
            raise Refused("no key", file=key_file) from None
        except ValueError:  # the password is longer than OpenSSL allows
            raise Refused("wrong key password", file=key_file) from None


def _readable(path: Path, key: str) -> str:
    """Return the content of a file; bytes that are not text are replaced. Raises Refused."""
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise Refused("unreadable", key=key, file=path, why=error.strerror) from None
