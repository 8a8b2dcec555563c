"""Training of a release from clicks, step by step.

    clean -> cut into sessions -> split by time -> train, keep the best epoch -> learn the blend
    -> train once more on all clicks before the test split -> measure -> pack

The first training chooses the number of epochs and the weights of the blend on the validation split, which
has the newest clicks. The final training learns these clicks, too: it has the same learning-rate schedule,
ends after the best epoch, and keeps the weights of the blend. The test split has the newest sessions. Its
clicks are predicted once, after all decisions have been made. Only the lists for approximate ranking are
measured on its hidden states, without the clicks that follow.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from dataclasses import replace
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
from trainer.dataset.decisions import DECISIONS, applied, inherited
from trainer.dataset.lists import counted
from trainer.dataset.prepare import prepare
from trainer.dataset.sessions import Sessions, sampled
from trainer.errors import TrainingDiverged
from trainer.evaluation import replay
from trainer.evaluation import verdict as verdicts
from trainer.model.backend import keras
from trainer.model.blend import Blend
from trainer.model.compared import MOST_ITEMS, Lessons
from trainer.model.negatives import Negatives
from trainer.model.network import Network
from trainer.model.terms import RECENT, Terms, priors_at
from trainer.release.package import Model, PackagedRelease
from trainer.training import interruption, warm_start
from trainer.training.checkpoints import Checkpoints, fingerprint
from trainer.training.decisions import decided
from trainer.training.forecast import Forecast, say_memory
from trainer.training.listing import with_lists
from trainer.training.loop import Course, Training

BLEND_STEPS: Final = 100
"""Number of training steps for the weights of the blend."""


_LESSONS: Final = 32_768
_LIKELY: Final = 64
_SAMPLED: Final = 4096
"""Over a large catalogue, the number of validation clicks that the blend learns from, of the network's best
items that each is compared with, and of items sampled for a few of them. With a hundred thousand items, all
weights were within 0.004 of those learned over all items (100 steps, one run)."""


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
    earlier = inherited(settings, parent.manifest.training) if parent else []
    settings = applied(settings, {DECISIONS: earlier})
    data = _prepared(clicks, settings, progress, now, parent)
    if baselines is None:
        # Only the verdict needs them: 13 bytes for each click, during both trainings.
        data = replace(data, every_item=None)
    # The next training starts from this release, and its manifest must say what was decided.
    data.summary[DECISIONS] = [*earlier, *data.summary[DECISIONS]]
    settings = decided(data, settings, progress)
    network, training = train(data, settings, progress, work=work, parent=parent)
    data.summary["epochs"], course = training.history, training.course
    # Its optimizer and best weights take three times the memory of the network, and lie in circles.
    del training
    gc.collect()
    blend = _blend(network, data, settings, progress)
    if settings.training.final_training and data.validation.predictions:
        whole = _prepared(clicks, settings.replaced(validation_fraction=0.0), Progress(), now, parent)
        train_once_more = partial(train, whole, settings, progress, work=work, parent=parent, course=course)
        network, data = _final(train_once_more, whole, course, progress, otherwise=(network, data))
    model = Model(network, network.tensors(), terms_of(blend, data, settings) if blend else None)
    fitted = with_lists(model, data, progress).packaged(
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


def _final(
    train_once_more: Callable[[], tuple[Network, Training]],
    whole: Data,
    course: Course,
    progress: Progress,
    *,
    otherwise: tuple[Network, Data],
) -> tuple[Network, Data]:
    """Return the network of the final training and its data, `whole`, with what the first training chose.

    Return `otherwise`, the network and the data of the first training, if the final training diverges.
    """
    summary = otherwise[1].summary
    progress.say(
        f"final training, on all {whole.summary['clicks']:,} clicks before the test split: {course.last} of "
        f"{course.epochs} epochs, as chosen on the validation split"
    )
    try:
        network, final = train_once_more()
    except TrainingDiverged as error:
        progress.say(f"{error}; the release is that of the first training")
        return otherwise
    chosen = {name: summary[name] for name in (DECISIONS, "epochs", "blend") if name in summary}
    done = {"final_training": {"epochs": len(final.history)}}
    return network, replace(whole, summary=whole.summary | chosen | done)


def _prepared(
    clicks: pl.DataFrame | pl.LazyFrame,
    settings: FitSettings,
    progress: Progress,
    now: datetime,
    parent: PackagedRelease | None,
) -> Data:
    """Return the prepared data; with a `parent`, over a catalogue that starts with the parent's items."""
    data = prepare(clicks, settings, progress, now)
    if parent is None:
        return data
    warm_start.shaped_as(parent.manifest, settings, asked=warm_start.SHAPE)
    return warm_start.grown(data, warm_start.items_of(parent.release))


