"""Clicks in, release out: the story of a training.

    clean -> cut into sessions -> divide by time -> train, keep the best epoch -> pack -> measure

The held-out end is last in time and is looked at once, after everything is decided.
"""

from __future__ import annotations

import dataclasses
import itertools
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from trainer import evaluate
from trainer.backend import keras, tf
from trainer.batches import Batches
from trainer.config import POPULAR_ITEMS, FitSettings
from trainer.data import Data, prepare
from trainer.network import Network
from trainer.progress import Progress
from trainer.sessions import Sessions
from worker.core.catalogue import Catalogue
from worker.core.cells import Floats
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
    keras.utils.set_random_seed(settings.seed)
    network = Network(len(data.catalogue), settings)
    epochs = train(network, data, settings, progress)
    data.summary["epochs"] = epochs
    manifest, blob = _packed(network, data, settings, now.isoformat(timespec="seconds"))
    metrics = _measured(verify(manifest, blob), data.test, settings)
    return Fitted(dataclasses.replace(manifest, metrics=metrics), blob)


def train(network: Network, data: Data, settings: FitSettings, progress: Progress) -> list[dict[str, float]]:
    """Train `network`; it ends with the weights of its best epoch. What each epoch came to."""
    batches = Batches(
        data.train,
        predictions=settings.batch_clicks,
        max_length=settings.max_session_clicks,
        seed=settings.seed,
    )
    epochs = settings.epochs_for(data.train.predictions)
    step = training_step(network, settings, steps=epochs * len(batches))
    best, history = _Best(settings.patience or max(2, epochs // 3)), list[dict[str, float]]()
    progress.start(epochs * data.train.predictions)
    try:
        while len(history) < epochs and not best.is_past:
            loss, results = _epoch(batches, step, progress), _validate(network, data, settings)
            best.note(network, results.get(f"mrr_at_{settings.top}"))
            history.append({"loss": loss, **results})
            progress.say(f"epoch {len(history)} of {epochs}: {_told(history[-1])}")
            progress.epoch(len(history), history[-1])
    finally:
        progress.stop()
    network.set_weights(best.weights)
    return history


def training_step(network: Network, settings: FitSettings, *, steps: int) -> Any:
    """The compiled function that takes a `Batch`, moves the weights and returns the loss.

    The learning rate falls along a cosine over `steps`.
    """
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=settings.clip_norm)
    optimizer.build(network.trainable_variables)

    # Hot path: compiled to one pass over each weight and its two averages, Adam takes a third of the time.
    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def move(gradients: list[tf.Tensor]) -> None:
        optimizer.apply(gradients, network.trainable_variables)

    indexes = tf.TensorSpec([None], tf.int32)

    # One trace for batches of every shape.
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32), indexes, indexes])  # type: ignore[untyped-decorator]  # ditto
    def step(items: tf.Tensor, places: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = network.loss_of(items, places, targets)
        move([tf.convert_to_tensor(one) for one in tape.gradient(loss, network.trainable_variables)])
        return loss

    return step


class _Best:
    """Remembers the weights of the best epoch: by its value on the validation end; without one, the last."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._value = -1.0
        self._epochs_since = 0
        self.weights: list[Floats] = []

    def note(self, network: Network, value: float | None) -> None:
        """An epoch came to `value`."""
        self._epochs_since += 1
        if value is None or value > self._value:
            self._value, self._epochs_since = value or 0.0, 0
            self.weights = network.get_weights()

    @property
    def is_past(self) -> bool:
        """Whether so many epochs were worse that no better one is to be expected."""
        return self._epochs_since >= self._patience


def _epoch(batches: Batches, step: Any, progress: Progress) -> float:
    total, predictions = 0.0, 0
    for batch in batches.epoch():
        count, loss = len(batch.targets), float(step(*batch))
        total, predictions = total + loss * count, predictions + count
        progress.advance(count, loss)
    return total / predictions


def _told(results: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in results.items())


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
        output="tied",
        normalize=True,
        scale=settings.scale,
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
