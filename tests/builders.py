"""Tiny releases for tests: weights from a seed, golden answers from the formula of the one-event step.

And user states that no release made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from worker.core.cells import CELLS, Floats
from worker.core.layers import Layers, count_layers, names_of_layer
from worker.core.manifest import Golden, Manifest
from worker.core.ranking import NO_ITEM, OWN_UNIT, OwnItems
from worker.core.release import Release, pack, verify
from worker.core.slabs import Rows
from worker.core.states import States

GOLDEN_LENGTH: Final = 7
"""How many clicks a golden session has."""


def item_names(count: int) -> tuple[str, ...]:
    """`item-0`, `item-1`, ..."""
    return tuple(f"item-{number}" for number in range(count))


Tensors = Mapping[str, NDArray[Any]]

ITEMS: Final = item_names(12)
"""The catalogue of a tiny release where a test asks for no other."""


class Options(TypedDict, total=False):
    """What a tiny release may be told, beside its catalogue; see `tiny_release_parts` for the rest."""

    cell: str
    layers: int
    hidden_size: int
    embedding_size: int
    output: str
    output_bias: bool
    normalize: bool
    scale: float
    transitions: int
    co_occurrences: int
    co_occurrence_decay: Sequence[float]
    repeat_bias: Sequence[float]
    own_items: OwnItems
    session_gap_seconds: float
    popular: Sequence[str]
    lists: int
    list_margin: float
    seed: int


def tiny_release(item_ids: Sequence[str] = ITEMS, *, number: int = 1, **options: Unpack[Options]) -> Release:
    """The release of `tiny_release_parts`, verified, as number `number`."""
    return verify(*tiny_release_parts(item_ids, **options), number=number)


def tiny_release_parts(
    item_ids: Sequence[str] = ITEMS,
    *,
    cell: str = "gru",
    layers: int = 1,
    hidden_size: int = 8,
    embedding_size: int | None = None,
    output: str = "tied",
    output_bias: bool = False,
    normalize: bool = True,
    scale: float = 16.0,
    transitions: int = 0,
    co_occurrences: int = 0,
    co_occurrence_decay: Sequence[float] = (),
    repeat_bias: Sequence[float] = (),
    own_items: OwnItems = OwnItems(),  # noqa: B008  # immutable
    session_gap_seconds: float = 1800.0,
    popular: Sequence[str] | None = None,
    lists: int = 0,
    list_margin: float = 1e6,
    seed: int = 0,
) -> tuple[Manifest, bytes]:
    """Manifest and blob of a release with random weights; another seed gives other weights.

    `embedding_size` is by default the hidden size, `popular` the whole catalogue, last item first
    (unlike any order that stands by accident). The golden answers come from `step_one`.
    """
    tensors = tiny_tensors(
        len(item_ids),
        cell=cell,
        layers=layers,
        hidden_size=hidden_size,
        embedding_size=hidden_size if embedding_size is None else embedding_size,
        output=output,
        output_bias=output_bias,
        transitions=transitions,
        co_occurrences=co_occurrences,
        seed=seed,
    )
    if lists:
        tensors["lists"] = np.resize(np.arange(lists, dtype=np.int32), len(item_ids))
    return packed(
        tensors,
        item_ids,
        cell=cell,
        output=output,
        normalize=normalize,
        scale=scale,
        list_margin=list_margin if lists else 0.0,
        co_occurrence_decay=co_occurrence_decay,
        repeat_bias=repeat_bias,
        own_items=own_items,
        session_gap_seconds=session_gap_seconds,
        popular=popular,
        seed=seed,
    )


def successor_release_parts(
    item_ids: Sequence[str] = ITEMS,
    *,
    session_gap_seconds: float = 1800.0,
    popular: Sequence[str] | None = None,
) -> tuple[Manifest, bytes]:
    """A release whose answer is known by construction: after a click, the next of `item_ids` is best.

    After the last comes the first. The network has no memory, so earlier clicks change nothing.
    """
    size = len(item_ids)
    one_hot = np.eye(size, dtype=np.float32)
    tensors = {
        "embedding": one_hot,
        "kernel": 3 * np.roll(one_hot, 1, axis=1),
        "recurrent_kernel": np.zeros((size, size), np.float32),
        "bias": np.zeros(size, np.float32),
        "output": one_hot,
    }
    return packed(
        tensors,
        item_ids,
        cell="elman",
        output="separate",
        normalize=False,
        scale=1.0,
        session_gap_seconds=session_gap_seconds,
        popular=popular,
    )


def tiny_tensors(
    items: int,
    *,
    cell: str = "gru",
    layers: int = 1,
    hidden_size: int = 8,
    embedding_size: int = 8,
    output: str = "tied",
    output_bias: bool = False,
    transitions: int = 0,
    co_occurrences: int = 0,
    seed: int = 0,
) -> dict[str, NDArray[Any]]:
    """Random tensors of the shapes that a manifest with these values asks for."""
    random = np.random.default_rng(seed)

    def normal(*shape: int, spread: float = 1.0) -> Floats:
        return (spread * random.standard_normal(shape)).astype(np.float32)

    gates, below = CELLS[cell].gates, embedding_size
    tensors: dict[str, NDArray[Any]] = {"embedding": normal(items, embedding_size)}
    for number in range(1, layers + 1):
        kernel, recurrent_kernel, bias = names_of_layer(number)
        tensors[kernel] = normal(below, gates * hidden_size, spread=below**-0.5)
        # Contracting, so that what rounding does to one state fades instead of growing with every click.
        tensors[recurrent_kernel] = normal(hidden_size, gates * hidden_size, spread=0.5 * hidden_size**-0.5)
        tensors[bias] = normal(*CELLS[cell].bias_shape(hidden_size), spread=0.3)
        below = hidden_size
    if output == "separate":
        tensors["output"] = normal(items, hidden_size)
    if output_bias:
        tensors["output_bias"] = normal(items)
    for name, entries in (("transition", transitions), ("co_occurrence", co_occurrences)):
        if entries:
            others = np.full((items, entries), NO_ITEM, np.int32)
            used = min(items, entries)
            others[:, :used] = random.permuted(np.tile(np.arange(items), (items, 1)), axis=1)[:, :used]
            others[random.random(others.shape) < 0.3] = NO_ITEM
            tensors |= {f"{name}_items": others, f"{name}_scores": normal(items, entries)}
    return tensors


def packed(
    tensors: Tensors,
    item_ids: Sequence[str],
    *,
    cell: str,
    output: str,
    normalize: bool = False,
    scale: float = 1.0,
    co_occurrence_decay: Sequence[float] = (),
    repeat_bias: Sequence[float] = (),
    own_items: OwnItems = OwnItems(),  # noqa: B008  # immutable
    list_margin: float = 0.0,
    session_gap_seconds: float = 1800.0,
    popular: Sequence[str] | None = None,
    seed: int = 0,
) -> tuple[Manifest, bytes]:
    """`pack` with two golden sessions drawn by `seed`, the rest of the manifest filled in."""
    random = np.random.default_rng(seed)
    sessions = [random.integers(len(item_ids), size=GOLDEN_LENGTH).tolist() for _ in range(2)]
    return pack(
        tensors,
        item_ids,
        cell=cell,
        output=output,
        normalize=normalize,
        scale=scale,
        co_occurrence_decay=co_occurrence_decay,
        repeat_bias=repeat_bias,
        own_items=own_items,
        list_margin=list_margin,
        list_recall=0.99 if "lists" in tensors else 0.0,
        session_gap_seconds=session_gap_seconds,
        popular=item_ids[::-1][:100] if popular is None else popular,
        golden=[
            golden(
                tensors,
                item_ids,
                one,
                cell=cell,
                normalize=normalize,
                scale=scale,
                co_occurrence_decay=co_occurrence_decay,
                repeat_bias=repeat_bias,
                own_items=own_items,
            )
            for one in sessions
        ],
        metrics={"recall_at_20": 0.5},
        training={"clicks": 1000},
        lineage={"parent": None},
        created_at="2026-01-31T12:00:00Z",
    )


def golden(
    tensors: Tensors,
    item_ids: Sequence[str],
    clicked: Sequence[int],
    *,
    cell: str,
    normalize: bool,
    scale: float,
    co_occurrence_decay: Sequence[float] = (),
    repeat_bias: Sequence[float] = (),
    own_items: OwnItems = OwnItems(),  # noqa: B008  # immutable
) -> Golden:
    """What the formulas say of the session `clicked`, item by item, without the code that serves."""
    state = np.zeros(state_size(tensors, cell), np.float32)
    for item in clicked:
        state = step_one(tensors, cell, item, state)
    scores = all_scores(
        tensors,
        state,
        clicked[::-1],
        normalize=normalize,
        scale=scale,
        co_occurrence_decay=co_occurrence_decay,
        repeat_bias=repeat_bias,
        own=clicked[::-1],
        own_items=own_items,
    )
    best = np.argsort(-scores, kind="stable")[:10].tolist()
    return Golden(
        items=tuple(item_ids[item] for item in clicked),
        hidden=tuple(map(float, state)),
        top=tuple(item_ids[item] for item in best),
        scores=tuple(float(scores[item]) for item in best),
    )


def state_size(tensors: Tensors, cell: str) -> int:
    """How many numbers a user's state has."""
    return count_layers(tensors) * CELLS[cell].state_size(len(tensors["recurrent_kernel"]))


