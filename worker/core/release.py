"""A release: one published set of weights and catalogue, packed by the trainer, served by the worker.

A release is a blob of tensors (`worker.core.blob`) and a manifest. `pack` creates blob and manifest; `verify`
turns them into a `Release` that can serve, or refuses them with a reason. In Kafka a release is a set of
records, none larger than a broker accepts by default.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from worker.core.blob import Blob, read, written
from worker.core.catalogue import Catalogue
from worker.core.layers import count_layers
from worker.core.manifest import FORMAT, Golden, Manifest
from worker.core.ranking import NO_ITEM, OwnItems
from worker.core.tables import ServingTables
from worker.core.verification import check_golden, check_tensors
from worker.errors import ReleaseRefused

CHUNK_BYTES: Final = 512 * 1024
"""Maximum size of the part of a blob in one Kafka record, in bytes."""

MAX_NUMBER: Final = 2**31 - 1
"""The highest release number: every user row stores the number in four bytes."""

MAX_HISTORY: Final = 20
"""Maximum number of earlier releases in a pointer."""

CANDIDATE_SHARE: Final = 0.1
"""Default share of users for a candidate whose pointer names no share."""


class Release(ServingTables):
    """A verified release: serving tables and their manifest. Created only by `verify`."""

    def __init__(
        self, manifest: Manifest, catalogue: Catalogue, tensors: Mapping[str, NDArray[Any]], number: int
    ) -> None:
        super().__init__(
            tensors,
            cell=manifest.cell,
            popular=catalogue.indexes(manifest.popular),
            normalize=manifest.normalize,
            scale=manifest.scale,
            co_occurrence_decay=manifest.co_occurrence_decay,
            repeat_bias=manifest.repeat_bias,
            own_items=manifest.own_term,
            list_margin=manifest.list_margin,
        )
        self.manifest = manifest
        self.number = number
        self.catalogue = catalogue
        self.session_gap_ms = round(manifest.session_gap_seconds * 1000)

    def with_training(self, training: Mapping[str, Any]) -> Release:
        """Return a copy of the release with another `training` in its manifest; no verification is needed."""
        again = copy(self)
        again.manifest = replace(self.manifest, training=training)
        return again

    def summary(self) -> dict[str, object]:
        """Return the main properties of the release for a log line."""
        manifest = self.manifest
        return {
            "cell": manifest.cell,
            "layers": manifest.layers,
            "hidden_size": manifest.hidden_size,
            "items": manifest.items,
            "table_bytes": self.table_bytes + self.catalogue.nbytes,
        }


def pack(
    tensors: Mapping[str, NDArray[Any]],
    item_ids: Sequence[str],
    *,
    cell: str,
    output: str,
    normalize: bool,
    scale: float,
    co_occurrence_decay: Sequence[float] = (),
    repeat_bias: Sequence[float] = (),
    own_items: OwnItems = OwnItems(),  # noqa: B008  # immutable
    list_margin: float = 0.0,
    list_recall: float = 0.0,
    session_gap_seconds: float,
    exclude_recent: int = 1,
    popular: Sequence[str],
    golden: Sequence[Golden],
    metrics: Mapping[str, float],
    training: Mapping[str, Any],
    lineage: Mapping[str, Any],
    created_at: str,
) -> tuple[Manifest, bytes]:
    """Return the manifest and the blob of a release. Raises ReleaseRefused for an invalid value.

    `tensors`, in single precision and Keras's layout: `embedding` `[N, D]` (the cell's input), `kernel`
    `[D, gates * H]`, `recurrent_kernel` `[H, gates * H]` and `bias`; for each higher layer, the names with
    its number (`kernel_2` `[H, gates * H]`, ...); optional `output` `[N, H]` and `output_bias` `[N]`;
    optional `transition_items` `[N, E]` (int32, no duplicates in a row, padded with `NO_ITEM`) with
    `transition_scores` `[N, E]`; likewise `co_occurrence_items` and their scores;
    optional `lists` `[N]` (int32), the list of each item.
    """
    blob = _blob(tensors, item_ids)
    manifest = Manifest(
        format=FORMAT,
        cell=cell,
        **_shapes(tensors),
        items=len(item_ids),
        output=output,
        normalize=normalize,
        scale=scale,
        co_occurrence_decay=tuple(co_occurrence_decay),
        repeat_bias=tuple(repeat_bias),
        session_gap_seconds=session_gap_seconds,
        exclude_recent=exclude_recent,
        popular=tuple(popular),
        metrics=metrics,
        training=training,
        lineage=lineage,
        created_at=created_at,
        size_bytes=len(blob),
        sha256=hashlib.sha256(blob).hexdigest(),
        golden=tuple(golden),
        own_items=own_items.clicks,
        own_weight=own_items.weight,
        own_half_life=own_items.half_life,
        list_margin=list_margin,
        list_recall=list_recall,
        own_bonus=own_items.bonus,
    )
    return Manifest.from_json(manifest.to_json()), blob


def _blob(tensors: Mapping[str, NDArray[Any]], item_ids: Sequence[str]) -> bytes:
    try:
        all_tensors = {**tensors, **Catalogue(item_ids).to_tensors()}
    except ValueError as error:
        raise ReleaseRefused("item_ids", f"the item ids cannot be written: {error}") from None
    return written(all_tensors)


def _shapes(tensors: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return the fields of a manifest that its tensors decide."""
    return {
        "layers": count_layers(tensors),
        "hidden_size": tensors["recurrent_kernel"].shape[0],
        "embedding_size": tensors["embedding"].shape[1],
        "output_bias": "output_bias" in tensors,
        "transitions": _entries(tensors, "transition_items"),
        "co_occurrences": _entries(tensors, "co_occurrence_items"),
        "lists": int(tensors["lists"].max()) + 1 if "lists" in tensors else 0,
    }


