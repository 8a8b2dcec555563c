"""Seconds of training: against plain Keras on YooChoose, and with drawn negatives on Diginetica.

Both are measured on the last sessions of the training part; measuring is not counted as training. Seconds are
those of all cores together: what else runs on the machine does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from tests.quality.data import before, begin_of, clicks_of
from tests.quality.sessions import ALL, PROTOCOLS
from trainer.clicks.columns import SCHEMA
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.dataset import Data
from trainer.dataset.prepare import prepare
from trainer.dataset.sessions import Sessions
from trainer.evaluation import replay
from trainer.model.backend import keras, tf
from trainer.model.network import Network
from trainer.release.package import Model
from trainer.training.fit import targets_of
from trainer.training.loop import Training
from worker.core.cells import Floats

SPEED: Final = "yoochoose1_64_srgnn"
SAMPLED: Final = "diginetica_srgnn"
HELD_OUT_FROM: Final = {SPEED: 105_000, SAMPLED: 171_000}
"""The first session of the training part that is held out."""

RECALL: Final = 0.69
"""What both must come to, on the held-out sessions."""

SAMPLED_EPOCHS: Final = 3

Curve = list[tuple[float, float]]
"""After each epoch: the cores' seconds of training so far, and Recall@20."""


def against_keras(progress: Progress) -> dict[str, Any]:
    """Seconds to `RECALL` of our training and of `model.fit`, for the same network, loss and batch size."""
    data, settings = _data(SPEED, {}, progress)
    ours = _ours(data, settings, progress, enough=RECALL)
    theirs = _plain_keras(data, settings, progress)
    seconds = {"ours": _until(ours), "keras": _until(theirs)}
    return {
        "metrics": {**seconds, "ratio": seconds["keras"] / seconds["ours"]},
        "curves": {"ours": ours, "keras": theirs},
        "configuration": settings.to_json(),
        "seconds": ours[-1][0] + theirs[-1][0],
    }


def sampled(progress: Progress) -> dict[str, Any]:
    """The time of an epoch, and the best Recall@20, with the whole catalogue and with drawn negatives."""
    curves, configuration = {}, {}
    for name, chosen in (("sampled", {}), ("whole", {"negatives": 0})):
        wanted = PROTOCOLS[SAMPLED].settings | {"epochs": SAMPLED_EPOCHS} | chosen
        data, settings = _data(SAMPLED, wanted, progress)
        configuration[name] = settings.to_json()
        curves[name] = _ours(data, settings, progress)
    epoch = {name: curve[-1][0] / len(curve) for name, curve in curves.items()}
    best = {name: max(recall for _, recall in curve) for name, curve in curves.items()}
    return {
        "metrics": {
            "epoch_seconds_whole": epoch["whole"],
            "epoch_seconds_sampled": epoch["sampled"],
            "ratio": epoch["sampled"] / epoch["whole"],
            "recall_at_20_whole": best["whole"],
            "recall_at_20_sampled": best["sampled"],
        },
        "curves": curves,
        "configuration": configuration,
        "seconds": sum(curve[-1][0] for curve in curves.values()),
    }


def _data(name: str, chosen: dict[str, Any], progress: Progress) -> tuple[Data, FitSettings]:
    """The training part of `name`, the end of which is held out in place of the test."""
    clicks = before(clicks_of(name), PROTOCOLS[name].first_test_session)
    at_ms = begin_of(clicks, HELD_OUT_FROM[name])
    settings = FitSettings.of(**{**ALL, **chosen, "validation_fraction": 0.0}, split_at=at_ms)
    return prepare(clicks.select(*SCHEMA), settings, progress, datetime.now(UTC)), settings


def _ours(data: Data, settings: FitSettings, progress: Progress, enough: float = 1.0) -> Curve:
    keras.utils.set_random_seed(settings.training.seed)
    network = Network(targets_of(data), settings)
    curve = _Curve(lambda: _recall(network.tensors(), network, data, settings), progress, enough)
    with suppress(_Enough):
        Training(network, data.train, settings).run(curve.note, Progress())
    return curve.points


class _Enough(Exception):
    """Raised when a training has come to what it was to come to."""


