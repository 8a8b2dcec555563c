"""Peers on loopback that are no whole Kafka broker, for failures before anything else."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.kafka.certificates import Certificate

SECONDS = 20.0


@contextmanager
def peer(serve: Callable[[socket.socket], None], *, port: int = 0) -> Iterator[int]:
    """Serve each connection to a port of loopback, by default any free one; yield the port."""
    with socket.create_server(("127.0.0.1", port)) as server:

        def run() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connection.settimeout(SECONDS)
                    with connection, suppress(OSError):
                        serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def greet(connection: socket.socket) -> None:
    """Answer a request for the versions of the interface, as a broker without TLS does."""
    request = connection.recv(4_096)
    if request[4:6] == b"\x00\x12":
        connection.sendall(struct.pack(">i4shi", 10, request[8:12], 0, 0))
        connection.recv(4_096)


def advertising(host: str, port: int) -> Callable[[socket.socket], None]:
    """Return a server of one connection: a broker that gives this address for itself."""
    name = host.encode()
    broker = struct.pack(f">iih{len(name)}sih", 1, 1, len(name), name, port, -1)

    def serve(connection: socket.socket) -> None:
        while request := connection.recv(4_096):
            is_greeting = request[4:6] == b"\x00\x12"
            body = struct.pack(">hi", 0, 0) if is_greeting else broker + struct.pack(">ii", 1, 0)
            connection.sendall(struct.pack(">i4s", 4 + len(body), request[8:12]) + body)

    return serve


def over_tls(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    """Return a server of one connection: it reads what comes over TLS, and says nothing."""

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            while secured.recv(4_096):
                pass

    return serve


def server_context(certificate: Certificate, folder: Path, *, clients: Path | None = None) -> ssl.SSLContext:
    """Return the server's side of TLS; `clients` is the authority of their certificates."""
    files = certificate.write(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context
