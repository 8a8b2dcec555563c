"""Clicks in, release out: the story of a training.

    clean -> cut into sessions -> divide by time -> train, keep the best epoch -> pack -> measure

The held-out end is last in time and is looked at once, after everything is decided.
"""

from __future__ import annotations

import dataclasses
import itertools
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer import evaluate
from trainer.backend import keras
from trainer.config import POPULAR_ITEMS, FitSettings
from trainer.data import Data, prepare
from trainer.network import Network
from trainer.progress import Progress
from trainer.sessions import Sessions
from trainer.training import Epoch, Training
from worker.core.catalogue import Catalogue
from worker.core.manifest import Golden, Manifest
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.release import Release, pack, verify

GOLDEN_SESSIONS: Final = 5
GOLDEN_CLICKS: Final = 20
GOLDEN_TOP: Final = 10
"""A release brings the answers to so many sessions of at most so many clicks: so many best items each."""


class Fitted(NamedTuple):
    """A release as a folder holds it. `manifest.metrics` has its quality on the held-out end."""

    manifest: Manifest
    blob: bytes


def fit(
    clicks: pl.DataFrame,
    settings: FitSettings = FitSettings(),  # noqa: B008  # frozen
    progress: Progress = Progress(),  # noqa: B008  # silent, without state
    *,
    now: datetime | None = None,
) -> Fitted:
    """Train on `clicks` (columns of `trainer.events.SCHEMA`, each user's in order of arrival).

    Raises UnusableClicks when they do not suffice. The same clicks, settings and seed give the same
    weights on the same machine.
    """
    now = now or datetime.now(UTC)
    data = prepare(clicks, settings, progress, now)
    network, data.summary["epochs"] = train(data, settings, progress)
    manifest, blob = _packed(network, data, settings, now.isoformat(timespec="seconds"))
    metrics = _measured(verify(manifest, blob), data.test, settings)
    return Fitted(dataclasses.replace(manifest, metrics=metrics), blob)


def train(data: Data, settings: FitSettings, progress: Progress) -> tuple[Network, list[Epoch]]:
    """A network with the weights of its best epoch on the validation end, and what each epoch came to."""
    keras.utils.set_random_seed(settings.seed)
    network = Network(_targets(data), settings)
    training = Training(network, data.train, settings)
    training.run(partial(_validate, network, data, settings), progress)
    return network, training.history


def _targets(data: Data) -> NDArray[np.int64]:
    """How often each item is to be predicted in training."""
    return np.bincount(data.train.items[data.train.scored], minlength=len(data.catalogue))


def _validate(network: Network, data: Data, settings: FitSettings) -> dict[str, float]:
    if not data.validation.predictions:
        return {}
    metrics = _measured(verify(*_packed(network, data, settings)), data.validation, settings)
    return {name: value for name, value in metrics.items() if name.startswith(("recall", "mrr"))}


def _measured(release: Release, sessions: Sessions, settings: FitSettings) -> dict[str, float]:
    if not sessions.predictions:
        return {}
    return evaluate.measure(release, sessions, top=settings.top, exclude_recent=settings.exclude_recent)


def _packed(network: Network, data: Data, settings: FitSettings, created_at: str = "") -> Fitted:
    ids = data.catalogue.ids(np.arange(len(data.catalogue))).tolist()
    manifest, blob = pack(
        network.tensors(),
        ids,
        cell=settings.cell,
        output=settings.output,
        normalize=settings.normalize,
        scale=settings.scale if settings.normalize else 1.0,
        session_gap_seconds=settings.session_gap_seconds,
        popular=ids[:POPULAR_ITEMS],
        golden=_golden(network, data),
        metrics={},
        training={**data.summary, "settings": settings.to_json()},
        lineage={"parent": None},
        created_at=created_at,
    )
    return Fitted(manifest, blob)


def _golden(network: Network, data: Data) -> list[Golden]:
    """What Keras answers to a few real sessions, held-out ones where there are any."""
    known = (items[items != NO_ITEM][:GOLDEN_CLICKS] for part in (data.test, data.train) for items in part)
    chosen = itertools.islice((items for items in known if len(items)), GOLDEN_SESSIONS)
    return [_golden_of(network, data.catalogue, items) for items in chosen]


def _golden_of(network: Network, catalogue: Catalogue, sequence: Indexes) -> Golden:
    hidden, scores = network.answer(sequence)
    top = np.argsort(-scores, kind="stable")[:GOLDEN_TOP]
    ids = [tuple(catalogue.ids(indexes).tolist()) for indexes in (sequence, top)]
    return Golden(ids[0], tuple(hidden.tolist()), ids[1], tuple(scores[top].tolist()))
