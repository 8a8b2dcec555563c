"""Logs on standard error, for people or for machines; ours and those of libraries alike."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

_SAYS: Final = """
import logging, sys
import structlog
from worker.process import logging as ours

ours.configure(sys.argv[1], sys.argv[2])
log = structlog.get_logger("worker")
log.info("serving", partitions=[0, 1])
log.warning("not ready", reason="no broker")
logging.getLogger("library").warning("of a library")
logging.getLogger("kafka").error("of the client")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def said(format: str, level: str) -> tuple[str, list[str]]:
    """Standard output, and the lines of standard error."""
    ended = subprocess.run(
        [sys.executable, "-c", _SAYS, format, level], capture_output=True, text=True, check=True
    )
    return ended.stdout, ended.stderr.splitlines()


def test_machines_get_one_document_for_each_event() -> None:
    """A constant event with its values, the level and the time in UTC; also from libraries."""
    out, lines = said("json", "info")
    documents = [json.loads(line) for line in lines]

    assert out == ""
    assert [one["event"] for one in documents] == ["serving", "not ready", "of a library", "failed"]
    assert [one["level"] for one in documents] == ["info", "warning", "warning", "error"]
    assert documents[0]["partitions"] == [0, 1]
    assert all(one["timestamp"].endswith("Z") for one in documents)
    assert "ZeroDivisionError" in documents[3]["exception"]


def test_people_get_a_line() -> None:
    """Without colours where nobody looks; what the client says of lost connections the worker says itself."""
    _, lines = said("console", "warning")

    assert "not ready" in lines[0]
    assert "reason=no broker" in lines[0].replace("'", "")
    assert "of a library" in lines[1]
    assert not [line for line in lines if "serving" in line or "of the client" in line or "\x1b" in line]
    assert any("ZeroDivisionError" in line for line in lines)
