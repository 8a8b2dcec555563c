"""Where the figures of a benchmark stay: in `build`, beside those that are there already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from tests.broker.process import ROOT


def keep(name: str, figures: Mapping[str, Any]) -> None:
    """Write `figures` to build/`name` at once: a later measure may fail."""
    path = ROOT / "build" / name
    path.parent.mkdir(exist_ok=True)
    before = orjson.loads(path.read_bytes()) if path.exists() else {}
    path.write_bytes(orjson.dumps({**before, **figures}, option=orjson.OPT_INDENT_2))
