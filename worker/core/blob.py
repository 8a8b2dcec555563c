"""The blob of a release: its tensors in the format safetensors, which cannot contain code.

The tensors of a blob are read as views of its memory: a blob of hundreds of megabytes is not copied, and no
long call keeps other threads waiting. The format: https://huggingface.co/docs/safetensors, "Format".

The item vectors of a large catalogue are stored in half precision. The trainer rounds them (`rounded`) before
it measures the network, so the figures of a release are those of the numbers that are served.

    >>> blob = written({"bias": np.array([0.5, 2.0], np.float32)})
    >>> {name: tensor.tolist() for name, tensor in read(blob).items()}
    {'bias': [0.5, 2.0]}
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors.numpy import save

from worker.core.tables import EXACT_NUMBERS
from worker.errors import ReleaseRefused

Blob = bytes | memoryview

ITEM_VECTORS: Final = ("embedding", "output")
"""The tensors that may be in half precision."""

_LENGTH: Final = struct.Struct("<Q")
_TYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{kind}{8 * size}": np.dtype(f"{kind.lower()}{size}") for kind in "IU" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"f{size}") for size in (2, 4, 8)},
}
"""NumPy's types by their names in the format. The types that NumPy lacks are refused."""


def written(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the blob with these tensors.

    Item vectors of a large catalogue are written in half precision if that changes no number.
    """
    return save({name: np.ascontiguousarray(_compact(name, tensor)) for name, tensor in tensors.items()})


def read(blob: Blob) -> dict[str, NDArray[Any]]:
    """Return the tensors of a blob as views of its memory. Raises ReleaseRefused if it cannot be read."""
    try:
        (length,) = _LENGTH.unpack_from(blob)
        begin = _LENGTH.size + length
        # Only the header is copied.
        header = orjson.loads(blob[_LENGTH.size : begin])
        header.pop("__metadata__", None)
        ends = [begin + one["data_offsets"][1] for one in header.values()]
        if max(ends, default=begin) != len(blob):
            raise ValueError("the tensors do not end where the blob ends")
        return {name: _view(blob, begin, **one) for name, one in header.items()}
    except (struct.error, AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise ReleaseRefused("tensors", f"the blob cannot be read as safetensors: {error!r}") from None


def rounded(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the tensors with the item vectors of a large catalogue rounded to half precision.

    The type stays single precision. A table with a number beyond the range of half precision stays as it is.
    """
    found = dict(tensors)
    for name in ITEM_VECTORS:
        if name in found and found[name].size > EXACT_NUMBERS:
            # A number out of range becomes infinite; then the table is kept.
            with np.errstate(over="ignore"):
                half = found[name].astype(np.float16)
            if np.isfinite(half).all():
                found[name] = half.astype(np.float32)
    return found


def _compact(name: str, tensor: NDArray[Any]) -> NDArray[Any]:
    if name not in ITEM_VECTORS or tensor.size <= EXACT_NUMBERS:
        return tensor
    with np.errstate(over="ignore"):
        half = tensor.astype(np.float16)
    return half if np.array_equal(half, tensor) else tensor


def _view(
    blob: Blob, begin: int, dtype: str, shape: list[int], data_offsets: tuple[int, int]
) -> NDArray[Any]:
    first, last = data_offsets
    kind = _TYPES[dtype]
    if not all(type(size) is int and size >= 0 for size in [first, *shape]):
        raise ValueError(f"a tensor has the shape {shape} and begins at {first}")
    if last - first != math.prod(shape) * kind.itemsize:
        raise ValueError(f"a tensor of type {dtype} and shape {shape} has {last - first} bytes")
    return np.ndarray(shape, kind, buffer=blob, offset=begin + first)
