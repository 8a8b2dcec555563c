"""Training of a release from clicks, step by step.

    clean -> cut into sessions -> split by time -> train, keep the best epoch -> learn the blend -> measure
    -> pack

The test split has the newest sessions. It is used only once, after all decisions have been made.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.config import Baselines, FitSettings
from trainer.console import Progress
from trainer.dataset.dataset import Data
from trainer.dataset.decayed_counts import Past
from trainer.dataset.lists import counted
from trainer.dataset.prepare import prepare
from trainer.dataset.sessions import Sessions
from trainer.evaluation import replay
from trainer.evaluation import verdict as verdicts
from trainer.model.backend import keras
from trainer.model.blend import Blend, Lessons, Terms, priors_at
from trainer.model.network import Network
from trainer.release.package import Model, PackagedRelease
from trainer.training import warm_start
from trainer.training.checkpoints import Checkpoints, fingerprint
from trainer.training.loop import Epoch, Training

BLEND_STEPS: Final = 100
"""Number of training steps for the weights of the blend."""


def fit(
    clicks: pl.DataFrame | pl.LazyFrame,
    settings: FitSettings = FitSettings(),  # noqa: B008  # frozen
    progress: Progress = Progress(),  # noqa: B008  # silent, without state
    *,
    now: datetime | None = None,
    work: Path | None = None,
    parent: PackagedRelease | None = None,
    baselines: Baselines | None = None,
) -> PackagedRelease:
    """Train a release on `clicks`.

    `clicks` has the columns of `trainer.clicks.columns.SCHEMA`; the clicks of a user are in order of arrival.
    If it also has the column `sessions.TEST`, this marks the clicks of the test split. With `baselines`, the
    manifest also has the verdict of a comparison with the best baseline on the test split.
    The same clicks, settings and seed give the same weights on the same machine, even if the training was
    interrupted and resumed from the checkpoint in the folder `work`. With a `parent`, the network starts from
    the parent's weights, and the parent's items keep their indexes. Raises UnusableClicks if there are too
    few clicks, and TrainingDiverged if the first epoch diverges.
    """
    now = now or datetime.now(UTC)
    data = prepare(clicks, settings, progress, now)
    if parent:
        warm_start.shaped_as(parent.manifest, settings, asked=warm_start.SHAPE)
        data = warm_start.grown(data, warm_start.items_of(parent.release))
    network, data.summary["epochs"] = train(data, settings, progress, work=work, parent=parent)
    model = Model(network, network.tensors(), _blended(network, data, settings, progress))
    fitted = model.packaged(
        data,
        metrics=_measured(model, data, data.test),
        created_at=now.isoformat(timespec="seconds"),
        parent=parent.manifest.sha256 if parent else None,
    )
    if baselines is None:
        return fitted
    result = verdicts.compared(fitted.release, data, settings, baselines, progress)
    found = verdicts.verdict(fitted.manifest, result) if result else None
    return fitted.with_training(comparison=found)


def train(
    data: Data,
    settings: FitSettings,
    progress: Progress,
    *,
    work: Path | None = None,
    parent: PackagedRelease | None = None,
) -> tuple[Network, list[Epoch]]:
    """Return a trained network, with the weights of its best epoch, and the metrics of all epochs."""
    keras.utils.set_random_seed(settings.training.seed)
    network = Network(targets_of(data), settings, data.features)
    if parent:
        warm_start.begin_with(network, *parent.parts)
    training = Training(network, data.train, settings, warm=parent is not None)
    ancestor = parent.manifest.sha256 if parent else None
    checkpoints = Checkpoints(
        work, fingerprint(data, settings, ancestor), seconds=settings.training.checkpoint_interval
    )
    checkpoints.restore(training, progress)
    training.run(partial(_validate, network, data), progress, checkpoints.save)
    return network, training.history


def targets_of(data: Data) -> NDArray[np.int64]:
    """Return how often each item with training clicks is a target, `[clicked items]`."""
    return counted(data.train.items[data.train.scored], data.clicked_items)


def _validate(network: Network, data: Data) -> dict[str, float]:
    metrics = _measured(Model(network, network.tensors()), data, data.validation)
    return {name: value for name, value in metrics.items() if name.startswith(("recall", "mrr"))}


def _measured(model: Model, data: Data, sessions: Sessions) -> dict[str, float]:
    if not sessions.predictions:
        return {}
    settings = model.network.settings
    return replay.measure(
        model.tables(data),
        sessions,
        top=settings.evaluation.top,
        exclude_recent=settings.evaluation.exclude_recent,
    )


def _blended(network: Network, data: Data, settings: FitSettings, progress: Progress) -> Terms | None:
    """Return the terms of the blend, with weights learned on the validation split.

    Return None if the blend is off, or if there are no validation clicks.
    """
    held, items = data.validation, len(data.catalogue)
    if not settings.blend.any:
        return None
    if not held.predictions:
        progress.say("no blend: there are no validation clicks to learn its weights from")
        return None
    past, blend = Past.of(data.train), Blend(settings)
    tensors = network.tensors()
    hidden, _ = replay.hidden_before(Model(network, tensors).tables(data), held)
    lessons = Lessons(
        np.asarray(network.scaled(hidden[:, : settings.model.hidden_size])),
        replay.recent_items(held, max(1, settings.blend.repeat_lags)),
        replay.recent_items(held, settings.evaluation.exclude_recent),
        held.items[held.scored],
    )
    priors = priors_at(past, int(past.times_ms.max()) + 1, settings, items=items)
    blend.learn(lessons, tensors, priors, steps=BLEND_STEPS)
    data.summary["blend"] = blend.weights
    progress.say(f"weights of the blend: {blend.in_words()}")
    both = past.and_then(Past.of(held))
    return blend.terms(priors_at(both, int(both.times_ms.max()) + 1, settings, items=items))
