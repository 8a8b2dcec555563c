"""A schema registry over HTTP, with Confluent's interface (Apicurio, Karapace and Redpanda have it, too)."""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote
from uuid import UUID

import orjson
import urllib3
from urllib3.exceptions import HTTPError, ProtocolError, SSLError

from worker.errors import RegistryAway, RegistryRefused, SettingError
from worker.schemas.interface import Reference, Schema

T = TypeVar("T")

SECONDS: Final = 3.0
"""The timeout of a request, in seconds."""

MAX_BYTES: Final = 8 << 20
"""Maximum size of an answer, in bytes."""

MAX_ID: Final = 2**31 - 1
"""The highest schema id: registries number schemas with positive Java integers."""

_CONTENT: Final = "application/vnd.schemaregistry.v1+json"
_AWAY: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_NO_RIGHTS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_ABSENT: Final = range(40400, 40500)
"""Error codes for a subject, version or schema that does not exist; a wrong URL gives other codes."""


class HttpRegistry:
    """The registry at `url`. Raises SettingError if `ca_file` has no certificates."""

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: Callable[[], str] | None = None,
        ca_file: Path | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._username = username
        self._password = password
        self._ca_file = ca_file
        self._pool = self._opened()

    def _opened(self) -> urllib3.PoolManager:
        """Return a pool of connections that trusts the present content of `ca_file`."""
        try:
            is_tls = self.url.startswith("https:")
            context = ssl.create_default_context(cafile=self._ca_file) if is_tls else None
        except OSError as error:
            raise SettingError(f"registry.ca_file {self._ca_file} cannot be used: {error}") from error
        return urllib3.PoolManager(
            num_pools=1, retries=False, timeout=urllib3.Timeout(SECONDS), ssl_context=context
        )

    def _opened_again(self) -> urllib3.PoolManager:
        """Return a new pool, because `ca_file` may have changed. Raises RegistryAway."""
        try:
            return self._opened()
        except SettingError as error:  # perhaps the file is only half written yet
            raise RegistryAway(str(error)) from error

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": f"{_CONTENT}, application/json", "Content-Type": _CONTENT}
        if self._username is not None:
            try:
                password = self._password() if self._password else ""
            except SettingError as error:
                raise RegistryAway(str(error)) from None
            credentials = base64.b64encode(f"{self._username}:{password}".encode())
            headers["Authorization"] = f"Basic {credentials.decode()}"
        return headers

    def answers(self) -> None:
        """Raise RegistryAway or RegistryRefused unless the registry answers."""
        self._asked("GET", "schemas/types", list)

    def by_id(self, schema: int | UUID) -> Schema | None:
        """Return the schema with this id or GUID; None if it does not exist."""
        if isinstance(schema, UUID):
            # Older registries have no GUIDs: their 404 is that of an unknown path.
            return self._asked("GET", f"schemas/guids/{schema}", _schema, any_404=True)
        return self._asked("GET", f"schemas/ids/{schema}", _schema) if 0 < schema <= MAX_ID else None

    def by_version(self, subject: str, version: int | Literal["latest"]) -> Schema | None:
        """Return a version of a subject; None if it does not exist."""
        return self._asked("GET", f"{_subject(subject)}/versions/{version}", _schema)

    def id_of(self, subject: str, schema: Schema) -> int | None:
        """Return the id of `schema`; None if it is not a version of the subject."""
        return self._asked("POST", _subject(subject), _id, _body(schema))

    def compatible(self, subject: str, schema: Schema) -> bool:
        """Return whether `schema` may become the next version of the subject."""
        path = f"compatibility/{_subject(subject)}/versions/latest"
        return self._asked("POST", path, _is_compatible, _body(schema)) is not False

    def register(self, subject: str, schema: Schema) -> int:
        """Register `schema` under the subject, unless it is registered there already; return its id."""
        found = self._asked("POST", f"{_subject(subject)}/versions", _id, _body(schema))
        if found is None:
            raise RegistryRefused(f"the schema registry at {self.url} cannot register {subject}")
        return found

    def _asked(
        self,
        method: str,
        path: str,
        take: Callable[[Any], T],
        body: bytes | None = None,
        *,
        any_404: bool = False,
    ) -> T | None:
        """Return the result of `take` for the registry's answer; None if the registry reports "not found".

        With `any_404`, status 404 means "not found", even without an error code of the interface.
        """
        deadline = time.monotonic() + SECONDS
        try:
            try:
                status, answer = self._exchanged(method, path, body, deadline)
            except ProtocolError:
                # The registry has closed a connection that was kept open.
                status, answer = self._exchanged(method, path, body, deadline)
            except SSLError:
                self._pool = self._opened_again()
                status, answer = self._exchanged(method, path, body, deadline)
        except SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise RegistryRefused(
                    f"the certificate of the schema registry at {self.url} is not trusted ({error}): "
                    "set registry.ca_file to the certificate of its authority"
                ) from error
            raise RegistryAway(self._away(str(error))) from error
        except HTTPError as error:
            raise RegistryAway(self._away(str(error))) from error
        if any_404 and status == HTTPStatus.NOT_FOUND:
            return None
        return self._judged(path, status, answer, take)

    def _exchanged(self, method: str, path: str, body: bytes | None, deadline: float) -> tuple[int, bytes]:
        response = self._pool.request(
            method, f"{self.url}/{path}", body=body, headers=self._headers(), preload_content=False
        )
        parts, size = list[bytes](), 0
        try:
            while part := response.read1(1 << 16):
                parts.append(part)
                size += len(part)
                if time.monotonic() > deadline or size > MAX_BYTES:
                    raise RegistryAway(
                        self._away(f"no complete answer after {SECONDS:g} s or {size:,} bytes")
                    )
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return response.status, b"".join(parts)

    def _judged(self, path: str, status: int, answer: bytes, take: Callable[[Any], T]) -> T | None:
        try:
            document = orjson.loads(answer)
        except orjson.JSONDecodeError:
            document = None
        if status == HTTPStatus.OK:
            with suppress(KeyError, TypeError, ValueError):
                return take(document)
        error = document if isinstance(document, dict) else {}
        if status == HTTPStatus.NOT_FOUND and error.get("error_code") in _ABSENT:
            return None
        text = f"{status} {error.get('message', '')}".strip()
        if status in _AWAY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise RegistryAway(self._away(text))
        if status in _NO_RIGHTS:
            raise RegistryRefused(
                f"the schema registry at {self.url} refuses the credentials ({text}): fix registry.username "
                "and registry.password, or let this user read schemas"
            )
        if status in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
            raise RegistryRefused(f"the schema registry at {self.url} refuses the schema: {text}")
        raise RegistryRefused(
            f"{self.url}/{path} answers {text}. This does not look like a schema registry: fix registry.url "
            "(Apicurio's ends in /apis/ccompat/v7)"
        )

    def _away(self, why: str) -> str:
        return f"the schema registry at {self.url} does not answer: {why}"


def _subject(name: str) -> str:
    return f"subjects/{quote(name, safe='')}"


def _body(schema: Schema) -> bytes:
    # Older registries do not know schema types and treat every schema as Avro.
    kind = {} if schema.kind == "AVRO" else {"schemaType": schema.kind}
    return orjson.dumps({"schema": schema.text, **kind})


def _id(document: Any) -> int:
    return int(document["id"])


def _is_compatible(document: Any) -> bool:
    return bool(document["is_compatible"])


def _schema(document: Any) -> Schema:
    text = document["schema"]
    if not isinstance(text, str):
        raise TypeError("a schema is text")
    references = tuple(
        Reference(one["name"], one["subject"], one["version"]) for one in document.get("references") or ()
    )
    return Schema(text, document.get("schemaType") or "AVRO", references)
