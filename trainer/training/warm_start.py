"""Warm start: a training that starts from the weights of a release, with its network shape and its items.

New items and feature vectors are newly initialised, because the release has no weights for them. A release
stores item vectors with the features already added; these vectors become the embeddings of the items.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from trainer.config import FitSettings, recorded
from trainer.config.fitting import keys_with
from trainer.dataset.dataset import Data
from trainer.dataset.features import Features
from trainer.dataset.sessions import Sessions
from trainer.model.item_vectors import ItemVectors
from trainer.model.network import CELL_TENSORS, Network
from worker.core.blob import Blob, read
from worker.core.catalogue import Catalogue
from worker.core.cells import Floats
from worker.core.manifest import Manifest
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.release import Release
from worker.errors import SettingError
from worker.settings.fields import value_of

SHAPE: Final = frozenset(keys_with("shape"))
"""The settings that a warm-started training must take from the release."""


def shaped_as(manifest: Manifest, settings: FitSettings, asked: Collection[str]) -> dict[str, Any]:
    """Return the `SHAPE` settings, by key without section, for a training from the release of `manifest`.

    `asked`: the keys that the user set explicitly. Raises SettingError if the user gave one of the `SHAPE`
    settings another value.
    """
    names = [key.partition(".")[2] for key in SHAPE]
    # A manifest of format 1 has no `layers`: the network has one layer.
    shape = {name: getattr(manifest, name, 1) for name in names} | {"output_table": manifest.output}
    # Bias and scale in the manifest include the blend; the values of the network alone are in its settings.
    own = manifest.training.get("settings", {})
    known = {name: recorded(own, f"model.{name}") for name in ("output_bias", "scale")}
    shape |= {name: value for name, value in known.items() if value is not None}
    if manifest.embedding_size == manifest.hidden_size:
        shape["embedding_size"] = None
    if not manifest.normalize:
        shape["scale"] = settings.model.scale
    for key, name in zip(SHAPE, names, strict=True):
        given = value_of(settings, key)
        spelled_out = name == "embedding_size" and given == manifest.embedding_size
        if key in asked and given != shape[name] and not spelled_out:
            raise SettingError(
                f"{key} is {given!r}, but the release to start from has {shape[name]!r}; "
                "leave the setting out, or train from the start"
            )
    return shape


def begin_with(network: Network, manifest: Manifest, blob: Blob) -> None:
    """Copy the weights of a release into `network`.

    `network` must have the release's shape, and its catalogue must start with the release's items.

    A learned bias is not copied if the blend of the release has popularity terms: the release stores only the
    sum of bias and popularity.
    """
    tensors = read(blob)
    for layer, cell in enumerate(network.cells, start=1):
        cell.set_weights([tensors[name if layer == 1 else f"{name}_{layer}"] for name in CELL_TENSORS])
    _take(network.inputs_of, tensors["embedding"])
    if "output" in tensors:
        _take(network.outputs_of, tensors["output"])
    blend = manifest.training.get("blend", {})
    if network.bias is not None and not blend.get("popularity"):
        known = tensors["output_bias"] / np.float32(blend.get("network", 1.0))
        fresh = np.full(network.bias.shape[0] - len(known), known.min(), np.float32)
        network.bias.assign(np.append(known, fresh))


def is_exact(manifest: Manifest, settings: FitSettings) -> bool:
    """Return whether a network that begins with the release of `manifest` has the scores of the release.

    With item features it does not: their vectors are newly initialised, and added to vectors that have the
    features already. Nor does it with a learned bias if the blend has popularity terms (`begin_with`).
    """
    popularity = manifest.training.get("blend", {}).get("popularity")
    return not (settings.features.any or (settings.model.output_bias and popularity))


def _take(vectors: ItemVectors, rows: Floats) -> None:
    vectors.own.assign(np.concatenate([rows, vectors.own.numpy()[len(rows) :]]))


def items_of(release: Release) -> list[str]:
    """Return the item ids of a release, in catalogue order."""
    return release.catalogue.ids(np.arange(len(release.catalogue))).tolist()


def grown(data: Data, known: Sequence[str]) -> Data:
    """Return `data` over a catalogue of the `known` items, in that order, followed by the new items."""
    ids = data.catalogue.ids(np.arange(len(data.catalogue))).tolist()
    old = set(known)
    new = [item_id not in old for item_id in ids]
    catalogue = Catalogue([*known, *(item_id for item_id, is_new in zip(ids, new, strict=True) if is_new)])
    places, sources = catalogue.indexes(ids), data.catalogue.indexes(catalogue.ids(np.arange(len(catalogue))))
    parts: dict[str, Any] = {
        name: _moved(getattr(data, name), places) for name in ("train", "validation", "test")
    }
    features = _rows(data.features, sources) if data.features else None
    never_clicked = sum(new[data.clicked_items :])
    return replace(data, catalogue=catalogue, features=features, never_clicked=never_clicked, **parts)


def _moved(sessions: Sessions, places: Indexes) -> Sessions:
    # `NO_ITEM` is -1, so it indexes the added last entry.
    to = np.append(places, np.int32(NO_ITEM))
    history = sessions.history and sessions.history._replace(items=to[sessions.history.items])
    return replace(sessions, items=to[sessions.items], history=history)


def _rows(features: Features, sources: Indexes) -> Features:
    """Return the features of the items at the indexes `sources`; `NO_ITEM` gives an item without features."""
    known = sources != NO_ITEM
    numeric = np.where(known[:, None], features.numeric[sources], np.float32(0))
    columns = []
    for column in features.categorical:
        lengths = np.where(known, np.diff(column.starts)[sources], 0)
        starts = np.append(0, np.cumsum(lengths))
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
        indexes = column.indexes[np.repeat(column.starts[:-1][sources], lengths) + within]
        columns.append(column._replace(indexes=indexes, starts=starts))
    return features._replace(categorical=tuple(columns), numeric=numeric)
