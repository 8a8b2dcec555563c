"""The table of shapes in the worker's reference is true: a row is a record, its settings and its clicks."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from worker.kafka.memory import MemoryCluster
from worker.settings.common import Click
from worker.topics.clicks import Decoded, decode

RECORD_TIME: Final = "2026-09-21T14:13:20Z"
README: Final = Path(__file__).parents[1] / "worker" / "README.md"


class Row(NamedTuple):
    """One row: its cells as they are written."""

    record: str
    settings: str
    becomes: str


def rows() -> list[Row]:
    """Return the rows of the table."""
    section = README.read_text("utf-8").partition("### Shapes of records")[2].partition("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines[1:]]


def produced(cell: str, cluster: MemoryCluster) -> None:
    """Send the record that a cell describes: its key, its headers and its value, each in back quotes."""
    value: bytes | None = None
    key: bytes | None = None
    headers: list[tuple[str, bytes]] = []
    for kind, text in re.findall(r"(key in hex|key|header|)\s*`([^`]*)`", cell):
        if kind == "key in hex":
            key = bytes.fromhex(text)
        elif kind == "key":
            key = text.encode()
        elif kind == "header":
            name, _, its = text.partition("=")
            headers.append((name, its.encode()))
        else:
            value = text.encode()
    assert (value is None) == (cell == "no value")
    cluster.produce("clicks", value, key=key, headers=headers)


def said(decoded: Decoded) -> str:
    """Return what records became, as the table says it."""
    clicks, parts = decoded.clicks, []
    for user, item, ms in zip(clicks.user_ids, clicks.item_ids, clicks.timestamps_ms.tolist(), strict=True):
        moment = f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
        parts.append(f"`{user} {item}`" if moment == RECORD_TIME else f"`{user} {item} {moment}`")
    parts += [f"dead letter `{one.reason}`" for one in decoded.bad]
    parts += [f"skipped `{reason}`" for reason in decoded.skipped.elements()]
    return ", ".join(parts)


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.record} {row.settings}"[:90])
def test_a_row_of_the_table_is_true(row: Row) -> None:
    """The record under these settings becomes what the row says, and nothing else."""
    cluster = MemoryCluster(start_ms=round(datetime.fromisoformat(RECORD_TIME).timestamp() * 1000))
    cluster.create("clicks")
    produced(row.record, cluster)
    settings = tomllib.loads("\n".join(re.findall(r"`([^`]*)`", row.settings)))

    decoded = decode(cluster.read("clicks"), Click(**settings).decoder())

    assert said(decoded) == row.becomes


def test_the_table_shows_all_that_there_is() -> None:
    """Every setting of what a record is; rows enough that none was lost."""
    table = "\n".join(row.settings for row in rows())

    assert len(rows()) > 40
    assert [name for name in Click.model_fields if f"{name} = " not in table] == ["max_bytes"]
