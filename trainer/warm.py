"""A training that begins where a release ended: the same network, its items at their places.

What a release has no number for begins fresh: items that it did not know, and features. Its item rows
have their features folded in, so they are taken as rows of the items' own.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np
from safetensors.numpy import load

from trainer.config import FitSettings
from trainer.items import ItemVectors
from trainer.network import CELL_TENSORS, Network
from worker.core.cells import Floats
from worker.core.manifest import Manifest
from worker.errors import SettingError

SHAPE: Final = (
    *("cell", "layers", "hidden_size", "embedding_size", "output", "output_bias", "normalize", "scale"),
)
"""The settings that a release decides for all that are trained from it."""


def shaped_as(manifest: Manifest, settings: FitSettings, asked: Collection[str]) -> dict[str, Any]:
    """What `SHAPE` must be to begin with the release of `manifest`.

    Raises SettingError where one of the settings that were `asked` for by name is another.
    """
    shape = {name: getattr(manifest, name) for name in SHAPE}
    if manifest.output == "tied":
        shape["embedding_size"] = None
    if not manifest.normalize:
        shape["scale"] = settings.scale
    for name in SHAPE:
        if name in asked and getattr(settings, name) not in (shape[name], getattr(manifest, name)):
            raise SettingError(
                f"{name} is {getattr(settings, name)!r}, the release to begin with has {shape[name]!r}: "
                "leave it out, or train from the start"
            )
    return shape


def begin_with(network: Network, blob: bytes) -> None:
    """Give a `network` of the right shape the weights in the `blob` of a release; its items come first."""
    tensors = load(blob)
    for layer, cell in enumerate(network.cells, start=1):
        cell.set_weights([tensors[name if layer == 1 else f"{name}_{layer}"] for name in CELL_TENSORS])
    _take(network.inputs_of, tensors["embedding"])
    if "output" in tensors:
        _take(network.outputs_of, tensors["output"])
    if network.bias is not None:
        known = tensors["output_bias"]
        fresh = np.full(network.bias.shape[0] - len(known), known.min(), np.float32)
        network.bias.assign(np.append(known, fresh))


def _take(vectors: ItemVectors, rows: Floats) -> None:
    vectors.own.assign(np.concatenate([rows, vectors.own.numpy()[len(rows) :]]))
