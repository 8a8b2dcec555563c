"""One published set of weights and catalogue: packed by the trainer, verified and served by the worker.

A release is a blob of tensors (safetensors: no code can hide in it) and a manifest. `pack` makes
both, `verify` turns them back into a `Release` that serves, or refuses with a reason. On the way
through Kafka they are records, of which none is larger than a broker takes by default.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from worker.core.catalogue import Catalogue
from worker.core.cells import CELLS, Floats
from worker.core.layers import Layers, count_layers, names_of_layer
from worker.core.manifest import FORMAT, Golden, Manifest
from worker.core.ranking import NO_ITEM, Indexes, ItemTable, TopK, Transitions, top_k
from worker.errors import ReleaseRefused

CHUNK_BYTES: Final = 512 * 1024
"""The largest part of a blob that goes into one Kafka record."""

MAX_NUMBER: Final = 2**31 - 1
"""The highest number of a release: every user row carries one, in four bytes."""

_MAX_INPUTS_BYTES: Final = 1 << 30
"""Up to this size the input half of a step is computed for the whole catalogue in advance."""

_TOLERANCE: Final = 1e-3
"""How far a golden answer may be off: other kernels round differently, wrong weights are far off."""


class Release:
    """A verified release with its serving tables. Nothing in it changes, so threads may share it.

    (`top_k` alone is for one thread: the table has scratch space.)
    """

    def __init__(
        self, manifest: Manifest, catalogue: Catalogue, tensors: Mapping[str, NDArray[Any]], number: int
    ) -> None:
        self.manifest = manifest
        self.number = number
        self.catalogue = catalogue
        self.state_size = manifest.layers * CELLS[manifest.cell].state_size(manifest.hidden_size)
        self.session_gap_ms = round(manifest.session_gap_seconds * 1000)
        self.popular = catalogue.indexes(manifest.popular)
        self._layers = Layers.of(CELLS[manifest.cell], tensors)
        self._embedding = tensors["embedding"]
        self._inputs = self._precomputed_inputs()
        self._table = ItemTable(
            self._output_vectors(tensors),
            tensors.get("output_bias"),
            transitions=_transitions(manifest, tensors),
            repeat_bias=manifest.repeat_bias,
        )
        self.recent_needed = self._table.recent_needed
        """How many of a session's last clicks ranking needs."""

    def inputs(self, indexes: Indexes) -> Floats:
        """The input half of a step for each item: `W_x x + b` of the lowest layer, `[gates, B, H]`."""
        if self._inputs is not None:
            return self._inputs[:, indexes]
        return self._layers.inputs(self._embedding[indexes])

    def step(self, inputs: Floats, states: Floats) -> Floats:
        """The states `[B, S]` after clicks with these `inputs`, all layers moved."""
        return self._layers.step(inputs, states)

    def rank(
        self, states: Floats, k: int, excluded: Indexes | None = None, recent: Indexes | None = None
    ) -> TopK:
        """The `k` best items for each state `[B, S]`, without those that `excluded` names in its row.

        `recent` `[B, recent_needed]`: the last clicks of each session, newest first, `NO_ITEM` where unknown
        or none. Raises ValueError where it is needed and not given.
        """
        hidden = states[:, : self.manifest.hidden_size]
        if self.manifest.normalize:
            hidden = _unit(hidden)
        if self.manifest.scale != 1:
            hidden = hidden * np.float32(self.manifest.scale)
        return top_k(hidden, self._table, k, excluded, recent)

    def summary(self) -> dict[str, object]:
        """What a log line says of it."""
        manifest = self.manifest
        return {
            "cell": manifest.cell,
            "layers": manifest.layers,
            "hidden_size": manifest.hidden_size,
            "items": manifest.items,
        }

    def _precomputed_inputs(self) -> Floats | None:
        if len(self._embedding) * self._layers.layers[0].bias.nbytes > _MAX_INPUTS_BYTES:
            return None
        return self._layers.inputs(self._embedding)

    def _output_vectors(self, tensors: Mapping[str, Floats]) -> Floats:
        vectors = tensors["output" if self.manifest.output == "separate" else "embedding"]
        return _unit(vectors) if self.manifest.normalize else vectors


