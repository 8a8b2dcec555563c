"""Ports of this machine: a free one to listen on, and whether a Kafka answers on one."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections import deque

from deploy.java import Unavailable

HOST = "127.0.0.1"
_CLAIMS = 100
_claims: deque[int] = deque()
# A random source of its own: tests seed the common one, and would all be given the same ports.
_random = random.SystemRandom()


def free_port() -> int:
    """Return a port nobody listens on, outside the range that the kernel gives to outgoing connections.

    Inside it, a client that keeps trying to reach a stopped node could be given that very port as its own: it
    would connect to itself, and the node could not come back. A port is not given again, to this process or
    another, before a hundred others: its owner may not listen yet. Raises Unavailable.
    """
    for port in _random.sample(range(20_000, 30_000), 100):
        if is_free(port) and _claim(port):
            return port
    raise Unavailable("no free port found between 20000 and 29999 in 100 tries")


def _claim(port: int) -> bool:
    """Claim a port by its UDP twin, which the kernel frees when we end; return whether it was free."""
    claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        claim.bind((HOST, port))
    except OSError:
        claim.close()
        return False
    _claims.append(claim.detach())
    if len(_claims) > _CLAIMS:
        os.close(_claims.popleft())
    return True


def is_free(port: int) -> bool:
    """Return whether a server could listen there. Fading connections of an earlier one do not matter."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Return whether a Kafka on this port counts itself as a live broker.

    Asks for the metadata of all topics (request 3, version 0). An open port is not enough: a broker accepts
    connections before its controller has let it in, and then lists no broker at all.
    """
    request = struct.pack(">hhih9si", 3, 0, 1, 9, b"nextclick", 0)
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            size, _correlation, brokers = struct.unpack(">iii", connection.recv(12, socket.MSG_WAITALL))
    except (OSError, struct.error):
        return False
    return bool(size > 8 and brokers > 0)
