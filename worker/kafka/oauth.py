"""OAuth tokens for the SASL mechanism OAUTHBEARER (RFC 7628)."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from ssl import SSLCertVerificationError
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from kafka.net.sasl.oauth import AbstractTokenProvider

from worker.errors import SettingError
from worker.kafka.refusals import Refused
from worker.kafka.tls import Tls

SECONDS: Final = 5.0
"""The timeout of a request for a token, in seconds."""

USED_SHARE: Final = 0.8
"""The share of a token's lifetime during which the token is used again."""

_LIFETIME_SECONDS: Final = 300.0
"""The assumed lifetime of a token if the endpoint does not name it."""

_MAX_BYTES: Final = 1 << 20


class FixedToken(AbstractTokenProvider):  # type: ignore[misc]  # kafka-python has no types
    """A token from the settings. A token in a file is read again at every login."""

    def __init__(self, read: Callable[[], str], extensions: Mapping[str, str] | None = None) -> None:
        self._read = read
        self._extensions = dict(extensions or {})

    def token(self) -> str:
        """Return the token. Raises Refused."""
        try:
            return self._read()
        except SettingError as error:
            raise Refused("secret unreadable", why=error) from None

    def extensions(self) -> dict[str, str]:
        """Return the SASL extensions that are sent with the token (KIP-342)."""
        return self._extensions


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]  # kafka-python has no types
    """Tokens that an endpoint grants to a client (RFC 6749, section 4.4). Used by several threads."""

    def __init__(
        self,
        url: str,
        *,
        client: str,
        secret: Callable[[], str],
        scope: str = "",
        extensions: Mapping[str, str] | None = None,
        ca_file: Path | None = None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._client = client
        self._secret = secret
        self._scope = scope
        self._extensions = dict(extensions or {})
        self._ca_file = ca_file
        self._steady = steady
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    def token(self) -> str:
        """Return a token that is still valid for a while. Raises Refused."""
        with self._lock:
            if not self._token or self._steady() >= self._until:
                asked = self._steady()
                self._token, seconds = self._granted()
                self._until = asked + USED_SHARE * seconds
            return self._token

    def extensions(self) -> dict[str, str]:
        """Return the SASL extensions that are sent with the token (KIP-342)."""
        return self._extensions

    def forget(self) -> None:
        """Drop the token, so that the next login requests a new one."""
        with self._lock:
            self._token = ""

    def _granted(self) -> tuple[str, float]:
        """Request a token; return it and its lifetime in seconds."""
        try:
            return _token_in(self._answer())
        except (KeyError, TypeError, ValueError):
            why = "the answer contains no access_token"
            raise Refused("token not granted", url=self._url, why=why) from None

    def _answer(self) -> bytes:
        """Return the endpoint's answer to a request. Raises Refused."""
        opener = build_opener(_NoRedirects, HTTPSHandler(context=self._context()))
        try:
            with opener.open(self._request(), timeout=SECONDS) as answer:
                content: bytes = answer.read(_MAX_BYTES)
                return content
        except HTTPError as error:
            why = f"{error.code} {_reason_of(error) or error.reason}"
            cause = "token not granted" if 400 <= error.code < 500 else "token endpoint away"
            raise Refused(cause, url=self._url, why=why) from None
        except URLError as error:
            if isinstance(error.reason, SSLCertVerificationError):
                why = error.reason.verify_message
                raise Refused("token endpoint not trusted", url=self._url, why=why) from None
            raise Refused("token endpoint away", url=self._url, why=error.reason) from None
        except (OSError, HTTPException) as error:
            why = str(error).strip() or type(error).__name__
            raise Refused("token endpoint away", url=self._url, why=why) from None

    def _request(self) -> Request:
        try:
            secret = self._secret()
        except SettingError as error:
            raise Refused("secret unreadable", why=error) from None
        # RFC 6749, section 2.3.1: both are encoded like a form before they are joined.
        login = base64.b64encode(f"{quote(self._client, safe='')}:{quote(secret, safe='')}".encode())
        form = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        headers = {
            "Authorization": f"Basic {login.decode()}",
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return Request(self._url, urlencode(form).encode(), headers)  # noqa: S310  # see above

    def _context(self) -> Any:
        if not self._url.startswith("https:"):
            return None
        context = Tls(ca_file=self._ca_file).context()
        context.load_default_certs()
        return context


def _token_in(answer: bytes) -> tuple[str, float]:
    document = json.loads(answer)
    token = document["access_token"]
    if not isinstance(token, str) or not token:
        raise TypeError("a token is text")
    return token, float(document.get("expires_in") or _LIFETIME_SECONDS)


class _NoRedirects(HTTPRedirectHandler):
    """Treats a redirection as an error: urllib would send the client's secret along, to any host."""

    def redirect_request(self, *_: object) -> None:
        """Return no request."""


def _reason_of(error: HTTPError) -> str:
    """Return the reason in an endpoint's error (RFC 6749, section 5.2); empty if there is none."""
    try:
        document = json.loads(error.read(_MAX_BYTES))
        return ": ".join(filter(None, [document.get("error"), document.get("error_description")]))
    except (AttributeError, TypeError, ValueError, OSError, HTTPException):
        return ""
