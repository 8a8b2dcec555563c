"""An endpoint that grants tokens to clients (OAuth client credentials), on loopback."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl


class TokenServer:
    """What it grants, and what it was asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, dict[str, str]]] = []
        """`Authorization` and form of each request."""
        self.instead: tuple[int, bytes] | None = None
        """An answer in place of a token."""
        self.seconds = 300
        """The lifetime of the tokens."""

    def answer(self, authorization: str, form: dict[str, str]) -> tuple[int, bytes]:
        """Return status and body of the answer to a request."""
        self.asked.append((authorization, form))
        if self.instead is not None:
            return self.instead
        client = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")[0]
        token = unsecured(client, self.seconds)
        return 200, json.dumps({"access_token": token, "expires_in": self.seconds}).encode()


def unsecured(client: str, seconds: float) -> str:
    """Return a token without a signature, as Kafka's own handler for experiments takes it."""
    now = time.time()
    claims = {"sub": client, "iat": now, "exp": now + seconds}
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def _part(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


@contextmanager
def granting(tls: ssl.SSLContext | None = None) -> Iterator[TokenServer]:
    """Grant tokens while the context is open, over HTTPS if there is a server's side of TLS."""
    tokens = TokenServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, answer = tokens.answer(self.headers.get("Authorization", ""), dict(parse_qsl(body)))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        tokens.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/token"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield tokens
        finally:
            server.shutdown()
            thread.join()
