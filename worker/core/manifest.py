"""The manifest: the description of a release. It travels with the blob of tensors.

Anyone may write a record into the releases topic, so everything in a manifest is checked when it is
read, and again against the blob when the release is verified (`worker.core.release`).
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, get_args, get_origin, get_type_hints

import orjson

from worker.core.cells import CELLS
from worker.core.recent import RECENT_ITEMS
from worker.errors import ReleaseRefused

FORMAT: Final = 2
"""The version of manifest and blob that this program writes, and the only one that it reads."""

MAX_SCALE: Final = 1e6
"""No scale may be larger: scores keep well inside single precision."""

MAX_REPEAT_BIAS: Final = 1e6
"""No repeat bias may be larger, nor smaller than its negative: scores keep well inside single precision."""

MAX_GAP_SECONDS: Final = 1e10
"""No session gap may be longer: three centuries."""

MAX_BLOB_BYTES: Final = 8 << 30
"""No blob may be larger: it would be a million items with 2,000 numbers each."""

MAX_LAYERS: Final = 8
"""No network may have more recurrent layers."""

MAX_TRANSITIONS: Final = 50
"""No item may have more successors of its own: up to this number they cost ranking little."""

MAX_REPEAT_LAGS: Final = RECENT_ITEMS
"""No repeat bias may look further back: a user's row keeps no more items."""


@dataclass(frozen=True, slots=True)
class Golden:
    """One session and what the network answers to it, computed by the trainer's own framework.

    `items`: its clicks in order. `hidden`: the state after the last (single precision; top layer first;
    LSTM: h, then c). `top` and `scores`: the best items, best first, nothing excluded.
    """

    items: tuple[str, ...]
    hidden: tuple[float, ...]
    top: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The description of a release: its tensors, their origin, and how to check them.

    An item's score is `scale * h . o + bias`: `h` is the hidden vector of the top one of the `layers`, `o`
    the item's row of the output table, or with `output = "tied"` of the embedding; with `normalize`, both
    are brought to unit length first. Added to it are the item's score among the successors of the item
    clicked last (at most `transitions`; 0: no tables), and, for every click on the item in the current
    session, the number in `repeat_bias` for how many clicks ago that was, the last click being 0 ago.
    A session ends after `session_gap_seconds` without a click; 0: never.
    """

    format: int
    cell: str
    layers: int
    hidden_size: int
    embedding_size: int
    items: int
    output: str
    output_bias: bool
    normalize: bool
    scale: float
    transitions: int
    repeat_bias: tuple[float, ...]
    session_gap_seconds: float
    popular: tuple[str, ...]
    metrics: Mapping[str, float]
    training: Mapping[str, Any]
    lineage: Mapping[str, Any]
    created_at: str
    size_bytes: int
    sha256: str
    golden: tuple[Golden, ...]

    def to_json(self) -> bytes:
        """Return the manifest as one JSON object."""
        return orjson.dumps(self, default=_plain, option=orjson.OPT_INDENT_2)

    def __reduce__(self) -> tuple[Callable[[bytes], Manifest], tuple[bytes]]:
        # Between processes: the mappings that `from_json` gives are read-only, and those cannot be pickled.
        return Manifest.from_json, (self.to_json(),)

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Return the manifest in `text`. Raises ReleaseRefused, naming the field that is invalid."""
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ReleaseRefused("manifest", f"the manifest is not JSON: {error}") from None
        if isinstance(document, dict) and document.get("format") != FORMAT:
            raise ReleaseRefused(
                "format",
                f"the manifest has format {document.get('format')!r}, this worker reads {FORMAT}: "
                "publish a release made by a trainer of the worker's version",
            )
        manifest: Manifest = _read(cls, document, "manifest")
        manifest._check()
        return manifest

    def _check(self) -> None:
        _require(self.cell in CELLS, "cell", self.cell, f"one of {', '.join(CELLS)}")
        _require(self.output in ("tied", "separate"), "output", self.output, "tied or separate")
        for name in ("hidden_size", "embedding_size", "items", "size_bytes"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "greater than 0")
        _require(
            self.size_bytes <= MAX_BLOB_BYTES, "size_bytes", self.size_bytes, f"at most {MAX_BLOB_BYTES}"
        )
        tied_apart = self.output == "tied" and self.embedding_size != self.hidden_size
        _require(not tied_apart, "embedding_size", self.embedding_size, "hidden_size where output is tied")
        _require(0 < self.scale <= MAX_SCALE, "scale", self.scale, f"above 0 and at most {MAX_SCALE:g}")
        _require(1 <= self.layers <= MAX_LAYERS, "layers", self.layers, f"from 1 to {MAX_LAYERS}")
        few = 0 <= self.transitions <= MAX_TRANSITIONS
        _require(few, "transitions", self.transitions, f"from 0 to {MAX_TRANSITIONS}")
        biases = list(self.repeat_bias)
        within = len(biases) <= MAX_REPEAT_LAGS and all(abs(bias) <= MAX_REPEAT_BIAS for bias in biases)
        must_be = f"at most {MAX_REPEAT_LAGS} numbers from {-MAX_REPEAT_BIAS:g} to {MAX_REPEAT_BIAS:g}"
        _require(within, "repeat_bias", biases, must_be)
        gap = self.session_gap_seconds
        _require(0 <= gap <= MAX_GAP_SECONDS, "session_gap_seconds", gap, f"from 0 to {MAX_GAP_SECONDS:g}")
        different = len(set(self.popular)) == len(self.popular)
        _require(different, "popular", list(self.popular)[:3], "without an item that comes twice")
        _require(len(self.golden) > 0, "golden", [], "at least one session, to test the network with")


def _plain(value: object) -> object:
    """Return a plain dict for orjson from a read-only mapping, which `from_json` makes."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value)} cannot stand in a manifest")


def _require(holds: bool, name: str, value: object, must_be: str) -> None:
    if not holds:
        raise ReleaseRefused("manifest", f"manifest.{name} is {value!r}, it must be {must_be}")


def _read(kind: Any, value: Any, where: str) -> Any:
    """Return `value`, parsed from JSON, as the annotated type `kind`.

    Raises ReleaseRefused if it does not fit.
    """
    origin = get_origin(kind)
    if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__"):
        return _read_dataclass(kind, value, where)
    if origin is tuple and type(value) is list:
        return tuple(_read(get_args(kind)[0], one, f"{where}[{at}]") for at, one in enumerate(value))
    if origin is not None and issubclass(origin, Mapping) and type(value) is dict:
        return types.MappingProxyType(
            {k: _read(get_args(kind)[1], v, f"{where}.{k}") for k, v in value.items()}
        )
    if kind is Any or type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    raise ReleaseRefused("manifest", f"{where} is {str(value)[:80]!r}, it must be of type {kind}")


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    names = {field.name for field in fields(kind)}
    if type(value) is not dict or value.keys() != names:
        given = set(value) if type(value) is dict else set()
        raise ReleaseRefused(
            "manifest",
            f"{where} lacks {sorted(names - given)} and has {sorted(given - names)} that do not belong there",
        )
    kinds = get_type_hints(kind)
    return kind(**{name: _read(kinds[name], value[name], f"{where}.{name}") for name in names})
