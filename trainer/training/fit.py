"""Clicks in, release out: the story of a training.

    clean -> cut into sessions -> divide by time -> train, keep the best epoch -> learn the blend -> pack
    -> measure

The held-out end is last in time and is looked at once, after everything is decided.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.config import POPULAR_ITEMS, FitSettings
from trainer.console import Progress
from trainer.dataset.decayed_counts import Past
from trainer.dataset.prepare import Data, prepare
from trainer.dataset.sessions import Sessions
from trainer.evaluation import replay
from trainer.evaluation.baselines import by_count, counted
from trainer.model.backend import keras
from trainer.model.blend import Blend, Lessons, Terms, priors_at, scores_of
from trainer.model.network import Network
from trainer.training import warm_start
from trainer.training.checkpoints import Checkpoints, fingerprint
from trainer.training.loop import Epoch, Training
from worker.core.catalogue import Catalogue
from worker.core.cells import Floats
from worker.core.manifest import Golden, Manifest
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.release import Release, pack, verify

GOLDEN_SESSIONS: Final = 5
GOLDEN_CLICKS: Final = 20
GOLDEN_TOP: Final = 10
"""A release brings the answers to so many sessions of at most so many clicks: so many best items each."""


BLEND_STEPS: Final = 100
"""How often the weights of the blend are moved: they are few."""


class Fitted(NamedTuple):
    """A release as a folder holds it. `manifest.metrics` has its quality on the held-out end."""

    manifest: Manifest
    blob: bytes

    def telling(self, **more: Any) -> Fitted:
        """The same release; its manifest tells `more` of how it was trained."""
        training = {**self.manifest.training, **more}
        return self._replace(manifest=dataclasses.replace(self.manifest, training=training))


class Model(NamedTuple):
    """What a release is made of: the layers of a network, all `tensors`, and what is added to scores."""

    network: Network
    tensors: Mapping[str, Floats]
    terms: Terms | None = None

    def answer(self, items: Indexes) -> tuple[Floats, Floats]:
        """The state after one session of known `items`, and the scores of all items."""
        state, scores = self.network.answer(items, self.tensors)
        return state, scores_of(self.terms, scores, items) if self.terms else scores


def fit(
    clicks: pl.DataFrame | pl.LazyFrame,
    settings: FitSettings = FitSettings(),  # noqa: B008  # frozen
    progress: Progress = Progress(),  # noqa: B008  # silent, without state
    *,
    now: datetime | None = None,
    work: Path | None = None,
    parent: Fitted | None = None,
) -> Fitted:
    """Train on `clicks` (columns of `trainer.clicks.columns.SCHEMA`, each user's in order of arrival).

    Raises UnusableClicks when they do not suffice. The same clicks, settings and seed give the same
    weights on the same machine, also where it was killed on the way and goes on from the folder `work`.
    With a `parent` the network begins with its weights, and items that it knows keep their indexes.
    """
    now = now or datetime.now(UTC)
    data = prepare(clicks, settings, progress, now)
    if parent:
        warm_start.shaped_as(parent.manifest, settings, asked=warm_start.SHAPE)
        data = warm_start.grown(
            data, verify(*parent).catalogue.ids(np.arange(parent.manifest.items)).tolist()
        )
    network, data.summary["epochs"] = train(data, settings, progress, work=work, parent=parent)
    ancestor = parent.manifest.sha256 if parent else None
    model = Model(network, network.tensors(), _blended(network, data, settings, progress))
    manifest, blob = packed(model, data, settings, now.isoformat(timespec="seconds"), ancestor)
    metrics = _measured(verify(manifest, blob), data.test, settings)
    return Fitted(dataclasses.replace(manifest, metrics=metrics), blob)


def train(
    data: Data,
    settings: FitSettings,
    progress: Progress,
    *,
    work: Path | None = None,
    parent: Fitted | None = None,
) -> tuple[Network, list[Epoch]]:
    """A network with the weights of its best epoch on the validation end, and what each epoch came to."""
    keras.utils.set_random_seed(settings.seed)
    network = Network(targets_of(data), settings, data.features)
    if parent:
        warm_start.begin_with(network, *parent)
    training = Training(network, data.train, settings)
    ancestor = parent.manifest.sha256 if parent else None
    checkpoints = Checkpoints(
        work, fingerprint(data, settings, ancestor), seconds=settings.checkpoint_seconds
    )
    checkpoints.restore(training, progress)
    training.run(partial(_validate, network, data, settings), progress, checkpoints.save)
    return network, training.history


def targets_of(data: Data) -> NDArray[np.int64]:
    """How often each item is to be predicted in training."""
    return counted(data.train.items[data.train.scored], data.clicked_items)


def _popular(data: Data) -> list[str]:
    """The items most clicked in training; among equals in the catalogue's order."""
    best = by_count(counted(data.train.items, data.clicked_items))
    return data.catalogue.ids(best[:POPULAR_ITEMS]).tolist()


def _validate(network: Network, data: Data, settings: FitSettings) -> dict[str, float]:
    if not data.validation.predictions:
        return {}
    metrics = _measured(
        verify(*packed(Model(network, network.tensors()), data, settings)), data.validation, settings
    )
    return {name: value for name, value in metrics.items() if name.startswith(("recall", "mrr"))}


def _measured(release: Release, sessions: Sessions, settings: FitSettings) -> dict[str, float]:
    if not sessions.predictions:
        return {}
    return replay.measure(release, sessions, top=settings.top, exclude_recent=settings.exclude_recent)


def _blended(network: Network, data: Data, settings: FitSettings, progress: Progress) -> Terms | None:
    """What is added to the network's scores, by weights learned on the validation end; None: nothing."""
    held, items = data.validation, len(data.catalogue)
    if not settings.blended:
        return None
    if not held.predictions:
        progress.say("the blend is left out: no click is held out to learn its weights with")
        return None
    past, blend = Past.of(data.train), Blend(settings)
    tensors = network.tensors()
    hidden, _ = replay.hidden_before(verify(*packed(Model(network, network.tensors()), data, settings)), held)
    lessons = Lessons(
        np.asarray(network.scaled(hidden[:, : settings.hidden_size])),
        replay.recent_items(held, max(1, settings.repeat_lags)),
        replay.recent_items(held, settings.exclude_recent),
        held.items[held.scored],
    )
    priors = priors_at(past, int(past.times_ms.max()) + 1, settings, items=items)
    blend.learn(lessons, tensors, priors, steps=BLEND_STEPS)
    data.summary["blend"] = blend.weights
    told = "; ".join(f"{name} {weights}" for name, weights in blend.weights.items())
    progress.say(f"weights of the blend: {told}")
    both = past.and_then(Past.of(held))
    return blend.terms(priors_at(both, int(both.times_ms.max()) + 1, settings, items=items))


def packed(
    model: Model, data: Data, settings: FitSettings, created_at: str = "", parent: str | None = None
) -> Fitted:
    """The release of `model` over the catalogue of `data`."""
    ids = data.catalogue.ids(np.arange(len(data.catalogue))).tolist()
    scale = settings.scale if settings.normalize else 1.0
    tensors, repeat_bias = model.tensors, list[float]()
    if model.terms:
        tensors, scale = model.terms.added_to(tensors), scale * model.terms.network
        repeat_bias = model.terms.repeat_bias.tolist()
    manifest, blob = pack(
        tensors,
        ids,
        cell=settings.cell,
        output=settings.output_table,
        normalize=settings.normalize,
        scale=scale,
        repeat_bias=repeat_bias,
        session_gap_seconds=settings.session_gap_seconds,
        popular=_popular(data),
        golden=_golden(model, data),
        metrics={},
        training={**data.summary, "settings": settings.to_json()},
        lineage={"parent": parent},
        created_at=created_at,
    )
    return Fitted(manifest, blob)


def _golden(model: Model, data: Data) -> list[Golden]:
    """What Keras answers to a few real sessions, held-out ones where there are any."""
    known = (items[items != NO_ITEM][:GOLDEN_CLICKS] for part in (data.test, data.train) for items in part)
    chosen = itertools.islice((items for items in known if len(items)), GOLDEN_SESSIONS)
    return [_golden_of(model, data.catalogue, items) for items in chosen]


def _golden_of(model: Model, catalogue: Catalogue, sequence: Indexes) -> Golden:
    hidden, scores = model.answer(sequence)
    top = np.argsort(-scores, kind="stable")[:GOLDEN_TOP]
    ids = [tuple(catalogue.ids(indexes).tolist()) for indexes in (sequence, top)]
    return Golden(ids[0], tuple(hidden.tolist()), ids[1], tuple(scores[top].tolist()))
