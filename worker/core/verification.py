"""Verification: before a release serves, its tensors must match its manifest and give the golden answers.

`worker.core.release.verify` runs all checks. Every check raises ReleaseRefused for its first failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worker.core.blob import ITEM_VECTORS
from worker.core.catalogue import Catalogue
from worker.core.cells import CELLS, Floats
from worker.core.layers import names_of_layer
from worker.core.manifest import Golden, Manifest
from worker.core.ranking import NO_ITEM, Indexes, TopK
from worker.core.tables import ServingTables
from worker.errors import Refusal, ReleaseRefused

_TOLERANCE: Final = 1e-3
"""Tolerance of golden answers: other kernels round differently, while wrong weights are far off."""

_CHECKED_ROWS: Final = 1 << 16

_GOLDEN_RECALL: Final = 0.5
"""Least share of the golden answers that approximate ranking finds; of a few answers, more is no promise."""


def check_tensors(manifest: Manifest, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Check names, types, shapes and values of the tensors against `manifest`. Raises ReleaseRefused."""
    expected = _expected_tensors(manifest)
    if tensors.keys() != expected.keys():
        missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
        raise ReleaseRefused(
            "tensors", f"the blob lacks the tensors {missing} and has unknown tensors {extra}"
        )
    for name, (dtype, shape) in expected.items():
        tensor = tensors[name]
        fits = len(tensor.shape) == len(shape) and all(
            asked in (None, size) for asked, size in zip(shape, tensor.shape, strict=True)
        )
        is_half = name in ITEM_VECTORS and tensor.dtype == np.float16
        if not (tensor.dtype == dtype or is_half) or not fits:
            found = f"{tensor.dtype} {list(tensor.shape)}"
            asked = f"{dtype} {list(shape)}"
            raise ReleaseRefused("shape", f"the tensor {name} is {found}, but the manifest requires {asked}")
    check_finite(tensors)
    if manifest.lists:
        _check_lists(manifest, tensors["lists"])
    for reason, name in _item_rows(manifest).items():
        _check_items(manifest, reason, name, tensors[name])


def check_finite(tensors: Mapping[str, NDArray[Any]]) -> None:
    """Check that all weights are finite numbers. Raises ReleaseRefused."""
    for name, tensor in tensors.items():
        # In parts, because the test takes as much memory again as a quarter or half of the tensor.
        parts = (tensor[at : at + _CHECKED_ROWS] for at in range(0, len(tensor), _CHECKED_ROWS))
        if tensor.dtype.kind == "f" and not all(np.isfinite(part).all() for part in parts):
            raise ReleaseRefused("not_finite", f"the tensor {name} has values that are not finite numbers")


def _expected_tensors(manifest: Manifest) -> dict[str, tuple[np.dtype[Any], tuple[int | None, ...]]]:
    """Return the type and shape of each tensor; None in a shape means any length.

    Item vectors may also be in half precision.
    """
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
    if manifest.lists:
        expected["lists"] = (np.dtype(np.int32), (items,))
    for reason, name in _item_rows(manifest).items():
        entries = getattr(manifest, reason)
        expected[name] = (np.dtype(np.int32), (items, entries))
        expected[name.replace("items", "scores")] = (single, (items, entries))
    return expected


def _item_rows(manifest: Manifest) -> dict[Refusal, str]:
    """Return the tensors with a row of other items for each item, by the field with the rows' length."""
    names: dict[Refusal, str] = {
        "transitions": "transition_items",
        "co_occurrences": "co_occurrence_items",
    }
    return {field: name for field, name in names.items() if getattr(manifest, field)}


def _check_lists(manifest: Manifest, lists: Indexes) -> None:
    if lists.min() < 0 or lists.max() >= manifest.lists:
        raise ReleaseRefused(
            "lists",
            f"the tensor lists has numbers from {lists.min()} to {lists.max()}, but lists are 0 to "
            f"{manifest.lists - 1}",
        )


