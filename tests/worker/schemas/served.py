"""The registry in memory behind HTTP, by Confluent's interface; a test may take over any answer."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote
from uuid import UUID

import orjson

from worker.errors import RegistryRefused
from worker.schemas.interface import Reference, Schema
from worker.schemas.memory import MemoryRegistry

Answer = tuple[int, bytes]


class Served:
    """A server: its URL, the requests that came, and the registry that answers them."""

    def __init__(self, registry: MemoryRegistry) -> None:
        self.registry = registry
        self.url = ""
        self.asked: list[tuple[str, str]] = []
        """Path and `Authorization` of each request."""
        self.instead: Callable[[], Answer] | None = None
        """Answers in place of the registry."""

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """What the interface says to a request."""
        if self.instead is not None:
            return self.instead()
        for pattern, action in _ROUTES:
            if found := re.fullmatch(pattern, f"{method} {path}"):
                return action(self.registry, *map(unquote, found.groups()), body)
        return 404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}'


def _json(document: Any) -> Answer:
    return 200, orjson.dumps(document)


def _absent(code: int) -> Answer:
    return 404, orjson.dumps({"error_code": code, "message": "not found"})


def _document(registry: MemoryRegistry, schema: Schema) -> dict[str, Any]:
    number = registry.schemas.index(schema) + 1
    references = [one._asdict() for one in schema.references]
    kind = {} if schema.kind == "AVRO" else {"schemaType": schema.kind}
    document = {"schema": schema.text, "references": references, "id": number, **kind}
    return document | {"guid": str(registry.guid(number))}


def _sent(body: bytes) -> Schema:
    document = orjson.loads(body)
    references = tuple(Reference(**one) for one in document.get("references") or ())
    return Schema(document["schema"], document.get("schemaType", "AVRO"), references)


def _by_id(registry: MemoryRegistry, text: str, _: bytes) -> Answer:
    found = registry.by_id(int(text) if text.isdigit() else UUID(text))
    return _absent(40403) if found is None else _json(_document(registry, found))


def _by_version(registry: MemoryRegistry, subject: str, text: str, _: bytes) -> Answer:
    found = registry.by_version(subject, "latest" if text == "latest" else int(text))
    return _absent(40402) if found is None else _json(_document(registry, found))


def _id_of(registry: MemoryRegistry, subject: str, body: bytes) -> Answer:
    schema = _sent(body)
    found = registry.id_of(subject, schema)
    return _absent(40403) if found is None else _json(_document(registry, schema))


def _register(registry: MemoryRegistry, subject: str, body: bytes) -> Answer:
    schema = _sent(body)
    try:
        registry.register(subject, schema)
    except RegistryRefused as error:
        return 409, orjson.dumps({"error_code": 409, "message": str(error)})
    return _json(_document(registry, schema))


def _compatible(registry: MemoryRegistry, subject: str, body: bytes) -> Answer:
    return _json({"is_compatible": registry.compatible(subject, _sent(body))})


def _types(registry: MemoryRegistry, _: bytes) -> Answer:
    return _json(["AVRO", "JSON", "PROTOBUF"])


_ROUTES: list[tuple[str, Callable[..., Answer]]] = [
    (r"GET /schemas/types", _types),
    (r"GET /schemas/(?:ids|guids)/([^/?]+)(?:\?.*)?", _by_id),
    (r"GET /subjects/([^/]+)/versions/([^/]+)", _by_version),
    (r"POST /subjects/([^/?]+)(?:\?.*)?", _id_of),
    (r"POST /subjects/([^/]+)/versions(?:\?.*)?", _register),
    (r"POST /compatibility/subjects/([^/]+)/versions/latest", _compatible),
]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: ClassVar[Served]

    def do_GET(self) -> None:  # the name that the library calls
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.served.asked.append((self.path, self.headers.get("Authorization", "")))
        status, answer = self.served.answer(method, self.path, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: pytest shows what a test prints."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that closes its connection is part of a test."""


@contextmanager
def serving(registry: MemoryRegistry | None = None) -> Iterator[Served]:
    """Serve a registry as long as the context is open."""
    served = Served(registry or MemoryRegistry())
    handler = type("Handler", (_Handler,), {"served": served})
    with _Server(("127.0.0.1", 0), handler) as server:
        served.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
