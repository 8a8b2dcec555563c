"""The decoder's `parse` and `parse_key` for framed and unframed values and keys."""

from __future__ import annotations

from typing import Any

from worker.core.formats import parse_plain
from worker.core.framing import KEY_HEADER, VALUE_HEADER, Frame, frame_header, unframed
from worker.core.paths import Headers
from worker.core.reasons import Reason, Undecodable
from worker.schemas.interface import Unusable
from worker.schemas.reading import FrameReader


class FramedParser:
    """Parses framed data with the schemas of `frames`, and unframed data as if there were no registry.

    Every method raises Undecodable, and the registry errors of `FrameReader.read`: RegistryAway,
    RegistryRefused.
    """

    def __init__(self, frames: FrameReader) -> None:
        self._frames = frames

    def __call__(self, value: bytes, headers: Headers, /, *, exact: bool = False) -> Any:
        """Return the document in a record's value."""
        if value[0] and not headers:
            # Hot path: saves 0.4 us for an unframed record.
            return parse_plain(value, exact=exact)
        frame = unframed(value, frame_header(headers, VALUE_HEADER))
        return parse_plain(value, headers, exact=exact) if frame is None else self._read(frame, exact=exact)

    def key(self, key: bytes, headers: Headers) -> Any:
        """Return the document in a record's key; None if the key is not framed."""
        frame = unframed(key, frame_header(headers, KEY_HEADER))
        return None if frame is None else self._read(frame)

    def problems(self) -> list[str]:
        """Return the reasons why schemas could not be used."""
        return self._frames.problems()

    def _read(self, frame: Frame, *, exact: bool = False) -> Any:
        try:
            return self._frames.read(frame, exact=exact)
        except Unusable:
            raise Undecodable(Reason.UNKNOWN_SCHEMA) from None
        except ValueError:
            raise Undecodable(Reason.SCHEMA_MISMATCH) from None