def _entries(tensors: Mapping[str, NDArray[Any]], name: str) -> int:
    return tensors[name].shape[1] if name in tensors else 0


def verify(manifest: Manifest, blob: Blob, *, number: int = 0) -> Release:
    """Return the release, ready to serve, after checking the blob against everything in the manifest.

    The release does not keep the blob.

    The checks cover size, SHA-256, names, types and shapes of tensors, finite values, item ids, and the
    golden sequences, which run through the code that serves. Raises ReleaseRefused for the first failed
    check.
    """
    if len(blob) != manifest.size_bytes:
        raise ReleaseRefused(
            "size", f"the blob has {len(blob)} bytes, but the manifest says {manifest.size_bytes}"
        )
    digest = hashlib.sha256(blob).hexdigest()
    if digest != manifest.sha256:
        raise ReleaseRefused(
            "checksum", f"the blob has SHA-256 {digest}, but the manifest says {manifest.sha256}"
        )
    tensors = read(blob)
    check_tensors(manifest, tensors)
    catalogue = _catalogue(tensors)
    unknown = [item_id for item_id in manifest.popular if catalogue.indexes([item_id])[0] == NO_ITEM]
    if unknown:
        raise ReleaseRefused("item_ids", f"the popular items {unknown[:3]} are not in the catalogue")
    # The tables may keep views of what they get, and a view would keep the whole blob. Only the output
    # vectors are copied by the tables themselves.
    tensors = {name: tensor if name == "output" else tensor.copy() for name, tensor in tensors.items()}
    # Finite weights may still overflow; then the golden answers are wrong, and the release is refused.
    with np.errstate(over="ignore", invalid="ignore"):
        release = Release(manifest, catalogue, tensors, number)
        check_golden(release, catalogue, manifest)
    return release


def _catalogue(tensors: Mapping[str, NDArray[Any]]) -> Catalogue:
    try:
        return Catalogue.from_tensors(tensors["item_ids"], tensors["item_id_starts"])
    except ValueError as error:
        raise ReleaseRefused("item_ids", f"the item ids cannot be read: {error}") from None


class Record(NamedTuple):
    """A record of the releases topic: its key and its value. A value of None deletes the key."""

    key: str
    value: bytes | None


def to_records(number: int, manifest: Manifest, blob: Blob) -> Iterator[Record]:
    """Yield the records of release `number`: its chunks, then its manifest."""
    for part, at in enumerate(range(0, len(blob), CHUNK_BYTES), 1):
        yield Record(chunk_key(number, part), bytes(blob[at : at + CHUNK_BYTES]))
    yield Record(f"release/{number:04}", manifest.to_json())


def chunk_key(number: int, part: int) -> str:
    """Return the key of a chunk of release `number`; parts are numbered from 1."""
    return f"release/{number:04}/{part:04}"


