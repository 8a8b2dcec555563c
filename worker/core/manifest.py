"""The manifest: the description of a release, published together with the blob of tensors.

Anyone may write a record into the releases topic. So a manifest is fully checked when it is read, and again
against the blob when the release is verified (`worker.core.release`).
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, get_args, get_origin, get_type_hints

import orjson

from worker.core.cells import CELLS
from worker.core.ranking import OwnItems
from worker.core.recent import MAX_RECENT_ITEMS, RECENT_ITEMS
from worker.errors import ReleaseRefused

FORMAT: Final = 2
"""The version of manifest and blob that this program writes, and the only version that it reads."""

MAX_SCALE: Final = 1e6
"""Maximum scale; keeps scores well within the range of single precision."""

MAX_REPEAT_BIAS: Final = 1e6
"""Maximum absolute value of a repeat bias; keeps scores well within the range of single precision."""

MAX_GAP_SECONDS: Final = 1e10
"""Maximum session gap, in seconds: three centuries."""

MAX_BLOB_BYTES: Final = 8 << 30
"""Maximum size of a blob, in bytes: enough for a million items with 2,000 numbers each."""

MAX_LAYERS: Final = 8
"""Maximum number of recurrent layers."""

MAX_TRANSITIONS: Final = 50
"""Maximum number of successors of an item; up to this number, successors cost little in ranking."""

MAX_CO_OCCURRENCES: Final = 50
"""Maximum number of co-occurring items of an item."""

MAX_CO_OCCURRENCE_LAGS: Final = 3
"""Maximum number of recent clicks whose co-occurring items gain; each costs as much as the transitions."""

MAX_CO_OCCURRENCE_DECAY: Final = 1e6
"""Maximum absolute value of a decay; keeps scores well within the range of single precision."""

MAX_REPEAT_LAGS: Final = RECENT_ITEMS
"""Maximum number of repeat biases: a user's row keeps only this many recent items."""

MAX_OWN_ITEMS: Final = MAX_RECENT_ITEMS
"""Maximum number of a user's last clicks that are counted as own items."""

MAX_OWN_WEIGHT: Final = 1e6
"""Maximum absolute weight of own items; keeps scores well within the range of single precision."""

MIN_OWN_HALF_LIFE: Final = 0.1
"""Minimum half-life of own items, in clicks; with a lower one, only the last click would count."""

MAX_OWN_HALF_LIFE: Final = 1e6
"""Maximum half-life of own items, in clicks; all clicks then count alike."""

MAX_LIST_MARGIN: Final = 1e9
"""Maximum margin of lists; keeps scores well within the range of single precision."""


