"""What comes over HTTP and is no answer: waiting helps, or a person must."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

import pytest

from deploy.kafka.certificates import Authority
from tests.worker.schemas.served import Answer, Served, serving
from worker.errors import RegistryAway, RegistryRefused, SettingError
from worker.schemas import client
from worker.schemas.client import HttpRegistry
from worker.schemas.interface import Reference, Schema
from worker.settings.secrets import Secret


@pytest.fixture
def served() -> Iterator[Served]:
    """A registry in memory behind HTTP."""
    with serving() as one:
        yield one


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_waiting_helps(served: Served, status: int) -> None:
    """The registry, or what stands before it, is overloaded or restarts."""
    served.instead = lambda: (status, b"<html>busy</html>")

    with pytest.raises(RegistryAway, match=rf"at {served.url} does not answer: {status}"):
        HttpRegistry(served.url).by_id(7)


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_are_refused_need_a_person(served: Served, status: int) -> None:
    """The sentence names the two settings."""
    served.instead = lambda: (status, b'{"error_code": 401, "message": "Unauthorized"}')

    with pytest.raises(RegistryRefused, match=r"fix registry\.username and registry\.password"):
        HttpRegistry(served.url).by_id(7)


@pytest.mark.parametrize(
    "answer",
    [
        (404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}'),
        (404, b"<html>no such page</html>"),
        (200, b"<html>welcome</html>"),
        (200, b"[]"),
        (200, b'{"schema": 7}'),
        (302, b""),
        (400, b"{}"),
    ],
)
def test_a_wrong_address_is_no_unknown_schema(served: Served, answer: Answer) -> None:
    """Every click would go to the dead letters."""
    served.instead = lambda: answer

    with pytest.raises(RegistryRefused, match=r"/schemas/ids/7 answers .*: fix registry.url"):
        HttpRegistry(served.url).by_id(7)


@pytest.mark.parametrize(
    "answer", [b'{"error_code": 404, "message": "HTTP 404 Not Found"}', b"<html>?</html>"]
)
def test_a_registry_without_guids_has_no_such_schema(served: Served, answer: bytes) -> None:
    """Older ones lack the endpoint: one record with a GUID in its header must not stop the worker."""
    served.instead = lambda: (404, answer)

    assert HttpRegistry(served.url).by_id(UUID(int=7)) is None


def test_nobody_there_is_away() -> None:
    """A refused connection, at once."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(RegistryAway, match="does not answer"):
            HttpRegistry(f"http://127.0.0.1:{nobody.getsockname()[1]}").answers()


@contextmanager
def running(action: Callable[[], None]) -> Iterator[None]:
    """Run something in a thread as long as the context is open."""
    thread = threading.Thread(target=action)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("drips", [False, True])
def test_silence_is_away_in_time(monkeypatch: pytest.MonkeyPatch, drips: bool) -> None:
    """Also where bytes come, one now and then: the loop must go round."""
    monkeypatch.setattr(client, "SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        registry = HttpRegistry(f"http://127.0.0.1:{server.getsockname()[1]}")

        over = threading.Event()

        def answer() -> None:
            with server.accept()[0] as connection, suppress(OSError):
                connection.recv(1_000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                for _ in range(200):
                    connection.sendall(b" " if drips else b"")
                    if over.wait(0.05):
                        break

        with running(answer):
            began = time.monotonic()
            with pytest.raises(RegistryAway):
                registry.by_id(7)
            took = time.monotonic() - began
            over.set()

        assert took < 5


def test_an_endless_answer_is_not_read(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's schema is that long."""
    monkeypatch.setattr(client, "MAX_BYTES", 1 << 20)
    served.instead = lambda: (200, bytes(3 << 20))

    with pytest.raises(RegistryAway, match="no complete answer after"):
        HttpRegistry(served.url).by_id(7)


def test_a_connection_that_was_closed_meanwhile_is_opened_again(served: Served) -> None:
    """A registry that was restarted between two questions was never away."""
    registry = HttpRegistry(served.url)
    registry.answers()
    pool = registry._pool.connection_from_url(served.url)
    connection = pool._get_conn()
    connection.sock.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]  # urllib3 hides it
    pool._put_conn(connection)

    registry.answers()


def test_the_credentials_are_sent(served: Served) -> None:
    """By basic authentication, also with letters that are not ASCII."""
    HttpRegistry(served.url + "/", username="ada", password=lambda: "höhö").answers()

    path, sent = served.asked[0]
    assert path == "/schemas/types"
    assert base64.b64decode(sent.removeprefix("Basic ")).decode() == "ada:höhö"


def test_a_password_in_a_file_is_read_at_every_request(served: Served, tmp_path: Path) -> None:
    """Without the file, the registry is asked again later."""
    file = tmp_path / "password"
    file.write_text("first")
    registry = HttpRegistry(
        served.url, username="ada", password=Secret(file=file, key="registry.password_file").read
    )
    registry.answers()
    file.write_text("second")
    registry.answers()
    file.unlink()

    with pytest.raises(RegistryAway, match=r"registry\.password_file is .*, which cannot be read"):
        registry.answers()
    assert [base64.b64decode(sent.removeprefix("Basic ")) for _, sent in served.asked] == [
        b"ada:first",
        b"ada:second",
    ]


def test_authorities_in_a_file_are_read_again(tmp_path: Path) -> None:
    """When the certificate of the registry is not trusted any more."""
    authority, ca_file = Authority(), tmp_path / "ca.pem"
    ca_file.write_text(Authority().own.pem)
    files = authority.issue("registry").write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(5):  # four times without trust
                with suppress(OSError):
                    connection, _ = server.accept()
                    with context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(4_096)
                        secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")

        thread = threading.Thread(target=answer)
        thread.start()
        registry = HttpRegistry(f"https://127.0.0.1:{server.getsockname()[1]}", ca_file=ca_file)
        with pytest.raises(RegistryRefused, match=r"registry\.ca_file"):
            registry.answers()
        ca_file.write_text("")  # the program that replaces it has only begun
        with pytest.raises(RegistryAway, match=r"registry\.ca_file .*ca\.pem cannot be used"):
            registry.answers()
        ca_file.write_text(authority.own.pem)

        registry.answers()
        thread.join()


def test_references_come_along(served: Served) -> None:
    """Name, subject and version."""
    schema = Schema('"Inner"', "AVRO", (Reference("Inner", "inner-value", 3),))
    number = served.registry.register("outer", schema)

    assert HttpRegistry(served.url).by_id(number) == schema


def test_authorities_that_are_none_are_a_wrong_setting(tmp_path: Path) -> None:
    """The file is read at the start."""
    empty = tmp_path / "ca.pem"
    empty.write_text("")

    with pytest.raises(SettingError, match=r"registry.ca_file .*ca.pem cannot be used"):
        HttpRegistry("https://localhost:1", ca_file=empty)