def pack(
    tensors: Mapping[str, NDArray[Any]],
    item_ids: Sequence[str],
    *,
    cell: str,
    output: str,
    normalize: bool,
    scale: float,
    repeat_bias: Sequence[float] = (),
    session_gap_seconds: float,
    popular: Sequence[str],
    golden: Sequence[Golden],
    metrics: Mapping[str, float],
    training: Mapping[str, Any],
    lineage: Mapping[str, Any],
    created_at: str,
) -> tuple[Manifest, bytes]:
    """The manifest and the blob of a release.

    `tensors`, single precision and laid out as Keras does: `embedding` `[N, D]` (what the cell sees),
    `kernel` `[D, gates * H]`, `recurrent_kernel` `[H, gates * H]`, `bias`, for each layer above the lowest
    the same with its number (`kernel_2` `[H, gates * H]`, ...); optional `output` `[N, H]` and `output_bias`
    `[N]`; optional `transition_items` `[N, E]` (int32, an item once in a row, `NO_ITEM` in unused places)
    with `transition_scores` `[N, E]`. `Manifest` says what these and `repeat_bias` mean. Raises
    ReleaseRefused where a worker would refuse the result.
    """
    try:
        all_tensors = {**tensors, **Catalogue(item_ids).to_tensors()}
    except ValueError as error:
        raise ReleaseRefused("item_ids", f"the item ids cannot be written: {error}") from None
    blob = save({name: np.ascontiguousarray(tensor) for name, tensor in all_tensors.items()})
    manifest = Manifest(
        format=FORMAT,
        cell=cell,
        layers=count_layers(tensors),
        hidden_size=tensors["recurrent_kernel"].shape[0],
        embedding_size=tensors["embedding"].shape[1],
        items=len(item_ids),
        output=output,
        output_bias="output_bias" in tensors,
        normalize=normalize,
        scale=scale,
        transitions=tensors["transition_items"].shape[1] if "transition_items" in tensors else 0,
        repeat_bias=tuple(repeat_bias),
        session_gap_seconds=session_gap_seconds,
        popular=tuple(popular),
        metrics=metrics,
        training=training,
        lineage=lineage,
        created_at=created_at,
        size_bytes=len(blob),
        sha256=hashlib.sha256(blob).hexdigest(),
        golden=tuple(golden),
    )
    verify(Manifest.from_json(manifest.to_json()), blob)
    return manifest, blob


def verify(manifest: Manifest, blob: bytes, *, number: int = 0) -> Release:
    """The release, ready to serve, once everything that the manifest says of the blob holds.

    Size, SHA-256, names, types and shapes of tensors, finite values, item ids, and the golden
    sequences, walked through the code that serves. Raises ReleaseRefused for the first that fails.
    """
    if len(blob) != manifest.size_bytes:
        raise ReleaseRefused(
            "size", f"the blob has {len(blob)} bytes, the manifest says {manifest.size_bytes}"
        )
    digest = hashlib.sha256(blob).hexdigest()
    if digest != manifest.sha256:
        raise ReleaseRefused(
            "checksum", f"the blob has SHA-256 {digest}, the manifest says {manifest.sha256}"
        )
    try:
        tensors = load(blob)
    # Beside its own error: KeyError and ValueError for a type of number that NumPy does not have.
    except (SafetensorError, KeyError, ValueError) as error:
        raise ReleaseRefused("tensors", f"the blob cannot be read as safetensors: {error!r}") from None
    _check_tensors(manifest, tensors)
    if manifest.transitions:
        _check_transitions(manifest, tensors["transition_items"])
    catalogue = _catalogue(tensors)
    unknown = [item_id for item_id in manifest.popular if catalogue.indexes([item_id])[0] == NO_ITEM]
    if unknown:
        raise ReleaseRefused("item_ids", f"the popular items {unknown[:3]} are not in the catalogue")
    # Finite weights may still be absurd: what they overflow to is what the golden answers refuse.
    with np.errstate(over="ignore", invalid="ignore"):
        release = Release(manifest, catalogue, tensors, number)
        for golden in manifest.golden:
            _check_golden(release, golden)
    return release