class _Curve:
    """Notes Recall@20 and the cores' seconds so far, those of measuring left out, until it is `enough`."""

    def __init__(self, recall: Callable[[], float], progress: Progress, enough: float) -> None:
        self._recall, self._progress, self.points = recall, progress, Curve()
        self._enough, self._began = enough, time.process_time()

    def note(self) -> dict[str, float]:
        """An epoch is over."""
        seconds = time.process_time() - self._began
        self.points.append((seconds, self._recall()))
        self._progress.say(f"{seconds:.0f} s of training: recall@20 {self.points[-1][1]:.4f}")
        if self.points[-1][1] >= self._enough:
            raise _Enough
        self._began = time.process_time() - seconds
        return {}


def _recall(tensors: dict[str, Floats], network: Network, data: Data, settings: FitSettings) -> float:
    tables = Model(network, tensors).tables(data)
    found = replay.measure(tables, data.test, top=20, exclude_recent=0)
    return found["recall_at_20"]


def _until(curve: Curve) -> float:
    """Seconds to `RECALL`; endless where it was never reached."""
    return next((seconds for seconds, recall in curve if recall >= RECALL), float("inf"))


class _Plain(keras.Model):  # type: ignore[misc]  # Keras has no types
    """The network as one would write it down in Keras: scores of the whole catalogue at every place."""

    def __init__(self, items: int, settings: FitSettings) -> None:
        super().__init__(name="plain")
        self._scale = settings.model.scale
        spread = keras.initializers.RandomUniform(-0.1, 0.1)
        self.table = self.add_weight(shape=(items, settings.model.hidden_size), initializer=spread)
        self.dropout = keras.layers.Dropout(settings.model.dropout)
        self.recurrent = keras.layers.GRU(settings.model.hidden_size, return_sequences=True)

    def call(self, items: Any, training: bool = False) -> Any:
        """The scores `[B, L, N]` after each of `items` `[B, L]`."""
        table = tf.math.l2_normalize(self.table, axis=-1)
        hidden = self.recurrent(self.dropout(tf.gather(table, items), training=training))
        return self._scale * tf.math.l2_normalize(hidden, axis=-1) @ tf.transpose(table)

    def tensors(self) -> dict[str, Floats]:
        """What a release holds."""
        names = ("kernel", "recurrent_kernel", "bias")
        cell = dict(zip(names, self.recurrent.get_weights(), strict=True))
        return {"embedding": tf.math.l2_normalize(self.table, axis=-1).numpy(), **cell}


def _plain_keras(data: Data, settings: FitSettings, progress: Progress) -> Curve:
    """The curve of `model.fit` with Adam and shuffled batches, each padded to its longest session."""
    keras.utils.set_random_seed(settings.training.seed)
    batches = _Padded(data.train, settings)
    model, measured = _Plain(len(data.catalogue), settings), Network(targets_of(data), settings)
    rate = keras.optimizers.schedules.CosineDecay(
        settings.optimizer.learning_rate, len(batches) * _epochs(settings)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=settings.optimizer.clip_norm), loss)

    def recall() -> float:
        tensors = model.tensors()
        measured.cells[0].set_weights([tensors[name] for name in ("kernel", "recurrent_kernel", "bias")])
        return _recall(tensors, measured, data, settings)

    curve = _Curve(recall, progress, RECALL)
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: curve.note())
    with suppress(_Enough):
        model.fit(batches, epochs=_epochs(settings), verbose=0, callbacks=[note])
    return curve.points


def _epochs(settings: FitSettings) -> int:
    return settings.training.epochs_for(1 << 30)


class _Padded(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """As many sessions as make a batch of the same number of predictions on average."""

    def __init__(self, sessions: Sessions, settings: FitSettings) -> None:
        super().__init__()
        self._sessions = [items[: settings.training.max_session_clicks] for items in sessions]
        self._size = round(settings.training.batch_clicks * len(sessions) / sessions.predictions)
        self._random = np.random.default_rng(settings.training.seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return int(np.ceil(len(self._sessions) / self._size))

    def __getitem__(self, number: int) -> tuple[Any, Any, Any]:
        """Inputs, targets and weights, which are 0 for what is padded."""
        chosen = [self._sessions[one] for one in self._order[number * self._size :][: self._size]]
        inputs, targets, weights = (
            np.zeros((len(chosen), max(map(len, chosen)) - 1), kind) for kind in "iif"
        )
        for row, items in enumerate(chosen):
            inputs[row, : len(items) - 1], targets[row, : len(items) - 1] = items[:-1], items[1:]
            weights[row, : len(items) - 1] = 1
        # Keras averages over all places, padded ones too.
        return inputs, targets, weights * weights.size / weights.sum()

    def on_epoch_end(self) -> None:
        """Shuffle."""
        self._order = self._random.permutation(len(self._sessions))
