from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.kafka.certificates import Authority
from deploy.kafka.ports import free_port
from tests.worker.kafka.peers import peer, server_context
from tests.worker.kafka.token_server import TokenServer, granting
from worker.errors import SettingError
from worker.kafka.oauth import USED_SHARE, ClientCredentials, FixedToken
from worker.kafka.refusals import SENTENCES, Refused


@pytest.fixture
def server() -> Iterator[TokenServer]:
    """An endpoint that grants tokens."""
    with granting() as tokens:
        yield tokens


def refused(tokens: ClientCredentials | FixedToken) -> str:
    """The sentence of a token that is not to be had."""
    with pytest.raises(Refused) as refusal:
        tokens.token()
    return str(refusal.value)


def test_a_client_is_granted_a_token(server: TokenServer) -> None:
    """Name and secret are encoded as RFC 6749 demands; the scope is in the form."""
    tokens = ClientCredentials(server.url, client="a:b", secret=lambda: "hö", scope="kafka")

    assert tokens.token().count(".") == 2
    ((authorization, form),) = server.asked
    assert authorization == f"Basic {base64.b64encode(b'a%3Ab:h%C3%B6').decode()}"
    assert form == {"grant_type": "client_credentials", "scope": "kafka"}


def test_a_token_is_used_again_for_most_of_its_life(server: TokenServer) -> None:
    """Then, or after the broker has refused it, there is a new one, by the secret of then."""
    now, secrets = [0.0], ["first"]
    tokens = ClientCredentials(server.url, client="a", secret=lambda: secrets[0], steady=lambda: now[0])
    tokens.token()
    now[0] = USED_SHARE * server.seconds - 1
    tokens.token()
    assert len(server.asked) == 1

    now[0], secrets[0] = USED_SHARE * server.seconds, "second"
    tokens.token()
    tokens.forget()
    tokens.token()

    assert len(server.asked) == 3
    assert server.asked[-1][0] == f"Basic {base64.b64encode(b'a:second').decode()}"


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (401, b'{"error": "invalid_client"}', "401 invalid_client"),
        (400, b'{"error": "invalid_scope", "error_description": "no"}', "400 invalid_scope: no"),
        (404, b"<html>", "404 Not Found"),
        (200, b'{"token": "x"}', "the answer contains no access_token"),
        (200, b"<html>", "the answer contains no access_token"),
        (200, b'{"access_token": 7}', "the answer contains no access_token"),
    ],
)
def test_an_endpoint_that_grants_nothing_is_named(
    server: TokenServer, status: int, body: bytes, why: str
) -> None:
    """With its reason."""
    server.instead = status, body
    tokens = ClientCredentials(server.url, client="a", secret=lambda: "b")

    assert refused(tokens) == SENTENCES["token not granted"].format(url=server.url, why=why)


def test_an_endpoint_that_is_away_is_named(server: TokenServer) -> None:
    """It fails, or nothing listens."""
    server.instead = 503, b""
    failing = ClientCredentials(server.url, client="a", secret=lambda: "b")
    url = f"http://127.0.0.1:{free_port()}/token"
    absent = ClientCredentials(url, client="a", secret=lambda: "b")

    why = "503 Service Unavailable"
    assert refused(failing) == SENTENCES["token endpoint away"].format(url=server.url, why=why)
    why = "[Errno 111] Connection refused"
    assert refused(absent) == SENTENCES["token endpoint away"].format(url=url, why=why)


def test_a_secret_is_not_sent_where_an_endpoint_points_to() -> None:
    """That may be any host, and without TLS."""
    sent: list[bytes] = []

    def point(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{there}/\r\n\r\n".encode())

    def note(connection: socket.socket) -> None:
        sent.append(connection.recv(65_536))

    with peer(note) as there, peer(point) as port:
        url = f"http://127.0.0.1:{port}/token"
        said = refused(ClientCredentials(url, client="a", secret=lambda: "b"))

    assert said == SENTENCES["token endpoint away"].format(url=url, why="302 Found")
    assert sent == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "SSH-2.0-OpenSSH"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n!\r\n", "IncompleteRead(0 bytes read)"),
        (b"HTTP/1.1 503 Full\r\nTransfer-Encoding: chunked\r\n\r\n!\r\n", "503 Full"),
    ],
)
def test_an_endpoint_without_http_is_away(answer: bytes, why: str) -> None:
    """The errors of Python's client are no failures of the login."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    with peer(serve) as port:
        url = f"http://127.0.0.1:{port}/token"
        said = refused(ClientCredentials(url, client="a", secret=lambda: "b"))

    assert said == SENTENCES["token endpoint away"].format(url=url, why=why)


def test_an_endpoint_is_trusted_by_the_authorities_of_the_brokers(tmp_path: Path) -> None:
    """They are read at every request; one that is not trusted is told from one that is away."""
    authority, ca_file = Authority(), tmp_path / "ca.pem"
    ca_file.write_text(Authority().own.pem)
    with granting(server_context(authority.issue("token"), tmp_path)) as server:
        tokens = ClientCredentials(server.url, client="a", secret=lambda: "b", ca_file=ca_file)
        assert refused(tokens) == SENTENCES["token endpoint not trusted"].format(
            url=server.url, why="unable to get local issuer certificate"
        )
        ca_file.write_text(authority.own.pem)

        assert tokens.token()


def test_a_secret_that_cannot_be_read_is_named(server: TokenServer) -> None:
    """The client's, or the token itself."""

    def gone() -> str:
        raise SettingError("the file is gone")

    expected = SENTENCES["secret unreadable"].format(why="the file is gone")
    assert refused(FixedToken(gone)) == expected
    assert refused(ClientCredentials(server.url, client="a", secret=gone)) == expected


def test_a_token_in_a_file_is_read_at_every_login() -> None:
    """Another program renews it."""
    texts = iter(["first", "second"])
    tokens = FixedToken(lambda: next(texts), {"logicalCluster": "lkc-1"})

    assert [tokens.token(), tokens.token()] == ["first", "second"]
    assert tokens.extensions() == {"logicalCluster": "lkc-1"}