def _check_tensors(manifest: Manifest, tensors: Mapping[str, NDArray[Any]]) -> None:
    expected = _expected_tensors(manifest)
    if tensors.keys() != expected.keys():
        missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
        raise ReleaseRefused("tensors", f"the blob lacks the tensors {missing} and has {extra} beyond them")
    for name, (dtype, shape) in expected.items():
        tensor = tensors[name]
        fits = len(tensor.shape) == len(shape) and all(
            asked in (None, size) for asked, size in zip(shape, tensor.shape, strict=True)
        )
        if tensor.dtype != dtype or not fits:
            found = f"{tensor.dtype} {list(tensor.shape)}"
            asked = f"{dtype} {list(shape)}"
            raise ReleaseRefused("shape", f"the tensor {name} is {found}, the manifest asks {asked}")
        if dtype == np.float32 and not np.isfinite(tensor).all():
            raise ReleaseRefused("not_finite", f"the tensor {name} has values that are not finite numbers")


def _expected_tensors(manifest: Manifest) -> dict[str, tuple[np.dtype[Any], tuple[int | None, ...]]]:
    """The type and shape of each tensor; None in a shape is any length."""
    cell, items, size = CELLS[manifest.cell], manifest.items, manifest.hidden_size
    single = np.dtype(np.float32)
    expected: dict[str, tuple[np.dtype[Any], tuple[int | None, ...]]] = {
        "embedding": (single, (items, manifest.embedding_size)),
        "item_ids": (np.dtype(np.uint8), (None,)),
        "item_id_starts": (np.dtype(np.int64), (items + 1,)),
    }
    for number in range(1, manifest.layers + 1):
        kernel, recurrent_kernel, bias = names_of_layer(number)
        below = manifest.embedding_size if number == 1 else size
        expected[kernel] = (single, (below, cell.gates * size))
        expected[recurrent_kernel] = (single, (size, cell.gates * size))
        expected[bias] = (single, cell.bias_shape(size))
    if manifest.output == "separate":
        expected["output"] = (single, (items, size))
    if manifest.output_bias:
        expected["output_bias"] = (single, (items,))
    if manifest.transitions:
        expected["transition_items"] = (np.dtype(np.int32), (items, manifest.transitions))
        expected["transition_scores"] = (single, (items, manifest.transitions))
    return expected


def _check_transitions(manifest: Manifest, items: Indexes) -> None:
    ordered = np.sort(items, axis=1)
    lowest, highest = int(ordered.min()), int(ordered.max())
    if lowest < NO_ITEM or highest >= manifest.items:
        raise ReleaseRefused(
            "transitions",
            f"the tensor transition_items has numbers from {lowest} to {highest}, "
            f"the items are 0 to {manifest.items - 1}, an unused place is {NO_ITEM}",
        )
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_ITEM)
    if twice.any():
        row = int(twice.any(axis=1).argmax())
        raise ReleaseRefused("transitions", f"row {row} of the tensor transition_items names an item twice")


def _transitions(manifest: Manifest, tensors: Mapping[str, NDArray[Any]]) -> Transitions | None:
    if not manifest.transitions:
        return None
    return Transitions(tensors["transition_items"], tensors["transition_scores"])


def _catalogue(tensors: Mapping[str, NDArray[Any]]) -> Catalogue:
    try:
        return Catalogue.from_tensors(tensors["item_ids"], tensors["item_id_starts"])
    except ValueError as error:
        raise ReleaseRefused("item_ids", f"the item ids cannot be read: {error}") from None


def _check_golden(release: Release, golden: Golden) -> None:
    clicked, top = release.catalogue.indexes(golden.items), release.catalogue.indexes(golden.top)
    if NO_ITEM in clicked or NO_ITEM in top:
        raise ReleaseRefused("golden", f"the golden sequence {list(golden.items)[:5]} names unknown items")
    if len(golden.top) != len(golden.scores) or len(set(golden.top)) != len(golden.top):
        raise ReleaseRefused(
            "golden", f"the golden answer {list(golden.top)[:5]} needs a score for each item"
        )
    state = np.zeros((1, release.state_size), np.float32)
    for index in clicked:
        state = release.step(release.inputs(index[None]), state)
    if len(golden.hidden) != release.state_size or not _near(state[0], golden.hidden, _TOLERANCE):
        raise ReleaseRefused(
            "golden",
            f"after the golden sequence {list(golden.items)[:5]} the hidden state is not the expected one",
        )
    found = release.rank(state, len(release.catalogue), recent=_newest_first(clicked, release.recent_needed))
    if not _same_answer(release, found, top, golden.scores):
        best = release.catalogue.ids(found.indexes[0, :3]).tolist()
        raise ReleaseRefused(
            "golden",
            f"after the golden sequence {list(golden.items)[:5]} the worker recommends {best}, "
            f"the manifest expects {list(golden.top)[:3]}, or with other scores",
        )


