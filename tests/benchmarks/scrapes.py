"""Pressure on a worker's HTTP port: `python -m tests.benchmarks.scrapes PORT`.

It holds 100 connections that never finish a request, and scrapes 200 times at once, each second, in a process
of its own. It ends when its standard input does, and prints how many scrapes it sent and how many were
answered in full.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests.broker.process import ROOT

IDLE: Final = 100
TOGETHER: Final = 200


@dataclass
class Answered:
    """How many scrapes were sent, and how many were answered in full."""

    sent: int = 0
    whole: int = 0


@contextmanager
def pressed(port: int) -> Iterator[Answered]:
    """Press on the port while the context is open; the counts are there when it ends."""
    found = Answered()
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(port)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield found
    finally:
        printed, _ = process.communicate(timeout=60)
        found.sent, found.whole = map(int, printed.split())


async def _press(port: int) -> Answered:
    found, over = Answered(), asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), over.set)
    idle = [await _idle(port) for _ in range(IDLE)]
    while not over.is_set():
        answered = await asyncio.gather(*(_scrape(port) for _ in range(TOGETHER)))
        found.sent += TOGETHER
        found.whole += sum(answered)
        idle = [
            await _idle(port) if writer.is_closing() or reader.at_eof() else (reader, writer)
            for reader, writer in idle
        ]
        try:
            await asyncio.wait_for(over.wait(), 1)
        except TimeoutError:
            continue
    for _, writer in idle:
        writer.close()
    return found


async def _idle(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: ")
    return reader, writer


async def _scrape(port: int) -> bool:
    """Return whether a scrape was answered in full."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        text = await asyncio.wait_for(reader.read(-1), 30)
        writer.close()
    except (OSError, TimeoutError):
        return False
    head, _, body = text.partition(b"\r\n\r\n")
    return head.startswith(b"HTTP/1.1 200") and f"Content-Length: {len(body)}".encode() in head


if __name__ == "__main__":
    counted = asyncio.run(_press(int(sys.argv[1])))
    print(counted.sent, counted.whole)
