from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import CertificateBuilder

from deploy.kafka.certificates import ONE_DAY_AGO, Authority, Certificate, self_signed
from deploy.kafka.ports import free_port
from tests.worker.kafka.peers import advertising, greet, over_tls, peer, server_context
from worker.kafka import probe
from worker.kafka.refusals import SENTENCES, Refused
from worker.kafka.security import Security
from worker.kafka.tls import Tls

SETTING: Final = "kafka.bootstrap_servers"


def refusal(port: int, security: Security | None = None, *, host: str = "127.0.0.1") -> Refused | None:
    """The reason why there is no connection to a port of this machine."""
    return probe.refusal(f"{host}:{port}", security or Security(), setting=SETTING)


def sentence(cause: str, port: int, **facts: object) -> str:
    """What is printed for a cause."""
    return SENTENCES[cause].format(address=f"127.0.0.1:{port}", host="127.0.0.1", names=SETTING, **facts)


def test_a_host_without_an_address_is_named() -> None:
    """The name, and where it is from."""
    found = refusal(9092, host="nowhere.invalid")

    assert str(found) == SENTENCES["unknown host"].format(host="nowhere.invalid", names=SETTING)


def test_a_port_that_nothing_listens_at_is_named() -> None:
    """With the setting that names it."""
    port = free_port()

    assert str(refusal(port)) == sentence("nothing listens", port)


def test_a_network_without_a_way_is_named() -> None:
    """No connection goes to an address of broadcasts."""
    found = probe.refusal("255.255.255.255:9092", Security(), setting=SETTING, step_seconds=0.2)

    assert found is not None
    assert found.cause == "unreachable"
    assert str(found).startswith("255.255.255.255:9092 cannot be reached (")


def test_a_broker_that_says_nothing_is_not_waited_for_long() -> None:
    """A frozen broker: the kernel accepts for it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        plain, tls = (
            probe.refusal(f"127.0.0.1:{port}", security, setting=SETTING, step_seconds=0.2)
            for security in (Security(), Security("SSL"))
        )

    assert str(plain) == str(tls) == sentence("silent", port)


def test_a_peer_that_sends_a_byte_now_and_then_is_not_waited_for_long() -> None:
    """The limit is that of the whole answer: the loop of the worker waits for it."""
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.recv(4_096)
        connection.sendall(b"\x00\x00\x01\x00")
        while not over.wait(0.05):
            connection.sendall(b"x")

    def patience() -> None:
        over.wait(probe.SECONDS)
        over.set()

    with peer(drip) as port:
        thread = threading.Thread(target=patience)
        thread.start()
        found = probe.refusal(f"127.0.0.1:{port}", Security(), setting=SETTING, step_seconds=0.2)
        assert not over.is_set()
        over.set()
        thread.join()

    assert str(found) == sentence("silent", port)


def test_a_port_that_closes_every_connection_is_no_broker() -> None:
    """It has neither a greeting nor TLS."""
    with peer(lambda connection: connection.close()) as port:
        found = refusal(port)

    assert str(found) == sentence("no broker", port)


def test_tls_at_a_broker_without_it_is_named() -> None:
    """Both ways out are: another protocol, another port."""

    def serve(connection: socket.socket) -> None:
        if connection.recv(1, socket.MSG_PEEK) == b"\x00":
            greet(connection)

    with peer(serve) as port:
        found = refusal(port, Security("SSL"))

    assert str(found) == sentence("no TLS", port, protocol="SSL", instead="PLAINTEXT")


def test_the_address_that_came_furthest_is_named() -> None:
    """That one of several does not listen matters less than what another one says."""
    with peer(lambda connection: connection.close()) as port:
        found = probe.refusal(f"127.0.0.1:{free_port()},127.0.0.1:{port}", Security(), setting=SETTING)

    assert str(found) == sentence("no broker", port)


def test_an_address_that_a_broker_gives_is_tried_too() -> None:
    """Clients connect to that one: `bootstrap_servers` is right, `advertised.listeners` is not."""
    with peer(advertising("inside.invalid", 9092)) as port:
        found = refusal(port)

    names = f"advertised.listeners of the broker, as 127.0.0.1:{port} returns it"
    assert str(found) == SENTENCES["unknown host"].format(host="inside.invalid", names=names)


def test_a_broker_that_gives_the_address_it_has_is_not_tried_twice() -> None:
    """There is no reason then."""
    port = free_port()
    with peer(advertising("127.0.0.1", port), port=port):
        found = refusal(port)

    assert found is None


class Side(NamedTuple):
    """A server with TLS, and what its clients trust."""

    port: int
    ca_file: Path


@pytest.fixture
def life() -> Iterator[ExitStack]:
    """Ends the servers of a test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def served(life: ExitStack, tmp_path: Path) -> Callable[..., Side]:
    """Starts a server with a certificate: `served(certificate, trusted)`."""

    def start(certificate: Certificate, trusted: Certificate, *, clients: bool = False) -> Side:
        ca_file = tmp_path / "ca.pem"
        ca_file.write_text(trusted.pem)
        context = server_context(certificate, tmp_path / "server", clients=ca_file if clients else None)
        return Side(life.enter_context(peer(over_tls(context))), ca_file)

    return start


