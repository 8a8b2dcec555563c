"""What does not hold of a release is found before it serves, with a reason of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from tests.builders import (
    ITEMS,
    Options,
    packed,
    tiny_release_parts,
    tiny_tensors,
)
from worker.core.blob import ITEM_VECTORS
from worker.core.cells import CELLS
from worker.core.manifest import Manifest
from worker.core.ranking import NO_ITEM, OwnItems
from worker.core.release import verify
from worker.errors import ReleaseRefused

SEPARATE: Options = {
    "layers": 2,
    "transitions": 4,
    "co_occurrences": 4,
    "co_occurrence_decay": (1.0, 0.5, 0.25),
    "repeat_bias": (-0.5, 2.0),
    "own_items": OwnItems(5, 1.5, 4.0, 0.5),
    "output": "separate",
    "output_bias": True,
    "embedding_size": 5,
}
GOOD, BLOB = tiny_release_parts(**SEPARATE)
TENSORS: Mapping[str, Any] = load(BLOB)
WEIGHTS = [name for name, tensor in TENSORS.items() if tensor.dtype == np.float32]


def refusal(manifest: Manifest, blob: bytes) -> ReleaseRefused:
    """Why the release does not serve."""
    with pytest.raises(ReleaseRefused) as refused:
        verify(manifest, blob)
    return refused.value


def with_blob(blob: bytes) -> tuple[Manifest, bytes]:
    """The good manifest, made to fit another blob: what a wrong trainer might have published."""
    return replace(GOOD, size_bytes=len(blob), sha256=hashlib.sha256(blob).hexdigest()), blob


def with_tensors(**tensors: Any) -> tuple[Manifest, bytes]:
    """The good release with other tensors; None takes one away."""
    changed = {**TENSORS, **tensors}
    return with_blob(save({name: tensor for name, tensor in changed.items() if tensor is not None}))


def with_items(*item_ids: str) -> tuple[Manifest, bytes]:
    """The good release with these bytes as item ids, whatever a catalogue says of them."""
    encoded = [item_id.encode() for item_id in item_ids]
    starts = np.cumsum([0, *map(len, encoded)])
    return with_tensors(item_ids=np.frombuffer(b"".join(encoded), np.uint8), item_id_starts=starts)


def poked(name: str, value: float) -> tuple[Manifest, bytes]:
    """The good release with one number of a tensor replaced."""
    tensor = TENSORS[name].copy()
    tensor.flat[-1] = value
    return with_tensors(**{name: tensor})


DAMAGES: dict[str, tuple[bytes, str]] = {
    "a byte less": (BLOB[:-1], "size"),
    "a byte more": (BLOB + b"\0", "size"),
    "nothing": (b"", "size"),
    "the first bit": (bytes([BLOB[0] ^ 0x80]) + BLOB[1:], "checksum"),
    "the last bit": (BLOB[:-1] + bytes([BLOB[-1] ^ 1]), "checksum"),
}


@pytest.mark.parametrize(("blob", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_blob_is_refused(blob: bytes, reason: str) -> None:
    """A byte lost, a byte more, nothing at all, a single bit turned at either end."""
    assert refusal(GOOD, blob).reason == reason


def test_another_releases_blob_is_refused() -> None:
    """Of the same size."""
    others: Options = {**SEPARATE, "seed": 1}
    _, other = tiny_release_parts(**others)

    assert len(other) == len(BLOB)
    assert refusal(GOOD, other).reason == "checksum"


@pytest.mark.parametrize(
    "blob", [b"", b"\0" * 7, b"\0" * 100, b"\xff" * 100, b"PK\x03\x04" * 30, BLOB[:-4], BLOB + b"\0" * 4]
)
def test_a_blob_that_is_no_safetensors_file_is_refused(blob: bytes) -> None:
    """Though its size and checksum are as the manifest says."""
    manifest = replace(GOOD, size_bytes=len(blob), sha256=hashlib.sha256(blob).hexdigest())

    assert refusal(manifest, blob).reason == "tensors"


@pytest.mark.parametrize("kind", [b"BF16", b"F8_E4M3", b"F8_E5M2", b"C128", b"WHAT"])
def test_numbers_of_a_type_that_numpy_lacks_are_refused(kind: bytes) -> None:
    """With a reason, not with whatever the library raises for them."""
    header = b'{"bias":{"dtype":"' + kind + b'","shape":[],"data_offsets":[0,2]}}'
    blob = len(header).to_bytes(8, "little") + header + b"\0\0"

    assert refusal(*with_blob(blob)).reason in {"tensors", "shape"}


@pytest.mark.parametrize("name", TENSORS)
def test_a_release_without_one_of_its_tensors_is_refused(name: str) -> None:
    """The text names it."""
    refused = refusal(*with_tensors(**{name: None}))

    assert refused.reason == "tensors"
    assert name in str(refused)


def test_a_tensor_too_many_is_refused() -> None:
    """It was meant for something; the same is an output table beside a tied one."""
    assert refusal(*with_tensors(surprise=np.zeros(3, np.float32))).reason == "tensors"
    assert refusal(replace(GOOD, output="tied"), BLOB).reason == "tensors"
    assert refusal(replace(GOOD, output_bias=False), BLOB).reason == "tensors"


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize(
    "reshape",
    [
        lambda tensor: tensor[:-1],
        lambda tensor: tensor[None],
        lambda tensor: tensor.reshape(-1)[0],
        lambda tensor: tensor.reshape(-1)[:0],
        lambda tensor: tensor.astype(np.float64),
        lambda tensor: tensor.astype(np.float16),
        lambda tensor: tensor.astype(np.int16),
    ],
    ids=["shorter", "nested", "scalar", "empty", "double", "half", "integer"],
)
def test_a_tensor_of_another_shape_or_type_is_refused(name: str, reshape: Callable[[Any], Any]) -> None:
    """Item ids alone may be of any length, which then must fit the places where they begin.

    Item vectors may be in half precision.
    """
    if name in ITEM_VECTORS and reshape(TENSORS[name]).dtype == np.float16:
        verify(*with_tensors(**{name: TENSORS[name].astype(np.float16)}))
        return
    refused = refusal(*with_tensors(**{name: np.ascontiguousarray(reshape(TENSORS[name]))}))

    assert refused.reason == "shape" or (refused.reason == "item_ids" and name == "item_ids")


@pytest.mark.parametrize("cell", [name for name in CELLS if name != GOOD.cell])
def test_another_cell_than_the_tensors_are_for_is_refused(cell: str) -> None:
    """Their shapes tell."""
    assert refusal(replace(GOOD, cell=cell), BLOB).reason == "shape"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_no_numbers_are_refused(name: str, value: float) -> None:
    """A training that diverged must not reach a user."""
    assert refusal(*poked(name, value)).reason == "not_finite"


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_absurd_are_refused(name: str) -> None:
    """Finite, but what is computed from them is not what the trainer saw; overflow is no error of its own."""
    tensor = np.full_like(TENSORS[name], 3e38)

    assert refusal(*with_tensors(**{name: tensor})).reason == "golden"


@pytest.mark.parametrize(
    "item_ids",
    [
        (*ITEMS[:-1], ITEMS[0]),
        (*ITEMS[:-1], ""),
        ("", *ITEMS[1:]),
    ],
    ids=["duplicate", "empty last", "empty first"],
)
def test_item_ids_that_do_not_name_items_are_refused(item_ids: tuple[str, ...]) -> None:
    """Each item has an id, and no two have the same."""
    assert refusal(*with_items(*item_ids)).reason == "item_ids"


def test_item_ids_that_are_no_text_are_refused() -> None:
    """Bytes that are no UTF-8."""
    broken = TENSORS["item_ids"].copy()
    broken[-1] = 0xFF

    assert refusal(*with_tensors(item_ids=broken)).reason == "item_ids"


def test_a_popular_item_that_is_unknown_is_refused() -> None:
    """It would be recommended to whoever is new."""
    assert refusal(replace(GOOD, popular=("item-1", "sofa")), BLOB).reason == "item_ids"


G = GOOD.golden[1]
OTHER_ANSWERS: dict[str, dict[str, Any]] = {
    "another number in the state": {"hidden": (G.hidden[0] + 0.01, *G.hidden[1:])},
    "a huge number in the state": {"hidden": (*G.hidden[:-1], 1e300)},
    "a shorter state": {"hidden": G.hidden[:-1]},
    "no state": {"hidden": ()},
    "a click less": {"items": G.items[:-1]},
    "the clicks turned round": {"items": G.items[::-1]},
    "no clicks": {"items": ()},
    "an unknown item clicked": {"items": ("sofa", *G.items[1:])},
    "an unknown item expected": {"top": ("sofa", *G.top[1:])},
    "best and worst exchanged": {"top": (G.top[-1], *G.top[1:-1], G.top[0])},
    "an item twice": {"top": (G.top[0], *G.top[:-1])},
    "more items than there are": {"top": G.top[:1] * 13, "scores": G.scores[:1] * 13},
    "the best left out": {"top": G.top[1:], "scores": G.scores[1:]},
    "a score less": {"scores": G.scores[:-1]},
    "another score": {"scores": (G.scores[0] + 0.1, *G.scores[1:])},
    "a huge score": {"scores": (1e300, *G.scores[1:])},
    "the scores turned round": {"scores": G.scores[::-1]},
}


@pytest.mark.parametrize("changes", OTHER_ANSWERS.values(), ids=OTHER_ANSWERS)
def test_a_golden_answer_that_is_not_ours_is_refused(changes: dict[str, Any]) -> None:
    """Though the other sessions are answered as expected."""
    manifest = replace(GOOD, golden=(GOOD.golden[0], replace(G, **changes)))

    assert refusal(manifest, BLOB).reason == "golden"


def test_golden_scores_nearly_equal_may_stand_in_either_order() -> None:
    """The trainer's framework rounds in its own way."""
    tensors = tiny_tensors(2)
    tensors["embedding"][1] = tensors["embedding"][0] * np.float32(1 + 1e-6)
    manifest, blob = packed(tensors, ["a", "b"], cell="gru", output="tied")
    turned = tuple(replace(golden, top=golden.top[::-1]) for golden in manifest.golden)

    assert verify(replace(manifest, golden=turned), blob).manifest.golden == turned