@dataclass(frozen=True, slots=True)
class Golden:
    """A test session and the network's answer, as the trainer's framework computed it.

    `items`: the clicked items in order. `hidden`: the state after the last click (single precision; top layer
    first; LSTM: h, then c). `top` and `scores`: the best items and their scores, best first, with no items
    excluded.
    """

    items: tuple[str, ...]
    hidden: tuple[float, ...]
    top: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The description of a release: its tensors, their origin, and how to check them.

    An item's score is `scale * h . o + bias`. `h` is the hidden vector of the top layer; `o` is the item's
    row of the output table, or of the embedding if `output` is `tied`. With `normalize`, both are scaled to
    unit length first. Four terms are added. First, the transition score, if the item is a successor of the
    last clicked item (`transitions`: maximum number of successors of an item; 0: no transition tables).
    Second, for every click of the current session, `co_occurrence_decay[l]` times the item's score in the row
    of the clicked item, where `l` is the number of later clicks (`co_occurrences`: number of entries in a
    row; 0: no such tables). Third, `repeat_bias[l]` for every click on the item. Fourth, a gain for the items
    among the user's last `own_items` clicks, whatever their session (`worker.core.ranking.OwnItems` with
    `own_weight`, `own_half_life` and `own_bonus`; 0 clicks: no gain). A session ends after
    `session_gap_seconds` without a click; 0: never. Approximate ranking scores only the items of some of the
    `lists` (0: none) into which the items are divided: those whose mean score, without the four terms, is at
    most `list_margin` below the best. It finds the share `list_recall` of the exact top 20, as measured by
    the trainer. The user's last `exclude_recent` clicked items are not recommended, unless a worker's
    settings say otherwise.

    A field with a default may be missing in JSON, and is left out if it has its default. So a worker that
    does not know the field yet reads the releases that do not use it.
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
    exclude_recent: int = 1
    co_occurrences: int = 0
    co_occurrence_decay: tuple[float, ...] = ()
    own_items: int = 0
    own_weight: float = 0.0
    own_half_life: float = 1.0
    own_bonus: float = 0.0
    lists: int = 0
    list_margin: float = 0.0
    list_recall: float = 0.0

    def to_json(self) -> bytes:
        """Return the manifest as a JSON object, without the fields that have their defaults."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        written = {field.name: value for field, value in values if value != field.default}
        return orjson.dumps(written, default=_plain, option=orjson.OPT_INDENT_2)

    @property
    def own_term(self) -> OwnItems:
        """The term for a user's own items."""
        return OwnItems(self.own_items, self.own_weight, self.own_half_life, self.own_bonus)

    def __reduce__(self) -> tuple[Callable[[bytes], Manifest], tuple[bytes]]:
        # The mappings that `from_json` returns are read-only, and read-only mappings cannot be pickled.
        return Manifest.from_json, (self.to_json(),)

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Return the manifest in `text`. Raises ReleaseRefused, with the name of the first invalid field."""
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ReleaseRefused("manifest", f"the manifest is not JSON: {error}") from None
        if isinstance(document, dict) and document.get("format") != FORMAT:
            raise ReleaseRefused(
                "format",
                f"the manifest has format {document.get('format')!r}, but this worker reads {FORMAT}; "
                "publish a release from a trainer of the worker's version",
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
        _require(
            not tied_apart, "embedding_size", self.embedding_size, "equal to hidden_size if output is tied"
        )
        _require(0 < self.scale <= MAX_SCALE, "scale", self.scale, f"above 0 and at most {MAX_SCALE:g}")
        _require(1 <= self.layers <= MAX_LAYERS, "layers", self.layers, f"from 1 to {MAX_LAYERS}")
        few = 0 <= self.transitions <= MAX_TRANSITIONS
        _require(few, "transitions", self.transitions, f"from 0 to {MAX_TRANSITIONS}")
        few = 0 <= self.co_occurrences <= MAX_CO_OCCURRENCES
        _require(few, "co_occurrences", self.co_occurrences, f"from 0 to {MAX_CO_OCCURRENCES}")
        decay, limit = list(self.co_occurrence_decay), MAX_CO_OCCURRENCE_DECAY
        within = len(decay) <= MAX_CO_OCCURRENCE_LAGS and all(abs(one) <= limit for one in decay)
        must_be = f"at most {MAX_CO_OCCURRENCE_LAGS} numbers from {-limit:g} to {limit:g}"
        _require(within, "co_occurrence_decay", decay, must_be)
        both = bool(decay) == bool(self.co_occurrences)
        _require(both, "co_occurrence_decay", decay, "empty if co_occurrences is 0, and only then")
        biases = list(self.repeat_bias)
        within = len(biases) <= MAX_REPEAT_LAGS and all(abs(bias) <= MAX_REPEAT_BIAS for bias in biases)
        must_be = f"at most {MAX_REPEAT_LAGS} numbers from {-MAX_REPEAT_BIAS:g} to {MAX_REPEAT_BIAS:g}"
        _require(within, "repeat_bias", biases, must_be)
        excluded = self.exclude_recent
        _require(0 <= excluded <= RECENT_ITEMS, "exclude_recent", excluded, f"from 0 to {RECENT_ITEMS}")
        self._check_own_items()
        _require(0 <= self.lists <= self.items, "lists", self.lists, f"from 0 to items ({self.items})")
        margin, limit = self.list_margin, MAX_LIST_MARGIN
        _require(0 <= margin <= limit, "list_margin", margin, f"from 0 to {limit:g}")
        _require(0 <= self.list_recall <= 1, "list_recall", self.list_recall, "from 0 to 1")
        gap = self.session_gap_seconds
        _require(0 <= gap <= MAX_GAP_SECONDS, "session_gap_seconds", gap, f"from 0 to {MAX_GAP_SECONDS:g}")
        different = len(set(self.popular)) == len(self.popular)
        _require(different, "popular", list(self.popular)[:3], "without duplicate items")
        _require(len(self.golden) > 0, "golden", [], "at least one session with which to test the network")

    def _check_own_items(self) -> None:
        clicks, weight, half_life, bonus = self.own_term
        _require(0 <= clicks <= MAX_OWN_ITEMS, "own_items", clicks, f"from 0 to {MAX_OWN_ITEMS}")
        must_be = f"from {-MAX_OWN_WEIGHT:g} to {MAX_OWN_WEIGHT:g}"
        _require(abs(weight) <= MAX_OWN_WEIGHT, "own_weight", weight, must_be)
        _require(abs(bonus) <= MAX_OWN_WEIGHT, "own_bonus", bonus, must_be)
        within = MIN_OWN_HALF_LIFE <= half_life <= MAX_OWN_HALF_LIFE
        must_be = f"from {MIN_OWN_HALF_LIFE:g} to {MAX_OWN_HALF_LIFE:g}"
        _require(within, "own_half_life", half_life, must_be)


def _plain(value: object) -> object:
    """Return a read-only mapping of `from_json` as a dict, which orjson can write."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a manifest cannot contain a value of type {type(value)}")


def _require(holds: bool, name: str, value: object, must_be: str) -> None:
    if not holds:
        raise ReleaseRefused("manifest", f"manifest.{name} is {value!r}; it must be {must_be}")


def _read(kind: Any, value: Any, where: str) -> Any:
    """Return `value`, parsed from JSON, as the annotated type `kind`. Raises ReleaseRefused on a mismatch."""
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
    raise ReleaseRefused("manifest", f"{where} is {str(value)[:80]!r}; it must be of type {kind}")


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    names = {field.name for field in fields(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    given = set(value) if type(value) is dict else set()
    if type(value) is not dict or not needed <= given <= names:
        raise ReleaseRefused(
            "manifest",
            f"{where} lacks fields {sorted(needed - given)} and has unknown fields {sorted(given - names)}",
        )
    kinds = get_type_hints(kind)
    return kind(**{name: _read(kinds[name], value[name], f"{where}.{name}") for name in given})