def tls_refusal(side: Side, **more: Path) -> Refused | None:
    """The reason why there is no connection with TLS."""
    return refusal(side.port, Security("SSL", Tls(ca_file=side.ca_file, **more)))  # type: ignore[arg-type]


def not_valid_yet(authority: Authority) -> Certificate:
    """A certificate that begins tomorrow."""
    issued, tomorrow = authority.issue("broker"), datetime.now(UTC) + timedelta(days=1)
    signed = issued.signed
    builder = CertificateBuilder(
        signed.issuer, signed.subject, signed.public_key(), signed.serial_number, tomorrow,
        tomorrow + timedelta(days=1), list(signed.extensions),
    )  # fmt: skip
    return Certificate("broker", builder.sign(authority.own.private_key, hashes.SHA256()), issued.private_key)


@pytest.mark.parametrize(
    ("cause", "issue"),
    [
        ("certificate expired", lambda authority: authority.issue("broker", ends=ONE_DAY_AGO)),
        ("certificate not valid yet", not_valid_yet),
        ("certificate self-signed", lambda _: self_signed("broker")),
        ("authority not trusted", lambda _: Authority().issue("broker")),
        ("wrong host name", lambda authority: authority.issue("broker", hosts=["elsewhere.example"])),
    ],
)
def test_what_is_wrong_with_a_brokers_certificate_is_named(
    cause: str, issue: Callable[[Authority], Certificate], served: Callable[..., Side]
) -> None:
    """As OpenSSL finds it, in words with a remedy."""
    authority = Authority()
    side = served(issue(authority), authority.own)

    assert str(tls_refusal(side)) == sentence(cause, side.port, ca_file=side.ca_file)


def test_another_fault_of_a_brokers_certificate_has_openssls_words(served: Callable[..., Side]) -> None:
    """Here: signed by one who may not sign."""
    no_authority = Authority().issue("broker")
    side = served(Authority(no_authority).issue("broker"), no_authority)

    found = tls_refusal(side)

    assert str(found) == sentence(
        "certificate not accepted", side.port, why="unable to get issuer certificate"
    )


def test_a_name_that_does_not_match_may_be_let_through(served: Callable[..., Side]) -> None:
    """If the setting says so; what comes after TLS is then the reason."""
    authority = Authority()
    side = served(authority.issue("broker", hosts=["elsewhere.example"]), authority.own)
    security = Security("SSL", Tls(ca_file=side.ca_file, check_hostname=False))

    found = probe.refusal(f"127.0.0.1:{side.port}", security, setting=SETTING, step_seconds=0.5)

    assert str(found) == sentence("silent", side.port)


def test_a_client_without_tls_learns_that_the_broker_requires_it(served: Callable[..., Side]) -> None:
    """Whatever the certificate."""
    side = served(self_signed("broker"), self_signed("broker"))

    assert str(refusal(side.port)) == sentence("TLS required", side.port, protocol="PLAINTEXT", instead="SSL")


def test_a_broker_that_requires_a_client_certificate_is_named(served: Callable[..., Side]) -> None:
    """It says so after the handshake."""
    authority = Authority()
    side = served(authority.issue("broker"), authority.own, clients=True)

    assert str(tls_refusal(side)) == sentence("client certificate required", side.port)


@pytest.mark.parametrize(
    ("issue", "why"),
    [
        (lambda _: Authority().issue("client"), "unknown ca"),
        (lambda authority: authority.issue("client", ends=ONE_DAY_AGO), "certificate expired"),
    ],
)
def test_a_client_certificate_that_is_refused_is_named(
    issue: Callable[[Authority], Certificate], why: str, served: Callable[..., Side], tmp_path: Path
) -> None:
    """With the broker's reason."""
    authority = Authority()
    side = served(authority.issue("broker"), authority.own, clients=True)
    files = issue(authority).write(tmp_path / "client")

    found = tls_refusal(side, certificate_file=files.certificate, key_file=files.key)

    assert str(found) == sentence(
        "client certificate refused", side.port, certificate_file=files.certificate, why=why
    )


def test_a_broker_without_a_common_cipher_is_named(life: ExitStack, tmp_path: Path) -> None:
    """With OpenSSL's reason."""
    authority = Authority()
    context = server_context(authority.issue("broker"), tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("PSK")
    port = life.enter_context(peer(over_tls(context)))

    found = refusal(port, Security("SSL", Tls(check_hostname=False)))

    assert str(found) == sentence("TLS fails", port, why="sslv3 alert handshake failure")