def train(
    data: Data,
    settings: FitSettings,
    progress: Progress,
    *,
    work: Path | None = None,
    parent: PackagedRelease | None = None,
    course: Course | None = None,
) -> tuple[Network, Training]:
    """Return a trained network, with the weights of its best epoch, and its finished training.

    On Ctrl-C, write a checkpoint after the current step or validation, then raise KeyboardInterrupt.
    `course`: the course of the final training; None: the first training.
    """
    keras.utils.set_random_seed(settings.training.seed)
    network = Network(targets_of(data), settings, data.features)
    if parent:
        warm_start.begin_with(network, *parent.parts)
    training = Training(network, data.train, settings, warm=parent is not None, course=course)
    ancestor = parent.manifest.sha256 if parent else None
    checkpoints = Checkpoints(
        work,
        fingerprint(data, settings, ancestor, course),
        seconds=settings.training.checkpoint_interval,
        final=course is not None,
    )
    checkpoints.restore(training, progress)
    if course is None:
        say_memory(data, settings, progress)
    forecast = Forecast(progress, times=2 if settings.training.final_training else 1)
    with interruption.noticed() as interrupted:

        def after_step(training: Training) -> None:
            if course is None:
                forecast.after_step(training)
            checkpoints.after_step(training, interrupted=interrupted, progress=progress)

        training.run(partial(_validate, network, data), progress, after_step)
        # A crash in the final training must not cost the first one.
        checkpoints.save_now(training)
    return network, training


def targets_of(data: Data) -> NDArray[np.int64]:
    """Return how often each item with training clicks is a target, `[clicked items]`."""
    return counted(data.train.items[data.train.scored], data.clicked_items)


def _validate(network: Network, data: Data) -> dict[str, float]:
    held = data.validation
    if len(data.catalogue) > MOST_ITEMS:
        held = replace(held, scored=sampled(held, replay.EXACT_PREDICTIONS))
    metrics = _measured(Model(network, network.tensors()), data, held)
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


def _blend(network: Network, data: Data, settings: FitSettings, progress: Progress) -> Blend | None:
    """Return a blend with weights learned on the validation split.

    Return None if the blend is off, if there are no validation clicks, or if none of its terms helps.
    """
    held, items = data.validation, len(data.catalogue)
    if not settings.blend.any:
        return None
    if not held.predictions:
        progress.say("no blend: there are no validation clicks to learn its weights from")
        return None
    large = items > MOST_ITEMS
    if large:
        held = replace(held, scored=sampled(held, _LESSONS))
    past = Past.of(data.train)
    tensors = network.tensors()
    tables = Model(network, tensors).tables(data)
    hidden, _ = replay.hidden_before(tables, held)
    lessons = Lessons(
        np.asarray(network.scaled(hidden[:, : settings.model.hidden_size])),
        replay.recent_items(held, max(RECENT, settings.blend.repeat_lags)),
        replay.excluded_items(held, settings.evaluation.exclude_recent),
        held.items[held.scored],
        replay.last_items(held, settings.blend.own_items),
        tables.rank(hidden, _LIKELY).indexes if large else np.empty((held.predictions, 0), np.int32),
    )
    negatives = _any_items(data) if large else None
    priors = priors_at(past, int(past.times_ms.max()) + 1, settings, items=items)
    blend = Blend(settings)
    asked, half = blend.used, np.random.default_rng(settings.training.seed).random(len(held)) < 0.5
    by_session = np.repeat(half, held.lengths)[held.scored]
    blend.choose(lessons, by_session, tensors, priors, steps=BLEND_STEPS, negatives=negatives)
    if left_out := [name.replace("_", "-") for name in asked if name not in blend.used]:
        progress.say(
            f"left out of the blend, because they do not help on held-out clicks: {', '.join(left_out)}"
        )
    if not blend.used:
        return None
    data.summary["blend"] = blend.weights
    progress.say(f"weights of the blend: {blend.in_words()}")
    return blend


def _any_items(data: Data) -> Negatives:
    """Return a sampler of items of the whole catalogue: half by clicks, half uniformly."""
    counts = counted(data.train.items, len(data.catalogue))
    return Negatives(counts, size=_SAMPLED, power=1.0, uniform=0.5)


def terms_of(blend: Blend, data: Data, settings: FitSettings) -> Terms:
    """Return the terms of the blend, with the counts after all training and validation clicks."""
    held = Past.of(data.validation)
    if settings.dataset.session_gap == 0 and data.validation.predictions:
        # Endless sessions repeat training clicks as context.
        held = held.between(int(held.times_ms[data.validation.scored].min()), math.inf)
    past = Past.of(data.train).and_then(held)
    now_ms = int(past.times_ms.max()) + 1
    return blend.terms(priors_at(past, now_ms, settings, items=len(data.catalogue)))