def _newest_first(clicked: Indexes, count: int) -> Indexes:
    recent = np.full((1, count), NO_ITEM, np.int32)
    last = clicked[::-1][:count]
    recent[0, : len(last)] = last
    return recent


def _same_answer(release: Release, found: TopK, top: Indexes, scores: Sequence[float]) -> bool:
    # Nearly equal scores may stand in either order, so the order itself is not compared: the best
    # scores must be the expected ones, and the expected items must have them.
    by_item = np.empty(len(release.catalogue), np.float32)
    by_item[found.indexes[0]] = found.scores[0]
    limit = _TOLERANCE * max(1.0, release.manifest.scale)
    best = found.scores[0, : len(top)]
    return _near(best, scores, limit) and _near(by_item[top], scores, limit)


def _near(found: Floats, expected: Sequence[float], tolerance: float) -> bool:
    # False, too, where weights that are finite but absurd made a NaN.
    return bool(np.all(np.abs(found.astype(np.float64) - expected) <= tolerance))


def _unit(vectors: Floats) -> Floats:
    # Keras' epsilon: a vector of zeros stays one.
    squares = np.einsum("ij,ij->i", vectors, vectors)
    unit: Floats = vectors / np.sqrt(np.maximum(squares, np.float32(1e-12)))[:, None]
    return unit


class Record(NamedTuple):
    """A record of the releases topic: its key and its value, None where the key is deleted."""

    key: str
    value: bytes | None


def to_records(number: int, manifest: Manifest, blob: bytes) -> list[Record]:
    """The records of release `number`: its chunks, and last its manifest."""
    chunks = [blob[at : at + CHUNK_BYTES] for at in range(0, len(blob), CHUNK_BYTES)]
    numbered = [Record(f"release/{number:04}/{part:04}", chunk) for part, chunk in enumerate(chunks, 1)]
    return [*numbered, Record(f"release/{number:04}", manifest.to_json())]


def champion(records: Mapping[str, bytes], pointer: str = "@champion") -> int | None:
    """The number of the release that `pointer` names in `records`, the latest value of each key.

    None where there is no such pointer. Raises ReleaseRefused where it cannot be read.
    """
    value = records.get(pointer)
    if value is None:
        return None
    try:
        number = orjson.loads(value)["release"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        number = None
    if type(number) is not int or not 1 <= number <= MAX_NUMBER:
        raise ReleaseRefused("pointer", f'{pointer} holds {value[:80]!r}, it must be like {{"release": 7}}')
    return number


def pointer_value(number: int) -> bytes:
    """What a pointer to release `number` holds."""
    return orjson.dumps({"release": number})


def from_records(records: Mapping[str, bytes], number: int) -> tuple[Manifest, bytes]:
    """The manifest and the blob of release `number`, from the latest value of each key.

    Raises ReleaseRefused where the manifest or a chunk is missing; `verify` checks what was put together.
    """
    key = f"release/{number:04}"
    if key not in records:
        raise ReleaseRefused("missing", f"there is no manifest under {key}")
    manifest = Manifest.from_json(records[key])
    parts = range(1, -(-manifest.size_bytes // CHUNK_BYTES) + 1)
    missing = [part for part in parts if f"{key}/{part:04}" not in records]
    if missing:
        raise ReleaseRefused("missing", f"{len(missing)} of the {len(parts)} chunks of {key} are missing")
    return manifest, b"".join(records[f"{key}/{part:04}"] for part in parts)


def numbers(keys: Iterable[str]) -> list[int]:
    """The numbers of the releases that have any record among `keys`, ascending."""
    found = (re.fullmatch(r"release/(\d+)(?:/\d+)?", key) for key in keys)
    return sorted({int(match[1]) for match in found if match})