def _check_items(manifest: Manifest, reason: Refusal, name: str, items: Indexes) -> None:
    ordered = np.sort(items, axis=1)
    lowest, highest = int(ordered.min()), int(ordered.max())
    if lowest < NO_ITEM or highest >= manifest.items:
        raise ReleaseRefused(
            reason,
            f"the tensor {name} has numbers from {lowest} to {highest}, "
            f"but items are 0 to {manifest.items - 1}, and padding is {NO_ITEM}",
        )
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_ITEM)
    if twice.any():
        row = int(twice.any(axis=1).argmax())
        raise ReleaseRefused(reason, f"row {row} of the tensor {name} has an item twice")


def check_golden(tables: ServingTables, catalogue: Catalogue, manifest: Manifest) -> None:
    """Run the golden sequences of `manifest` through `tables`. Raises ReleaseRefused for a wrong answer."""
    tolerance, found = _TOLERANCE * max(1.0, manifest.scale), list[bool]()
    for golden in manifest.golden:
        found += _check_answer(tables, catalogue, golden, tolerance)
    if found and np.mean(found) < _GOLDEN_RECALL:
        raise ReleaseRefused(
            "golden",
            f"with its lists, the release recommends only {sum(found)} of the {len(found)} items that the "
            "golden sequences expect",
        )


def _check_answer(
    tables: ServingTables, catalogue: Catalogue, golden: Golden, tolerance: float
) -> list[bool]:
    """Check one answer; if there are lists, return whether approximate ranking finds each of its items."""
    clicked, top = catalogue.indexes(golden.items), catalogue.indexes(golden.top)
    if NO_ITEM in clicked or NO_ITEM in top:
        raise ReleaseRefused("golden", f"the golden sequence {list(golden.items)[:5]} has unknown items")
    if len(golden.top) != len(golden.scores) or len(set(golden.top)) != len(golden.top):
        raise ReleaseRefused(
            "golden", f"the golden answer {list(golden.top)[:5]} must have distinct items, each with a score"
        )
    state = np.zeros((1, tables.state_size), np.float32)
    for index in clicked:
        state = tables.step(tables.inputs(index[None]), state)
    if len(golden.hidden) != tables.state_size or not _near(state[0], golden.hidden, _TOLERANCE):
        raise ReleaseRefused(
            "golden",
            f"after the golden sequence {list(golden.items)[:5]}, the hidden state is not the one in "
            "the manifest",
        )
    recent = _newest_first(clicked, tables.recent_needed)
    own = _newest_first(clicked, tables.own_needed)
    found = tables.rank(state, len(catalogue), recent=recent, own=own)
    if not _same_answer(found, top, golden.scores, tolerance):
        best = catalogue.ids(found.indexes[0, :3]).tolist()
        raise ReleaseRefused(
            "golden",
            f"after the golden sequence {list(golden.items)[:5]}, the worker recommends {best}, but the "
            f"manifest expects {list(golden.top)[:3]}; items or scores differ",
        )
    if not tables.approximates("approximate"):
        return []
    near = tables.rank(state, len(top), recent=recent, own=own, approximate=True)
    if not _same_scores(near, found, tolerance):
        raise ReleaseRefused("golden", "the scores of approximate ranking are not those of exact ranking")
    return np.isin(top, near.indexes[0]).tolist()


def _newest_first(clicked: Indexes, count: int) -> Indexes:
    recent = np.full((1, count), NO_ITEM, np.int32)
    last = clicked[::-1][:count]
    recent[0, : len(last)] = last
    return recent


def _same_answer(found: TopK, top: Indexes, scores: Sequence[float], tolerance: float) -> bool:
    # Nearly equal scores may be in either order, so the order itself is not compared: the best scores
    # must be as expected, and the expected items must have these scores.
    best = found.scores[0, : len(top)]
    return _near(best, scores, tolerance) and _near(_by_item(found)[top], scores, tolerance)


def _same_scores(near: TopK, found: TopK, tolerance: float) -> bool:
    return _near(near.scores[0], _by_item(found)[near.indexes[0]].tolist(), tolerance)


def _by_item(found: TopK) -> Floats:
    """Return the score of each item, for one row of all items."""
    scores = np.empty(found.indexes.shape[1], np.float32)
    scores[found.indexes[0]] = found.scores[0]
    return scores


def _near(found: Floats, expected: Sequence[float], tolerance: float) -> bool:
    # False for NaN, too, which finite but extreme weights may cause.
    return bool(np.all(np.abs(found.astype(np.float64) - expected) <= tolerance))
