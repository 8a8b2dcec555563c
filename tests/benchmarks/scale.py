"""Exact and approximate ranking from 4 thousand to a million items, as cost per list.

The item vectors are those of a network trained on real clicks, and jittered copies of them; the states are
those of its held-out sessions. Without the data, nothing is measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import click
import numpy as np
from threadpoolctl import threadpool_limits

from tests.benchmarks.frame import Figures
from tests.benchmarks.ranking import BATCH, TOP, rank_over_product
from tests.broker.process import ROOT
from tests.quality.data import begin_of, clicks_of, is_there
from trainer.clicks.columns import SCHEMA
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.holdout import cleaned, hold_out
from trainer.evaluation import replay
from trainer.release.lists import SESSIONS, STATES, divided, margin_for, share_found, wanted_recall
from worker.core.cells import Floats
from worker.core.lists import Lists
from worker.core.ranking import ItemTable, top_k

DATA: Final = "diginetica_srgnn"
HIDDEN_SIZE: Final = 128
SIZES: Final = {"4k": 4_000, "20k": 20_000, "100k": 100_000, "300k": 300_000, "1m": 1_000_000}
JITTER: Final = 0.2
"""The standard deviation of a copy's numbers around the item's, over that of all items' numbers."""

_KEPT: Final = ROOT / "build" / "scale.npz"


def costs(rounds: int, sizes: Iterable[str]) -> Figures:
    """Return microseconds of CPU per list of both ways, their ratio, and the recall at 20, by size."""
    if not is_there(DATA):
        click.echo(f"scale is not measured: {DATA}.csv.gz is not there", err=True)
        return {}
    vectors, hidden = _trained()
    found: Figures = {}
    with threadpool_limits(1, user_api="blas"):
        for size in sizes:
            found |= _costs(size, _copies(vectors, SIZES[size]), hidden, rounds)
    return found | {"rank_100k_over_product": rank_over_product(SIZES["100k"], HIDDEN_SIZE, rounds=rounds)}


def _costs(size: str, vectors: Floats, hidden: Floats, rounds: int) -> Figures:
    plain = ItemTable(vectors)
    lists = Lists(ItemTable(vectors, lists=divided(vectors, hidden[::2])), margin=0)
    top = top_k(hidden, plain, TOP).indexes

    def recall(margin: float, half: int) -> float:
        lists.margin = margin
        return share_found(top[half::2], lists.top_k(hidden[half::2], TOP).indexes)

    least, widest = wanted_recall(len(vectors)), 2 * float(top_k(hidden, plain, 1).scores.max())
    margin = margin_for(partial(recall, half=0), least, widest)
    if margin is None:
        raise RuntimeError(f"no margin has a recall of {least} at {size}")
    found = recall(margin, half=1)
    batch = hidden[1 : 2 * BATCH : 2]
    taken = [
        (_seconds(lambda: top_k(batch, plain, TOP)), _seconds(lambda: lists.top_k(batch, TOP)))
        for _ in range(rounds)
    ]
    exact, approximate = (statistics.median(column) * 1e6 / BATCH for column in zip(*taken, strict=True))
    return {
        f"exact_{size}_microseconds": exact,
        f"approximate_{size}_microseconds": approximate,
        f"exact_over_approximate_{size}": statistics.median(one / other for one, other in taken),
        f"approximate_recall_{size}": found,
    }


def _trained() -> tuple[Floats, Floats]:
    """Return item vectors and held-out states of a network of two epochs; it is trained once."""
    if not _KEPT.exists():
        _KEPT.parent.mkdir(parents=True, exist_ok=True)
        np.savez(_KEPT, **_train())
    with np.load(_KEPT) as kept:
        return kept["vectors"], kept["hidden"]


def _train() -> dict[str, Any]:
    # TensorFlow takes seconds to load: only here, where it is needed.
    from tests.quality.sessions import ALL, PROTOCOLS  # noqa: PLC0415
    from trainer.training.fit import fit  # noqa: PLC0415

    protocol, clicks = PROTOCOLS[DATA], clicks_of(DATA)
    split_at = begin_of(clicks, protocol.first_test_session)
    settings = FitSettings.of(
        **{**ALL, **protocol.settings, "epochs": 2}, final_training=False, split_at=split_at
    )
    clicks = clicks.select(*SCHEMA)
    release = fit(clicks, settings).release
    held = hold_out(
        cleaned(clicks, Progress(), datetime.now(UTC)),
        gap_seconds=release.manifest.session_gap_seconds,
        from_ms=split_at,
        progress=Progress(),
    )
    sessions = replay.some_of(held.sessions(release.catalogue), 0, SESSIONS)
    states, warm = replay.hidden_before(release, sessions)
    some = np.random.default_rng(0).permutation(np.flatnonzero(warm))[:STATES]
    return {"vectors": release.vectors, "hidden": release.hidden(states[some])}


def _copies(vectors: Floats, items: int) -> Floats:
    """Return `items` of the vectors; where there are not enough, jittered copies, too."""
    random = np.random.default_rng(0)
    copies = vectors[np.arange(items) % len(vectors)]
    spread = JITTER * vectors.std(axis=0)
    copies[len(vectors) :] += spread * random.standard_normal(copies[len(vectors) :].shape, np.float32)
    unit: Floats = copies / np.linalg.norm(copies, axis=1, keepdims=True)
    return unit


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
