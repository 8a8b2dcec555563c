"""Ports of this machine: finding a free port, and checking whether Kafka answers on a port."""

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
# A separate random source: tests seed the global one and would all get the same ports.
_random = random.SystemRandom()


def free_port() -> int:
    """Return a free port outside the range that the kernel uses for outgoing connections.

    Inside that range, a client that retries to connect to a stopped node could get the node's port as its
    source port, connect to itself, and block the node's restart. The last hundred returned ports stay
    reserved, also for other processes, because their servers may not listen yet. Raises Unavailable.
    """
    for port in _random.sample(range(20_000, 30_000), 100):
        if is_free(port) and _claim(port):
            return port
    raise Unavailable("no free port found between 20000 and 29999 in 100 tries")


def _claim(port: int) -> bool:
    """Reserve a port by binding the same UDP port until this process ends; return whether it was free."""
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
    """Return whether a server can listen on a port, even if old connections on it are still closing."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Return whether a Kafka broker on this port answers, and knows a broker that clients may use."""
    return bool(brokers(port))


def brokers(port: int) -> set[int]:
    """Return the ports of the brokers that the broker on this port knows; none if it does not answer.

    The request is for the metadata of all topics (request 3, version 0). An open port is not enough: before
    its controller has registered it, a broker accepts connections, but is not among the brokers.
    """
    request = struct.pack(">hhih9si", 3, 0, 1, 9, b"nextclick", 0)
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
            return _ports(connection.recv(size, socket.MSG_WAITALL))
    except (OSError, struct.error):
        return set()


def _ports(response: bytes) -> set[int]:
    """Return the ports in a response: its correlation id, then the number of brokers, then each of them."""
    _correlation, count = struct.unpack_from(">ii", response)
    at, found = 8, set()
    for _ in range(count):
        _node, length = struct.unpack_from(">ih", response, at)
        at += 6 + length
        found.add(struct.unpack_from(">i", response, at)[0])
        at += 4
    return found