class Pointer(NamedTuple):
    """The release to which `@champion` or `@candidate` points.

    `share`: the share of users that a candidate serves. `previous`: the release before this one, the target
    of a rollback. `earlier`: the releases before `previous`, newest first.
    """

    release: int
    share: float | None = None
    previous: int | None = None
    earlier: tuple[int, ...] = ()

    @property
    def history(self) -> tuple[int, ...]:
        """The earlier releases, newest first."""
        return () if self.previous is None else (self.previous, *self.earlier)

    def moved(self, number: int, share: float | None = None) -> Pointer:
        """Return a pointer to release `number`.

        If the history has this release, this is a step back, and the later releases are removed from the
        history. So the next step back goes further back.
        """
        if number == self.release:
            history = self.history
        elif number in self.history:
            history = self.history[self.history.index(number) + 1 :]
        else:
            history = (self.release, *self.history)[:MAX_HISTORY]
        return Pointer(number, share, history[0] if history else None, history[1:])

    def value(self) -> bytes:
        """Return the pointer as a record's value."""
        return orjson.dumps(
            {name: value for name, value in self._asdict().items() if value not in (None, ())}
        )


def parse_pointer(value: bytes) -> Pointer:
    """Parse the value of a pointer, of which only `release` is required. Raises ReleaseRefused."""
    try:
        document = orjson.loads(value)
        earlier = tuple(document.get("earlier", ()))
        found = Pointer(document["release"], document.get("share"), document.get("previous"), earlier)
    except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
        found = Pointer(0)
    numbers_named = [found.release, *found.history]
    if not all(type(number) is int and 1 <= number <= MAX_NUMBER for number in numbers_named):
        raise ReleaseRefused("pointer", f'a pointer is {value[:80]!r}; it must be like {{"release": 7}}')
    share = 1 if found.share is None else found.share
    if type(share) not in (int, float) or not 0 < share <= 1:
        raise ReleaseRefused("pointer", f"a pointer's share is {share!r}; it must be above 0 and at most 1")
    return found


def from_records(records: Mapping[str, bytes], number: int) -> tuple[Manifest, Blob]:
    """Return the manifest and the blob of release `number`, given the latest value of each key.

    Raises ReleaseRefused if the manifest or a chunk is missing; the contents are checked by `verify`.
    """
    key = f"release/{number:04}"
    if key not in records:
        raise ReleaseRefused("missing", f"there is no manifest with the key {key}")
    manifest = Manifest.from_json(records[key])
    keys = {part: chunk_key(number, part) for part in parts_of(manifest)}
    chunks = {part: records[key] for part, key in keys.items() if key in records}
    require_parts(manifest, number, chunks)
    return manifest, assembled(manifest, number, chunks.items())


def parts_of(manifest: Manifest) -> range:
    """Return the numbers of the chunks of a release."""
    return range(1, -(-manifest.size_bytes // CHUNK_BYTES) + 1)


def require_parts(manifest: Manifest, number: int, found: Collection[int]) -> None:
    """Raise ReleaseRefused if a chunk of release `number` is not among `found`."""
    parts = parts_of(manifest)
    if missing := sum(part not in found for part in parts):
        key = f"release/{number:04}"
        raise ReleaseRefused("missing", f"{missing} of the {len(parts)} chunks of {key} are missing")


def assembled(manifest: Manifest, number: int, chunks: Iterable[tuple[int, bytes]]) -> memoryview:
    """Return the blob of release `number` from its chunks, in any order, each with the number of its part.

    The chunks go into one piece of memory, and need not be in memory all at once. Raises ReleaseRefused if a
    chunk is missing, or has another size than the manifest says.
    """
    # Memory of NumPy's takes no time until it is written to; a bytearray would be filled with zeros at once.
    blob, found = np.empty(manifest.size_bytes, np.uint8).data, set[int]()
    for part, chunk in chunks:
        begin = (part - 1) * CHUNK_BYTES
        size = min(CHUNK_BYTES, manifest.size_bytes - begin)
        if len(chunk) != size:
            raise ReleaseRefused(
                "size",
                f"chunk {part} of release {number} has {len(chunk)} bytes, but must have {size}: the "
                f"manifest says that the blob has {manifest.size_bytes} bytes",
            )
        blob[begin : begin + size] = chunk
        found.add(part)
    require_parts(manifest, number, found)
    return blob


def numbers(keys: Iterable[str]) -> list[int]:
    """Return the numbers of all releases to which one of the record `keys` belongs, ascending."""
    found = (re.fullmatch(r"release/(\d+)(?:/\d+)?", key) for key in keys)
    return sorted({int(match[1]) for match in found if match})