def step_one(tensors: Tensors, cell: str, item: int, state: Floats) -> Floats:
    """The state after one click on the item in row `item` of the tables: the definition in `layers`."""
    layers = Layers.of(CELLS[cell], tensors)
    return layers.step_one(layers.inputs(tensors["embedding"][[item]])[:, 0], state)


def all_scores(
    tensors: Tensors,
    state: Floats,
    recent: Sequence[int] = (),
    *,
    normalize: bool,
    scale: float,
    co_occurrence_decay: Sequence[float] = (),
    repeat_bias: Sequence[float] = (),
    own: Sequence[int] = (),
    own_items: OwnItems = OwnItems(),  # noqa: B008  # immutable
) -> Floats:
    """The score of every item for one state, as the manifest defines it.

    `recent`: the rows of the items that were clicked in the session, newest first, `NO_ITEM` where unknown.
    `own`: the same of all that the user clicked.
    """
    hidden = state[: len(tensors["recurrent_kernel"])]
    vectors = tensors.get("output", tensors["embedding"])
    if normalize:
        hidden = hidden / max(float(np.linalg.norm(hidden)), 1e-6)
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    scores: Floats = np.float32(scale) * (vectors @ hidden)
    if "output_bias" in tensors:
        scores += tensors["output_bias"]
    gains = [*zip(recent, repeat_bias, strict=False)]
    if "transition_items" in tensors and recent and recent[0] != NO_ITEM:
        followers, gained = (tensors[f"transition_{name}"][recent[0]] for name in ("items", "scores"))
        gains += zip(followers.tolist(), gained.tolist(), strict=True)
    for item, factor in zip(recent, co_occurrence_decay, strict=False):
        if item != NO_ITEM:
            others, gained = (tensors[f"co_occurrence_{name}"][item] for name in ("items", "scores"))
            gains += zip(others.tolist(), (np.float32(factor) * gained).tolist(), strict=True)
    for item, gain in gains:
        if item != NO_ITEM:
            scores[item] += gain
    for item, gain in gains_of_own(own, own_items).items():
        scores[item] += gain
    return scores


