"""The search for the reason why no connection to the brokers is possible.

kafka-python 3.0.12 only logs why a broker refuses a connection, and reports "Unable to bootstrap". After such
a failure, `refusal` connects once more, with sockets of its own, step by step: name, TCP, TLS, login, one
request. The step that fails is the reason.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from kafka import errors as kafka_errors
from kafka.protocol.metadata import ApiVersionsRequest, MetadataRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from worker.kafka.refusals import Refused
from worker.kafka.sasl import Sasl
from worker.kafka.security import Security

STEP_SECONDS: Final = 5.0
"""The time limit for each step."""

SECONDS: Final = 10.0
"""The time after which no further address is tried."""

_ALERT_SECONDS: Final = 0.5
"""The time that a broker has, after the handshake, to refuse the client certificate."""

_SHORTEST_SECONDS: Final = 0.001
"""The shortest timeout of a socket; 0 would mean that it does not wait at all."""

_ADDRESSES: Final = frozenset({"unknown host", "nothing listens", "unreachable", "silent"})
"""The causes that tell least: an address with another cause came further."""

_UNTRUSTED: Final = (19, 20, 21)
"""OpenSSL's codes for a chain that does not end in a trusted certificate."""

_VERIFICATION: Final[Mapping[int, str]] = {
    9: "certificate not valid yet",
    10: "certificate expired",
    18: "certificate self-signed",
    **dict.fromkeys(_UNTRUSTED, "authority not trusted"),
    62: "wrong host name",
    64: "wrong host name",
}
"""The causes by OpenSSL's codes of a failed verification (X509_V_ERR_...)."""

_ILLEGAL_STATE: Final = kafka_errors.IllegalSaslStateError.errno
_UNSUPPORTED: Final = kafka_errors.UnsupportedSaslMechanismError.errno

_LOGIN_ROUNDS: Final = 10
"""Maximum number of messages of a login. SCRAM has two; a server that asks on and on is left."""


class Broker(NamedTuple):
    """An address to try."""

    host: str
    port: int
    names: str
    """The place that names the address, as text for messages."""
    step_seconds: float

    @property
    def address(self) -> str:
        """The `host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def refusal(
    bootstrap_servers: str, security: Security, *, setting: str, step_seconds: float = STEP_SECONDS
) -> Refused | None:
    """Return the reason why no connection is possible; None if all brokers answer.

    First, the addresses in `bootstrap_servers` are tried; messages refer to them by `setting`. If one of them
    answers, the addresses that it gives for all brokers are tried.
    """
    deadline = time.monotonic() + SECONDS
    reasons = list[Refused]()
    for address in bootstrap_servers.split(","):
        host, _, port = address.rpartition(":")
        broker = Broker(host.strip("[]"), int(port), setting, step_seconds)
        try:
            advertised = _probed(broker, security)
        except Refused as reason:
            reasons.append(reason)
            if time.monotonic() > deadline:
                break
        else:
            return _of_others(broker, advertised, security, deadline)
    return min(reasons, key=lambda reason: reason.cause in _ADDRESSES, default=None)


def _of_others(
    broker: Broker, advertised: set[tuple[str, int]], security: Security, deadline: float
) -> Refused | None:
    """Return the first reason why a broker cannot be reached at the address that `broker` gives for it."""
    names = f"advertised.listeners of the broker, as {broker.address} returns it"
    for host, port in sorted(advertised - {(broker.host, broker.port)}):
        if time.monotonic() > deadline:
            break
        try:
            _probed(broker._replace(host=host, port=port, names=names), security)
        except Refused as reason:
            return reason
    return None


def _probed(broker: Broker, security: Security) -> set[tuple[str, int]]:
    """Connect to a broker; return the addresses of all brokers that it names. Raises Refused."""
    with _connected(broker) as plain, _secured(plain, broker, security) as sock:
        wire = _Wire(sock)
        with _explained(broker, security, wire):
            wire.ask(ApiVersionsRequest(version=0))
            wire.stage = "login"
            if security.sasl:
                _log_in(wire, broker, security, security.sasl)
            wire.stage = "request"
            answer = wire.ask(MetadataRequest(topics=[], version=1))
    return {(one.host, one.port) for one in answer.brokers}


@contextmanager
def _connected(broker: Broker) -> Iterator[socket.socket]:
    try:
        sock = socket.create_connection((broker.host, broker.port), timeout=broker.step_seconds)
    except (socket.gaierror, UnicodeError):
        raise Refused("unknown host", host=broker.host, names=broker.names) from None
    except ConnectionRefusedError:
        raise Refused("nothing listens", address=broker.address, names=broker.names) from None
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise Refused("unreachable", address=broker.address, why=why, names=broker.names) from None
    with sock:
        yield sock


def _secured(plain: socket.socket, broker: Broker, security: Security) -> socket.socket:
    """Return the connection over TLS, or as it is without TLS. Raises Refused."""
    if not security.encrypted:
        return plain
    tls = security.tls
    try:
        sock = tls.wrap_socket(plain, server_hostname=broker.host.rstrip("."))
        _await_alert(sock)
        return sock
    except ssl.SSLCertVerificationError as error:
        raise Refused(
            _VERIFICATION.get(error.verify_code, "certificate not accepted"),
            address=broker.address,
            host=broker.host,
            names=broker.names,
            ca_file=tls.ca_file or "not set: those of the system",
            why=error.verify_message,
        ) from None
    except (OSError, ValueError) as error:
        if not isinstance(error, TimeoutError) and _is_plain(broker):
            instead = security.other(encrypted=False)
            raise Refused(
                "no TLS", address=broker.address, protocol=security.protocol, instead=instead
            ) from None
        raise _tls_failure(error, broker, security) from None


def _await_alert(sock: ssl.SSLSocket) -> None:
    """Wait for a moment for an alert of the broker. Raises OSError.

    With TLS 1.3, a broker checks the client certificate after the client's part of the handshake. If the
    client has sent a request by then, the alert may be lost.
    """
    seconds = sock.gettimeout()
    sock.settimeout(_ALERT_SECONDS)
    try:
        sock.recv(1)
    except TimeoutError:
        pass
    except BaseException:
        sock.close()
        raise
    sock.settimeout(seconds)


def _tls_failure(error: BaseException, broker: Broker, security: Security) -> Refused:
    """Return the reason for a failure of TLS that is not about the broker's certificate."""
    reason = getattr(error, "reason", None) or ""
    # Only the broker sends alerts; the client certificate is the only one that it checks.
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        why = reason.partition("ALERT_")[2].replace("_", " ").lower()
        return _without_certificate(broker, security, why)
    if isinstance(error, TimeoutError):
        return Refused("silent", address=broker.address)
    why = reason.replace("_", " ").lower() or str(error)
    return Refused("TLS fails", address=broker.address, why=why)


