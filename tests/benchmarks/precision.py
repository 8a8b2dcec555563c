"""The cost of half precision in stored states: one network, its states stored in either precision."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import click
import numpy as np
import polars as pl

from tests.benchmarks.frame import Figures
from tests.benchmarks.saving import Sizes
from tests.benchmarks.stand import Stand
from tests.quality.data import FOLDER
from trainer.clicks.files import scan_files
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.holdout import cleaned, hold_out
from trainer.dataset.sessions import Sessions
from worker.core.ranking import NO_ITEM
from worker.core.release import Release

DATA: Final = FOLDER / "yoochoose1_64_srgnn.csv.gz"
"""YooChoose 1/64 in the SR-GNN split. It may not be passed on."""

TEST_FROM_MS: Final = round(datetime(2014, 9, 29, tzinfo=UTC).timestamp() * 1000)
_TOP: Final = 20


def precision(_: Stand, sizes: Sizes) -> Figures:
    """Return points of Recall@20 lost on the test sessions, full ranking, by a network of one epoch."""
    if not DATA.exists():
        click.echo(f"precision is not measured: {DATA} is not there", err=True)
        return {}
    # TensorFlow takes seconds to load: only here, where it is needed.
    from trainer.training.fit import fit  # noqa: PLC0415

    everything, before = scan_files([DATA]).clicks, pl.col("timestamp_ms") < TEST_FROM_MS
    training = everything.filter(before).tail(sizes.precision_clicks)
    test = everything.filter(~before).head(sizes.precision_clicks)
    clicks = pl.concat([training, test]).collect()
    settings = FitSettings.of(
        epochs=1, split_at=TEST_FROM_MS, min_item_count=1, validation_fraction=0, exclude_recent=0
    )
    release = fit(clicks, settings).release
    now, gap_seconds = datetime.now(UTC), release.manifest.session_gap_seconds
    held = hold_out(
        cleaned(clicks, Progress(), now), gap_seconds=gap_seconds, from_ms=TEST_FROM_MS, progress=Progress()
    )
    sessions = held.sessions(release.catalogue)
    half, single = (recall(release, sessions, kind) for kind in (np.float16, np.float32))
    return {"half_precision_recall_points": 100 * (single - half), "single_precision_recall": single}


def recall(release: Release, sessions: Sessions, kind: type[np.floating[Any]]) -> float:
    """Return Recall@20 with states stored as `kind` between steps. Before any known item all is a miss."""
    items, starts, lengths = sessions.items, sessions.starts[:-1], sessions.lengths
    states = np.zeros((len(sessions), release.state_size), kind)
    warm = np.zeros(len(sessions), np.bool_)
    hits = 0
    for nth in range(int(lengths.max())):
        here = np.flatnonzero(lengths > nth)
        clicked = items[starts[here] + nth]
        known = clicked != NO_ITEM
        due = warm[here] & known & sessions.scored[starts[here] + nth]
        hidden = states[here[due]].astype(np.float32)
        lists = release.rank(hidden, _TOP, np.empty((len(hidden), 0), np.int32)).indexes
        hits += int(np.count_nonzero(lists == clicked[due, None]))
        here, clicked = here[known], clicked[known]
        before = states[here].astype(np.float32)
        states[here] = release.step(release.inputs(clicked), before)
        warm[here] = True
    return hits / sessions.predictions
