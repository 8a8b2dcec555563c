"""A record as tests see it, whichever Kafka it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True)
class Record:
    """One record to send (`offset` is then not looked at) or one that was read."""

    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    offset: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int | None = None

    @property
    def json(self) -> Any:
        """The value as JSON."""
        return orjson.loads(self.value or b"")

    def header(self, name: str) -> str:
        """The text of the one header with this name; KeyError when there is none."""
        return dict(self.headers)[name].decode()