def _without_certificate(broker: Broker, security: Security, why: str) -> Refused:
    """Return the reason why a broker ends TLS after it has seen the client certificate, or none."""
    file = security.tls.certificate_file
    if file is None:
        return Refused("client certificate required", address=broker.address)
    return Refused("client certificate refused", address=broker.address, certificate_file=file, why=why)


def _is_plain(broker: Broker) -> bool:
    """Return whether a broker answers without TLS."""
    try:
        with _connected(broker) as sock:
            _Wire(sock).ask(ApiVersionsRequest(version=0))
    except (OSError, Refused, kafka_errors.KafkaError):
        return False
    return True


def _has_tls(broker: Broker) -> bool:
    """Return whether a broker answers a TLS greeting, with whatever certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with _connected(broker) as sock, context.wrap_socket(sock):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (OSError, Refused):
        return False


class _Wire:
    """Requests and answers over a socket, one at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._seconds = sock.gettimeout() or STEP_SECONDS
        self._protocol = KafkaProtocol(client_id="nextclick-probe")
        self.stage = "greeting"

    def ask(self, request: Any) -> Any:
        """Return the answer to a request. Raises OSError, or EOFError if the broker closes the connection."""
        self._protocol.send_request(request)
        self._sock.sendall(self._protocol.send_bytes())
        deadline = time.monotonic() + self._seconds
        while True:
            # A peer that sends a byte now and then must not hold up the caller for ever.
            self._sock.settimeout(max(_SHORTEST_SECONDS, deadline - time.monotonic()))
            data = self._sock.recv(1 << 16)
            if not data:
                raise EOFError
            for _, answer in self._protocol.receive_bytes(data):
                return answer
            if time.monotonic() > deadline:
                raise TimeoutError


@contextmanager
def _explained(broker: Broker, security: Security, wire: _Wire) -> Iterator[None]:
    """Translate the failure of a request inside the context to Refused."""
    try:
        yield
    except TimeoutError:
        raise Refused("silent", address=broker.address) from None
    except kafka_errors.KafkaError:
        raise _unlike_a_broker(broker, security, wire.stage) from None
    except (OSError, EOFError) as error:
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            raise _tls_failure(error, broker, security) from None
        if wire.stage == "greeting" and security.encrypted:
            raise _without_certificate(broker, security, "it closes the connection") from None
        raise _unlike_a_broker(broker, security, wire.stage) from None


def _unlike_a_broker(broker: Broker, security: Security, stage: str) -> Refused:
    """Return the reason why a connection is closed, or brings bytes that are no answer."""
    chosen = {"address": broker.address, "protocol": security.protocol}
    if stage == "greeting" and not security.encrypted and _has_tls(broker):
        return Refused("TLS required", instead=security.other(encrypted=True), **chosen)
    if stage == "request" and not security.sasl:
        return Refused("SASL required", instead=security.other(login=True), **chosen)
    return Refused("no broker", address=broker.address)


def _log_in(wire: _Wire, broker: Broker, security: Security, sasl: Sasl) -> None:
    """Log in with SASL. Raises Refused."""
    shaken = wire.ask(SaslHandshakeRequest(mechanism=sasl.mechanism, version=1))
    if shaken.error_code == _ILLEGAL_STATE:
        instead = security.other(login=False)
        raise Refused("no SASL", address=broker.address, protocol=security.protocol, instead=instead)
    if shaken.error_code == _UNSUPPORTED:
        raise Refused(
            "mechanism refused",
            address=broker.address,
            mechanism=sasl.mechanism,
            supported=", ".join(sorted(shaken.mechanisms)),
        )
    client = sasl.client(broker.host, security.protocol)
    for _ in range(_LOGIN_ROUNDS):
        if client.is_done():
            return
        try:
            token = client.auth_bytes()
        except Refused:
            raise
        except Exception as error:
            raise sasl.without_credentials(error) from error
        answer = wire.ask(SaslAuthenticateRequest(token, version=0))
        if answer.error_code:
            raise sasl.refused(broker.address, answer.error_message or "no reason given")
        try:
            client.receive(answer.auth_bytes)
        except Exception as error:
            raise sasl.refused(broker.address, str(error)) from error