@pytest.mark.parametrize(
    "change",
    [
        {"normalize": False},
        {"scale": 15.0},
        {"items": 11},
        {"hidden_size": 9},
        {"embedding_size": 6},
        {"transitions": 0},
        {"transitions": 5},
        {"co_occurrences": 0, "co_occurrence_decay": ()},
        {"co_occurrences": 5},
        {"co_occurrence_decay": (1.0, 0.25, 0.5)},
        {"co_occurrence_decay": (1.0, 0.5)},
        {"repeat_bias": ()},
        {"repeat_bias": (2.0, -0.5)},
        {"own_items": 0},
        {"own_items": 4},
        {"own_weight": 1.0},
        {"own_half_life": 8.0},
        {"own_bonus": -1.0},
        {"layers": 1},
        {"layers": 3},
    ],
)
def test_a_manifest_that_says_otherwise_than_the_blob_is_refused(change: dict[str, Any]) -> None:
    """By shapes where it can be told, else by the golden answers."""
    assert refusal(replace(GOOD, **change), BLOB).reason in {"tensors", "shape", "golden"}


@pytest.mark.parametrize("field", ["transitions", "co_occurrences"])
@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([0, 1, 2, len(ITEMS)], f"to {len(ITEMS)}"),
        ([0, 1, 2, NO_ITEM - 1], f"from {NO_ITEM - 1}"),
        ([0, 1, 2, 0], "row 11"),
    ],
    ids=["too high", "too low", "twice"],
)
def test_a_row_that_names_no_item_or_one_twice_is_refused(field: str, others: list[int], said: str) -> None:
    """Of an item named twice one gain would be lost; the text says where. Unused places may be many."""
    name = f"{field.removesuffix('s')}_items"
    items = TENSORS[name].copy()
    items[-1] = others
    refused = refusal(*with_tensors(**{name: items}))

    assert refused.reason == field
    assert name in str(refused)
    assert said in str(refused)


def test_every_change_to_a_weight_that_matters_is_noticed() -> None:
    """Gates in another order, a table upside down: golden sessions are what finds them."""
    moved, nearby = (
        np.roll(TENSORS[f"{name}_scores"], 1, axis=1) for name in ("transition", "co_occurrence")
    )
    swapped = np.roll(TENSORS["recurrent_kernel"], 8, axis=1)

    assert refusal(*with_tensors(recurrent_kernel=swapped)).reason == "golden"
    assert refusal(*with_tensors(transition_scores=moved)).reason == "golden"
    assert refusal(*with_tensors(co_occurrence_scores=nearby)).reason == "golden"
    assert refusal(*with_tensors(output=TENSORS["output"][::-1].copy())).reason == "golden"
    assert refusal(*with_items(*ITEMS[::-1])).reason == "golden"
