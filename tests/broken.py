"""Releases that no worker may serve: each broken in its own way, as anyone could write it into the topic."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import orjson
from safetensors.numpy import load, save

from tests.builders import item_names, tiny_release_parts
from worker.core.manifest import FORMAT, Manifest
from worker.core.release import CHUNK_BYTES, Pointer, Record, to_records

Parts = tuple[Manifest, bytes]
Records = list[Record]

# With two chunks and more, so that they can be lost and mixed up.
GOOD: Final = tiny_release_parts(
    item_names(9_000), hidden_size=16, output="separate", output_bias=True, popular=["item-1", "item-2"]
)


def tensors(**changed: Any) -> Parts:
    """The good release with other tensors, whose size and sum the manifest has; None: without."""
    held: dict[str, Any] = {**load(GOOD[1]), **changed}
    blob = save({name: np.ascontiguousarray(one) for name, one in held.items() if one is not None})
    return replace(GOOD[0], size_bytes=len(blob), sha256=hashlib.sha256(blob).hexdigest()), blob


def tensor(name: str) -> Any:
    """A copy of one of the good release's tensors."""
    return load(GOOD[1])[name].copy()


def poisoned(name: str, value: float) -> Parts:
    """One number of a tensor is that."""
    changed = tensor(name)
    changed.flat[3] = value
    return tensors(**{name: changed})


def item_ids(ids: list[str]) -> Parts:
    """The good release with other item ids."""
    encoded = [one.encode() for one in ids]
    starts = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return tensors(item_ids=np.frombuffer(b"".join(encoded), np.uint8), item_id_starts=starts)


def golden(**changed: Any) -> Parts:
    """The good release whose first golden answer differs."""
    manifest, blob = GOOD
    return replace(manifest, golden=(replace(manifest.golden[0], **changed), *manifest.golden[1:])), blob


def document(number: int, **changed: Any) -> Records:
    """The good release with other fields in its manifest; None: without."""
    held = {**orjson.loads(GOOD[0].to_json()), **changed}
    text = orjson.dumps({name: value for name, value in held.items() if value is not None})
    return with_record(number, f"release/{number:04}", text)


def with_record(number: int, key: str, value: bytes | None) -> Records:
    """The good release with another value under one key."""
    return [Record(one.key, value) if one.key == key else one for one in to_records(number, *GOOD)]


def first_chunk(number: int, change: Callable[[bytes], bytes | None]) -> Records:
    """The good release with another first chunk."""
    return with_record(number, f"release/{number:04}/0001", change(GOOD[1][:CHUNK_BYTES]))


def mixed_up(number: int) -> Records:
    """Chunks one and two of the good release under each other's keys."""
    one, two, *rest = to_records(number, *GOOD)
    return [Record(one.key, two.value), Record(two.key, one.value), *rest]


def _parts(parts: Parts) -> Callable[[int], Records]:
    return lambda number: [*to_records(number, *parts)]


def _shuffled(name: str) -> Parts:
    return tensors(**{name: np.random.default_rng(1).permutation(tensor(name))})


IDS: Final = [*item_names(9_000)]

RELEASES: Final[Mapping[str, tuple[str, Callable[[int], Records]]]] = {
    "a chunk is shorter": ("size", lambda n: first_chunk(n, lambda chunk: chunk[:-1])),
    "a chunk is longer": ("size", lambda n: first_chunk(n, lambda chunk: chunk + b"x")),
    "a bit is flipped": (
        "checksum",
        lambda n: first_chunk(n, lambda chunk: chunk[:-1] + bytes([chunk[-1] ^ 1])),
    ),
    "chunks are mixed up": ("checksum", mixed_up),
    "a chunk is missing": ("missing", lambda n: first_chunk(n, lambda _: None)),
    "the manifest is missing": ("missing", lambda n: [*to_records(n, *GOOD)][:-1]),
    "there is nothing": ("missing", lambda _: []),
    "it is said to be ten times larger": ("missing", lambda n: document(n, size_bytes=10 * len(GOOD[1]))),
    "the manifest is no JSON": ("manifest", lambda n: with_record(n, f"release/{n:04}", b"{")),
    "the manifest lacks a field": ("manifest", lambda n: document(n, cell=None)),
    "the manifest has a field too many": ("manifest", lambda n: document(n, shell="x")),
    "the cell is unknown": ("manifest", lambda n: document(n, cell="transformer")),
    "the scale is absurd": ("manifest", lambda n: document(n, scale=1e9)),
    "nothing proves it": ("manifest", lambda n: document(n, golden=[])),
    "the format is older": ("format", lambda n: document(n, format=FORMAT - 1)),
    "the format is newer": ("format", lambda n: document(n, format=FORMAT + 1)),
    "the blob is something else": (
        "tensors",
        _parts((replace(GOOD[0], size_bytes=4, sha256=hashlib.sha256(b"sofa").hexdigest()), b"sofa")),
    ),
    "a tensor is missing": ("tensors", _parts(tensors(bias=None))),
    "a tensor is too many": ("tensors", _parts(tensors(more=np.zeros(1, np.float32)))),
    "a tensor has another shape": ("shape", _parts(tensors(kernel=tensor("kernel").T))),
    "a tensor has another type": ("shape", _parts(tensors(kernel=tensor("kernel").astype(np.float64)))),
    "a weight is NaN": ("not_finite", _parts(poisoned("kernel", np.nan))),
    "a weight is infinite": ("not_finite", _parts(poisoned("output_bias", np.inf))),
    "an item id comes twice": ("item_ids", _parts(item_ids([*IDS[:-1], IDS[0]]))),
    "an item id is missing": ("item_ids", _parts(item_ids([*IDS[:-1], ""]))),
    "a popular item is unknown": ("item_ids", lambda n: document(n, popular=["sofa"])),
    "the golden state is another": ("golden", _parts(golden(hidden=(0.5,) * 16))),
    "the golden scores are others": ("golden", _parts(golden(scores=(9.0,) * 10))),
    "the golden items are unknown": ("golden", _parts(golden(items=("sofa",)))),
    "weights are shuffled": ("golden", _parts(_shuffled("recurrent_kernel"))),
    "items are shuffled": ("golden", _parts(_shuffled("embedding"))),
    "weights are ten times too large": ("golden", _parts(tensors(kernel=10 * tensor("kernel")))),
    "weights overflow": ("golden", _parts(tensors(kernel=1e38 * tensor("kernel")))),
}
"""By what is wrong: the reason that must be given, and the records, under a number that is free."""

POINTERS: Final[Mapping[str, bytes]] = {
    "it is no JSON": b"7",
    "it names no number": b'{"release": "seven"}',
    "its share is absurd": Pointer(1, share=7.0).value(),
}
"""By what is wrong: the value of a pointer; the reason must be `pointer`."""