def gains_of_own(own: Sequence[int], term: OwnItems) -> dict[int, float]:
    """What the items of a user gain who clicked `own`, newest first, `NO_ITEM` where unknown."""
    counts: dict[int, float] = {}
    for later, item in enumerate(own[: term.clicks]):
        if item != NO_ITEM:
            counts[item] = counts.get(item, 0.0) + 0.5 ** (later / term.half_life)
    return {item: term.bonus + term.weight * math.log(1 + count / OWN_UNIT) for item, count in counts.items()}


def clicked(
    states: States,
    partition: int,
    user_ids: Sequence[str],
    item_ids: Sequence[str] = ("lamp",),
    *,
    offset: int,
) -> Rows:
    """The rows of these users after each clicked all `item_ids`; the last click of all had this offset."""
    rows = states.rows(partition, user_ids)
    users = states.read(rows)
    for code in states.item_codes.codes(item_ids):
        users.ring.put(np.arange(len(rows)), users.clicks, np.full(len(rows), code))
        users.clicks += 1
    users.session[:] = np.minimum(users.ring.kept, users.ring.session_size)
    users.hidden[:] = np.linspace(-1, 1, states.state_size) * (offset % 7 + 1) / 7
    users.warm[:], users.release[:] = True, 3
    users.offset[:], users.timestamp_ms[:] = offset, 1_700_000_000_000 + offset
    states.write(rows, users)
    return rows
