"""Learning the hold-out: a release that has passed the gate learns the clicks on which it was measured.

The gate compares the release with the champion on the newest clicks, so it must not have learned them. Once
it has passed, one more pass over these clicks brings network, catalogue and counts up to the newest click.
The pass is bounded: one epoch over the hold-out alone, from the weights of the release. So it was not the
published release that was measured, but its twin, which lacks only this pass. A pass that diverges is
discarded. There is no pass if the network cannot begin exactly where the release ended: one short pass does
not make up for that, and nothing measures the result.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.dataset import Data, moment
from trainer.dataset.holdout import LEARNED
from trainer.dataset.prepare import prepare
from trainer.dataset.sessions import Sessions
from trainer.errors import TrainingDiverged
from trainer.model.backend import keras
from trainer.model.blend import Blend
from trainer.model.network import Network
from trainer.release.package import Model, PackagedRelease
from trainer.training import warm_start
from trainer.training.fit import targets_of, terms_of
from trainer.training.listing import with_lists
from trainer.training.loop import Course, Training

_WITHOUT: Final = "the release is published without the clicks of the hold-out"


def learned(
    measured: PackagedRelease,
    clicks: pl.LazyFrame,
    settings: FitSettings,
    progress: Progress,
    *,
    from_ms: int,
    now: datetime,
) -> PackagedRelease:
    """Return the release `measured` after a pass over its hold-out: sessions in `clicks` from `from_ms` on.

    `settings` are those of its training. The metrics stay those of `measured`. Returns `measured` itself if
    the pass diverges, or if a network cannot begin exactly with it (`warm_start.is_exact`).
    """
    if not warm_start.is_exact(measured.manifest, settings):
        progress.say(f"a training cannot continue from item features or an output bias; {_WITHOUT}")
        return measured
    everything = settings.replaced(split_at=None, test_fraction=0.0, validation_fraction=0.0)
    data = warm_start.grown(
        prepare(clicks, everything, Progress(), now), warm_start.items_of(measured.release)
    )
    keras.utils.set_random_seed(settings.training.seed)
    network = Network(targets_of(data), settings, data.features)
    warm_start.begin_with(network, *measured.parts)
    late = since(data.train, from_ms)
    try:
        if late.predictions:
            Training(network, late, settings, warm=True, course=Course(1, 1)).run(dict, Progress())
    except TrainingDiverged as error:
        progress.say(f"{error}; {_WITHOUT}")
        return measured
    progress.say(f"learned the hold-out: {late.predictions:,} predictions from {moment(from_ms)} on")
    return _packaged(
        measured, network, data, settings, {"from": moment(from_ms), "predictions": late.predictions}
    )


def since(sessions: Sessions, from_ms: int) -> Sessions:
    """Return the sessions with predictions from `from_ms` on; earlier clicks in them are context only."""
    times_ms = sessions.known_times_ms
    late = sessions.scored & (times_ms >= from_ms)
    chosen = np.add.reduceat(late, sessions.starts[:-1], dtype=np.int64) > 0
    kept, lengths = np.repeat(chosen, sessions.lengths), sessions.lengths[chosen]
    return replace(
        sessions,
        items=sessions.items[kept],
        starts=np.append(0, np.cumsum(lengths)),
        scored=late[kept],
        times_ms=times_ms[kept],
        history=None,
    )


def _packaged(
    measured: PackagedRelease, network: Network, data: Data, settings: FitSettings, learned: dict[str, object]
) -> PackagedRelease:
    manifest = measured.manifest
    before = {
        name: value for name, value in manifest.training.items() if name not in ("settings", "test_from")
    }
    extent = {name: data.summary[name] for name in ("clicks", "sessions", "first_click", "last_click")}
    weights = manifest.training.get("blend")
    terms = terms_of(Blend.of(settings, weights), data, settings) if weights else None
    model = with_lists(Model(network, network.tensors(), terms), data, Progress())
    return model.packaged(
        replace(data, summary={**before, **extent, LEARNED: learned}),
        metrics=manifest.metrics,
        created_at=manifest.created_at,
        parent=manifest.lineage.get("parent"),
    )
