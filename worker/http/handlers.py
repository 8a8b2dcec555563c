"""The answers of the HTTP servers: metrics, liveness, readiness, users' states; and shared handlers."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from typing import Any, Final

import orjson
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from tornado.web import HTTPError, RequestHandler

from worker.errors import SettingError
from worker.http.passing import PASSED
from worker.http.questions import AboutUser, Answer, Question, Questions
from worker.http.readiness import LIVE_WITHIN_SECONDS, Readiness
from worker.http.requests import LIVE, METRICS, OTHER, READY, USERS

log = structlog.get_logger("worker")

SAME_TEXT_SECONDS: Final = 0.25
"""Scrapes within this time share a response, because a response costs about as much as 50 clicks."""

RETRY_SECONDS: Final = "1"
"""The header Retry-After of a response that another attempt may improve."""

PLAIN: Final = "text/plain"
OPENMETRICS: Final = "application/openmetrics-text"
_VERSIONS: Final = {PLAIN: "0.0.4", OPENMETRICS: "1.0.0"}


class Access:
    """Access control by token, for questions about users."""

    def __init__(self, token: Callable[[], str] | None, *, host: str) -> None:
        self._token = token
        self.open = token is None and _is_loopback(host)
        """Whether nobody needs a token."""

    def refusal(self, header: str) -> tuple[int, str] | None:
        """Return status and reason if a request with this Authorization header is refused, else None."""
        if self.open:
            return None
        if self._token is None:
            return 403, "http.host is not a loopback address; set http.token, and send it as a bearer token"
        try:
            expected = self._token()
        except SettingError:
            return 503, "the file http.token_file cannot be read"
        scheme, _, token = header.partition(" ")
        # Tornado decodes the bytes of a header as Latin-1.
        sent = token.encode("latin-1", "replace")
        if scheme.lower() == "bearer" and hmac.compare_digest(sent, expected.encode()):
            return None
        return 401, "send http.token in the header `Authorization: Bearer ...`"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class MetricsText:
    """The response of a scrape, in either format; it is made once for simultaneous scrapes."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._clock = clock
        self._made: dict[str, tuple[float, str, bytes]] = {}

    def text(self, accept: str) -> tuple[str, bytes]:
        """Return the content type that suits the Accept header, and the response."""
        # Only the name counts: a version that the client chose would be a response of its own.
        name = OPENMETRICS if OPENMETRICS in accept else PLAIN
        at, kind, text = self._made.get(name, (0.0, "", b""))
        if not text or self._clock() >= at + SAME_TEXT_SECONDS:
            encode, kind = choose_encoder(f"{name}; version={_VERSIONS[name]}")
            text = encode(self._registry)
            self._made[name] = self._clock(), kind, text
        return kind, text


class Handler(RequestHandler):
    """Answers GET and HEAD; any other method gets 405, any other path 404."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    label = OTHER
    """The path as a label of metrics."""

    keeps_connection = False
    """Whether the connection may have another request."""

    def prepare(self) -> None:
        """End the connection with this request, unless the handler keeps it."""
        if not self.keeps_connection:
            # There is no public way: Tornado has one setting for the whole server.
            self.request.connection._disconnect_on_finish = True  # type: ignore[union-attr]  # noqa: SLF001

    async def get(self, *arguments: str) -> None:
        """Answer 404 with a list of the existing paths."""
        *others, last = self.application.settings["paths"]
        self.say(404, f"not found; the paths are {', '.join(others)} and {last}")

    async def head(self, *arguments: str) -> None:
        """Answer like GET; the server omits the body."""
        await self.get(*arguments)

    def compute_etag(self) -> None:
        """Omit the ETag: responses are never cached."""

    def say(self, status: int, text: str) -> None:
        """Answer with a line of text."""
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{text}\n")

    def log_exception(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Log a failure of the worker, but not a bad request."""
        if not isinstance(error, HTTPError):
            log.error("a request failed", path=self.label, error=repr(error))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an error as plain text instead of HTML."""
        self.say(status_code, self._reason)


class MetricsHandler(Handler):
    """The handler of /metrics."""

    label = METRICS

    def initialize(self, metrics: MetricsText) -> None:
        """Set the text to answer with."""
        self._metrics = metrics

    async def get(self, *arguments: str) -> None:
        """Answer with the metrics, in the format that the client asks for."""
        kind, text = self._metrics.text(self.request.headers.get("Accept", ""))
        self.set_header("Content-Type", kind)
        self.finish(text)


class LiveHandler(Handler):
    """The handler of /livez."""

    label = LIVE

    def initialize(self, silent: Callable[[], float]) -> None:
        """Set the function that returns the seconds since the last round."""
        self._silent = silent

    async def get(self, *arguments: str) -> None:
        """Answer 200, or 503 if the last round was long ago."""
        silent = self._silent()
        if silent > LIVE_WITHIN_SECONDS:
            self.say(503, f"the loop has completed no round for {silent:.0f} s")
        else:
            self.say(200, "live")


class ReadyHandler(Handler):
    """The handler of /readyz."""

    label = READY

    def initialize(self, readiness: Readiness) -> None:
        """Set the readiness to report."""
        self._readiness = readiness

    async def get(self, *arguments: str) -> None:
        """Answer 200, or 503 with the reason."""
        reason, readiness = self._readiness.reason, self._readiness
        text = reason or "; ".join(filter(None, ["ready", readiness.remark, *readiness.remarks.values()]))
        if self._readiness.notice and "verbose" in self.request.query:
            text += f"\n{self._readiness.notice}"
        self.say(503 if reason else 200, text)


class GuardedHandler(Handler):
    """Answers questions in JSON, to those who have access. Its connection stays open for more requests."""

    keeps_connection = True

    def initialize(self, readiness: Readiness, questions: Questions, access: Access) -> None:
        """Set the mailbox for questions, and the access control."""
        self.readiness = readiness
        self.questions = questions
        self.access = access

    async def get(self, *arguments: str) -> None:
        """Answer a question, or refuse to."""
        refusal = self.access.refusal(self.request.headers.get("Authorization", ""))
        status, document = (
            await self.answer(*arguments) if refusal is None else (refusal[0], {"error": refusal[1]})
        )
        self.say_json(status, document)

    async def answer(self, *arguments: str) -> Answer:
        """Return the answer to an allowed request."""
        raise NotImplementedError

    async def ask(self, question: Question) -> Answer:
        """Return the loop's answer, or the reason why there is none in time."""
        try:
            return await self.questions.ask(question, passed=PASSED in self.request.headers)
        except TimeoutError:
            return 503, {"error": f"no answer in time: {self.readiness.reason or 'the loop is busy'}"}

    def say_json(self, status: int, document: dict[str, Any]) -> None:
        """Answer with a JSON object."""
        self.set_status(status)
        if status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if status == 503:
            self.set_header("Retry-After", RETRY_SECONDS)
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))


class UserHandler(GuardedHandler):
    """The handler of /v1/users."""

    label = USERS

    async def answer(self, *arguments: str) -> Answer:
        """Answer with the state of a user, or with the reason why there is none."""
        return await self.ask(AboutUser(arguments[0]))
