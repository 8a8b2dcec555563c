"""A large catalogue as a shop has it: a trained network, jittered copies of its items, and real sessions.

The network learns `DATA` once; the release and what its held-out sessions clicked stay in `build/`. A copy of
an item has the item's vector with some noise. A session walks within one copy of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.clicks import USERS, click, zipf
from tests.broker.process import ROOT
from tests.builders import golden, item_names
from tests.quality.data import begin_of, clicks_of, is_there
from trainer.clicks.columns import SCHEMA
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.holdout import cleaned, hold_out
from trainer.evaluation import replay
from trainer.release.folder import holds_release, read_folder, write_folder
from trainer.release.lists import (
    SESSIONS,
    STATES,
    ItemLists,
    divided,
    margin_for,
    share_found,
    wanted_recall,
)
from worker.core.blob import read, rounded
from worker.core.cells import Floats
from worker.core.lists import Lists
from worker.core.manifest import Manifest
from worker.core.ranking import NO_ITEM, ItemTable, top_k
from worker.core.release import Release, pack

DATA: Final = "diginetica_srgnn"
TOP: Final = 20
HOUR_MS: Final = 3_600_000
"""From the beginning of a user's session to that of the next: longer than the session gap."""
JITTER: Final = 0.2
"""The standard deviation of a copy's numbers around the item's, over that of all items' numbers."""

_FOLDER: Final = ROOT / "build" / "shop"
_WALKS: Final = ROOT / "build" / "shop.npz"
_BEGIN_MS: Final = 1_767_225_600_000
"""2026-01-01, when all users begin."""
_NETWORK: Final = ("embedding", "kernel", "recurrent_kernel", "bias")


class Walks(NamedTuple):
    """The items of held-out sessions, one after the other, and where each session begins."""

    items: NDArray[np.int32]
    starts: NDArray[np.int64]


def available() -> bool:
    """Return whether the data set is there."""
    return is_there(DATA)


def trained() -> tuple[Release, Floats, Walks]:
    """Return the release, hidden vectors of held-out predictions, and what the held-out sessions clicked."""
    if not (_WALKS.exists() and holds_release(_FOLDER)):
        _train()
    with np.load(_WALKS) as kept:
        walks = Walks(kept["items"], kept["starts"])
        return read_folder(_FOLDER).release, kept["hidden"], walks


def copies(vectors: Floats, items: int) -> Floats:
    """Return `items` of the vectors; where there are not enough, jittered copies, too."""
    random = np.random.default_rng(0)
    copied = vectors[np.arange(items) % len(vectors)]
    spread = JITTER * vectors.std(axis=0)
    copied[len(vectors) :] += spread * random.standard_normal(copied[len(vectors) :].shape, np.float32)
    return copied


def unit(vectors: Floats) -> Floats:
    """Return the vectors at unit length."""
    scaled: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def listed(vectors: Floats, hidden: Floats) -> ItemLists:
    """Return lists of the items with `vectors`, as the trainer makes them for the states `hidden`.

    The recall is measured on states with which the margin was not chosen.
    """
    number = divided(vectors, hidden[::2])
    plain, lists = ItemTable(vectors), Lists(ItemTable(vectors, lists=number), margin=0)
    top = top_k(hidden, plain, TOP).indexes

    def recall(margin: float, half: int) -> float:
        lists.margin = margin
        return share_found(top[half::2], lists.top_k(hidden[half::2], TOP).indexes)

    least, widest = wanted_recall(len(vectors)), 2 * float(top_k(hidden, plain, 1).scores.max())
    margin = margin_for(partial(recall, half=0), least, widest)
    if margin is None:
        raise RuntimeError(f"no margin has a recall of {least} for {len(vectors)} items")
    return ItemLists(number, margin, recall(margin, half=1))


def release_parts(items: int) -> tuple[Manifest, bytes]:
    """Return manifest and blob of a release of the network with `items` items and lists of them, no blend.

    Its items are `item-0`, `item-1`, ..., as in every benchmark.
    """
    release, hidden, walks = trained()
    weights = read(read_folder(_FOLDER).blob)
    tensors: dict[str, NDArray[Any]] = {name: weights[name] for name in _NETWORK}
    tensors["embedding"] = copies(tensors["embedding"].astype(np.float32), items)
    tensors = rounded(tensors)
    found = listed(unit(tensors["embedding"]), hidden)
    tensors["lists"] = found.lists
    names, manifest = item_names(items), release.manifest
    chosen: dict[str, Any] = {"cell": manifest.cell, "normalize": True, "scale": manifest.scale}
    some = [walks.items[begin : begin + 10] for begin in walks.starts[:2].tolist()]
    return pack(
        tensors,
        names,
        output="tied",
        **chosen,
        list_margin=found.margin,
        list_recall=found.recall,
        session_gap_seconds=manifest.session_gap_seconds,
        popular=names[:100],
        golden=[golden(tensors, names, one.tolist(), **chosen) for one in some],
        metrics={},
        training={},
        lineage={},
        created_at="2026-01-31T12:00:00Z",
    )


def clicks(items: int, number: int, *, users: int = USERS, seed: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Return key and value of `number` clicks of Zipf users, each of whom walks real sessions."""
    walks, random = trained()[2], np.random.default_rng(seed)
    known = int(walks.items.max()) + 1
    of_session = np.diff(np.append(walks.starts, len(walks.items))).tolist()
    at, left, offset, session_ms = [0] * users, [0] * users, [0] * users, [_BEGIN_MS] * users
    for user in zipf(random, users, number).tolist():
        if not left[user]:
            session = int(random.integers(len(walks.starts)))
            at[user], left[user] = int(walks.starts[session]), of_session[session]
            offset[user] = known * int(random.integers(-(-items // known)))
            session_ms[user] += HOUR_MS
        item = int(walks.items[at[user]]) + offset[user]
        yield click(user, item % items, session_ms[user])
        at[user], left[user] = at[user] + 1, left[user] - 1


def _train() -> None:
    """Train a network for two epochs, and keep its release, states and held-out sessions."""
    # TensorFlow takes seconds to load: only here, where it is needed.
    from tests.quality.sessions import ALL, PROTOCOLS  # noqa: PLC0415
    from trainer.training.fit import fit  # noqa: PLC0415

    protocol, table = PROTOCOLS[DATA], clicks_of(DATA)
    split_at = begin_of(table, protocol.first_test_session)
    settings = FitSettings.of(
        **{**ALL, **protocol.settings, "epochs": 2}, final_training=False, split_at=split_at
    )
    table = table.select(*SCHEMA)
    fitted = fit(table, settings)
    release = fitted.release
    held = hold_out(
        cleaned(table, Progress(), datetime.now(UTC)),
        gap_seconds=release.manifest.session_gap_seconds,
        from_ms=split_at,
        progress=Progress(),
    ).sessions(release.catalogue)
    sessions = replay.some_of(held, 0, SESSIONS)
    states, warm = replay.hidden_before(release, sessions)
    some = np.random.default_rng(0).permutation(np.flatnonzero(warm))[:STATES]
    walks = [items for items in (one[one != NO_ITEM] for one in held) if len(items)]
    starts = np.cumsum([0, *map(len, walks)])[:-1]
    _FOLDER.parent.mkdir(parents=True, exist_ok=True)
    write_folder(_FOLDER, *fitted.parts)
    np.savez(_WALKS, hidden=release.hidden(states[some]), items=np.concatenate(walks), starts=starts)
