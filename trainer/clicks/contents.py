"""The contents of a file as polars reads them: decompressed, text as UTF-8 without a byte order mark.

The format (gzip, zstd, bzip2, xz; Parquet, Arrow, text; a byte order mark) is detected from the first bytes,
not from the name. If polars cannot read the file directly, it is converted line by line into an anonymous
temporary file, which the system deletes when the process ends.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal

import zstandard

from trainer.errors import UnreadableFile

Kind = Literal["parquet", "arrow", "arrow stream", "text"]
Rewrite = Callable[[Iterator[bytes]], Iterator[bytes]]

_HEAD_BYTES: Final = 65_536
"""The number of bytes from which the format is detected."""

_PACKINGS: Final[dict[bytes, Callable[[Path], Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda path: io.BufferedReader(_zstd(path)),
}
_READ_PACKED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
"""The compression formats that polars reads directly."""

_KINDS: Final[dict[bytes, Kind]] = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"\xff\xff\xff\xff": "arrow stream",
}
_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks. If one mark is a prefix of another, the longer mark comes first."""

_FOREIGN: Final = {
    b"PK\x03\x04": "a zip file or an Excel sheet; unpack it, or save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel sheet; save it as CSV",
    b"Obj\x01": "Avro; write it as Parquet",
    b"ORC": "ORC; write it as Parquet",
    b"FEA1": "Feather version 1; write it as version 2 or as Parquet",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
    b"%PDF": "PDF; export the table as CSV",
}
_TAR: Final = (257, b"ustar")
"""The place and the text that mark a tar archive."""

_WIDE: Final = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_CONTROLS: Final = frozenset(range(32)) - frozenset(b"\t\n\r\x1b\x1f")


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a file. For text, `head` is its beginning and `encoding` its encoding.

    `as_it_is`: whether polars can read the file directly, without a copy.
    """

    path: Path
    kind: Kind
    as_it_is: bool
    head: str = ""
    encoding: str = "utf-8"

    @contextmanager
    def source(self, rewrite: Rewrite | None = None) -> Iterator[Path | IO[bytes]]:
        """Open the source for polars: the file, or a converted copy.

        `rewrite` converts the lines of a text. Polars keeps its own handle to the copy.
        """
        if self.as_it_is and rewrite is None:
            yield self.path
            return
        with tempfile.TemporaryFile() as copy:
            with _opened(self.path) if self.kind != "text" else self.lines() as parts:
                copy.writelines(rewrite(iter(parts)) if rewrite else parts)
            copy.flush()
            copy.seek(0)
            yield copy

    @contextmanager
    def lines(self) -> Iterator[Iterable[bytes]]:
        """Open the text as lines of UTF-8."""
        with _opened(self.path) as raw:
            plain = self.encoding == "utf-8" and not _old_mac(self.head)
            yield raw if plain else _utf8_lines(raw, self.encoding, self.path)


def contents(path: Path, encoding: str) -> Contents:
    """Return the contents of the file; `encoding` applies to text without a byte order mark.

    Raises UnreadableFile, with the apparent format, if the file cannot be a table.
    """
    start, packed = _head(path)
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise UnreadableFile(str(path), f"it is {what}")
    if start.startswith(_TAR[1], _TAR[0]):
        raise UnreadableFile(str(path), "it is a tar archive; unpack it")
    if packed and any(start.startswith(magic) for magic in _PACKINGS):
        raise UnreadableFile(str(path), "it is compressed twice; decompress it once")
    for magic, kind in _KINDS.items():
        if start.startswith(magic):
            return Contents(path, kind, as_it_is=not packed)
    if not start.strip():
        raise UnreadableFile(
            str(path), "it is damaged or truncated; write it again" if packed else "the file is empty"
        )
    marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    encoding = marked or codecs.lookup(encoding).name
    try:
        head = _decoded(start, encoding)
    except UnicodeError as error:  # even though damage is replaced, these encodings insist on their mark
        raise UnreadableFile(
            str(path), f"it is not {encoding}: {error}; set files.encoding to its encoding"
        ) from None
    if not head.strip():
        raise UnreadableFile(str(path), "the file is empty")
    _must_be_text(head, start, path)
    as_it_is = encoding == "utf-8" and (not packed or packed in _READ_PACKED) and not _old_mac(head)
    return Contents(path, "text", as_it_is, head, encoding)


def _head(path: Path) -> tuple[bytes, bytes]:
    """Return the first bytes, decompressed, and the magic bytes of the compression (empty: none)."""
    with path.open("rb") as file:
        start = file.read(_HEAD_BYTES)
    packed = next((magic for magic in _PACKINGS if start.startswith(magic)), b"")
    if packed:
        with _opened(path) as file:
            start = file.read(_HEAD_BYTES)
    return start, packed


def _zstd(path: Path) -> Any:
    """Open a zstd file. Parallel compressors write several frames."""
    unpacker = zstandard.ZstdDecompressor()
    return unpacker.stream_reader(path.open("rb"), read_across_frames=True)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        start = file.read(8)
    opened = next((opened for magic, opened in _PACKINGS.items() if start.startswith(magic)), None)
    with opened(path) if opened else path.open("rb") as unpacked:
        yield unpacked


def _decoded(start: bytes, encoding: str) -> str:
    # The last character may be cut in two.
    return codecs.getincrementaldecoder(encoding)(errors="replace").decode(start)


def _utf8_lines(raw: IO[bytes], encoding: str, path: Path) -> Iterator[bytes]:
    number = 0
    reader: Any = raw
    text = io.TextIOWrapper(reader, encoding=encoding)
    try:
        for number, line in enumerate(text, start=1):  # noqa: B007  # the number is for the error
            yield line.encode()
    except UnicodeError as error:
        part = error.object[error.start : error.end] if isinstance(error, UnicodeDecodeError) else b""
        raise UnreadableFile(
            str(path),
            f"after line {number:,} it is not {encoding}: {part!r}; save it as UTF-8, "
            "or set files.encoding to its encoding, such as cp1252 or utf-16",
        ) from None
    finally:
        text.detach()


def _old_mac(head: str) -> bool:
    """Return whether lines end with a carriage return only."""
    return "\r" in head and "\n" not in head


def _must_be_text(head: str, start: bytes, path: Path) -> None:
    if "\x00" in head and (name := _wide(start[:200])):
        raise UnreadableFile(
            str(path),
            f"it seems to be {name[:6].upper()} without a byte order mark; set files.encoding to {name}",
        )
    controls = sum(ord(letter) in _CONTROLS for letter in head[:2_000])
    if "\x00" in head[:2_000] or controls * 20 > len(head[:2_000]):
        raise UnreadableFile(
            str(path),
            f"it is not text, Parquet, Arrow, gzip, zstd, bzip2 or xz; its first bytes are {start[:16]!r}",
        )


def _wide(start: bytes) -> str | None:
    """Return the encoding of two or four bytes a letter in which a text starts as ASCII, or None."""
    for name in _WIDE:
        text = _decoded(start, name)
        if sum(letter.isascii() and letter.isprintable() for letter in text) * 2 > len(text):
            return name
    return None
