"""Online training: a network that learns from clicks window by window, with a release after each window.

    for each window of sessions (one hour, for example):
        train the weights of the blend on the window, using the last release
        choose the active items: the most clicked at present
        train the network on the sessions of the window, earliest first
        return a release, with popularity and transition counts at the end of the window

Only the active items are in the network, so that the cost of a window does not grow with the catalogue.
Inactive items keep their embeddings and their optimizer state. The releases have no lists of items: ranking
is exact, which costs workers more if the catalogue grows large.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.clicks.timestamps import HOUR_MS
from trainer.config import ACTIVE_HALF_LIFE, ACTIVE_ITEMS, FitSettings
from trainer.dataset.batches import InOrder
from trainer.dataset.dataset import Data, Learned
from trainer.dataset.decayed_counts import Past, popularity
from trainer.dataset.sessions import Sessions, to_arrays
from trainer.evaluation import replay
from trainer.model.backend import keras, tf
from trainer.model.blend import Blend
from trainer.model.compared import Lessons
from trainer.model.item_vectors import SPREAD
from trainer.model.network import Network
from trainer.model.optimizer import Optimizer
from trainer.model.terms import RECENT, UNPOPULAR, Priors, priors_at
from trainer.release.package import Model, PackagedRelease
from trainer.training.divergence import check_epoch, check_step
from trainer.training.loop import Sums, compiled_step, largest_weight
from worker.core.blob import rounded
from worker.core.catalogue import Catalogue
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.release import Release

_BLEND_STEPS: Final = 12
_BLEND_RATE: Final = 0.1
_LAST_BLEND_RATE: Final = 0.02
"""Initial and minimum learning rate of the blend weights; it falls over the first windows."""


class _Served(NamedTuple):
    """A release with the items that were active, and the priors of these items."""

    release: Release
    active: NDArray[np.int64]
    priors: Priors


class OnlineTraining:
    """An endless training over a growing catalogue; items keep their indexes.

    `active_items`: the number of items in the network. These are the items with the highest click counts,
    decayed with the half-life `active_half_life_hours`. `memory_hours`: the maximum age of the clicks in the
    counts. In `settings`, `training.epochs` is the number of epochs over each window.
    """

    def __init__(
        self,
        settings: FitSettings,
        *,
        active_items: int = ACTIVE_ITEMS,
        active_half_life_hours: float = ACTIVE_HALF_LIFE / 3_600,
        memory_hours: float = 72.0,
    ) -> None:
        self._settings, self._size = settings, active_items
        self._half_life, self._memory_ms = active_half_life_hours, memory_hours * HOUR_MS
        keras.utils.set_random_seed(settings.training.seed)
        self._random = np.random.default_rng(settings.training.seed)
        self._network = Network(np.ones(active_items, np.int64), settings)
        self._optimizer = Optimizer(self._network.trainable_variables, settings, epochs=1, steps=1)
        self._step = compiled_step(self._network, lambda gradients, _: self._optimizer.move(gradients))
        self._blend, self._steps, self._learned = Blend(settings.replaced(own_items=0)), 0, 0
        self._rows = _Rows(self._network, self._optimizer, active_items, self._random)
        self.catalogue = Catalogue([])
        self._active = np.zeros(0, np.int64)
        self._past = Past.of(replace(Sessions.empty(), times_ms=np.zeros(0, np.int64)))
        self._window = Sessions.empty()
        self._served: _Served | None = None
        self._applied: Learned | None = None
        self._described = {
            "active_items": active_items,
            "active_half_life_hours": active_half_life_hours,
            "memory_hours": memory_hours,
        }
        self._windows = 0
        self._loss = 0.0
        """The mean loss of the last epoch over the last window."""
        self._first_loss: float | None = None

    def apply(self, clicks: pl.DataFrame, now_ms: int) -> None:
        """Train on a window that ended at `now_ms`: whole sessions, as returned by `sessions.cut`.

        The network also learns from clicks of these sessions that are later than `now_ms`; the counts include
        a click only from its time on. Raises TrainingDiverged; after that, this training must not be used any
        more.
        """
        self.catalogue = _grown(self.catalogue, clicks["item_id"])
        self._rows.grow(len(self.catalogue))
        sessions = to_arrays(_by_begin(clicks), self.catalogue)
        if self._served and sessions.predictions:
            self._learn(self._served, sessions)
        past = self._past.and_then(Past.of(sessions))
        self._past = past.between(now_ms - self._memory_ms, math.inf)
        self._choose_active(now_ms)
        self._window = sessions
        self._count(clicks)
        self._train(_only(sessions, self._places()))

    def release(self, now_ms: int, *, created_at: str | None = None) -> PackagedRelease:
        """Return a release of the current network, with the counts at `now_ms`.

        The manifest describes all clicks since this training started, but only the loss of the last window.
        """
        places = self._places()
        past = self._past._replace(items=places[self._past.items], previous=places[self._past.previous])
        priors = priors_at(past, now_ms, self._settings, items=len(self._active))
        tensors = rounded({**self._network.tensors(), "embedding": self._rows.vectors()})
        summary = {
            **(self._applied.summary() if self._applied else {}),
            "blend": self._blend.weights,
            "epochs": [{"loss": self._loss}],
            "online": {"windows": self._windows, **self._described},
        }
        data = Data(self.catalogue, self._window, Sessions.empty(), Sessions.empty(), summary)
        created_at = created_at or datetime.now(UTC).isoformat(timespec="seconds")
        terms = self._blend.terms(_on_catalogue(priors, self._active, len(self.catalogue)))
        packaged = Model(self._network, tensors, terms).packaged(data, metrics={}, created_at=created_at)
        self._served = _Served(packaged.release, self._active, priors)
        return packaged

    def _count(self, clicks: pl.DataFrame) -> None:
        self._windows += 1
        if len(clicks):
            learned = Learned.of(clicks)
            self._applied = self._applied.and_then(learned) if self._applied else learned

    def _places(self) -> Indexes:
        """Return the network index of each catalogue item, `[N + 1]`; the last entry stands for `NO_ITEM`."""
        return _places(self._active, len(self.catalogue))

    def _learn(self, served: _Served, sessions: Sessions) -> None:
        """Train the weights of the blend on `sessions` that are newer than the release `served`."""
        release = served.release
        known = sessions.items < len(release.catalogue)
        met = Sessions(np.where(known, sessions.items, NO_ITEM), sessions.starts, sessions.scored)
        hidden, _ = replay.hidden_before(release, met)
        places, lags = (
            _places(served.active, len(release.catalogue)),
            max(RECENT, self._settings.blend.repeat_lags),
        )
        lessons = Lessons(
            np.asarray(self._network.scaled(hidden[:, : self._settings.model.hidden_size])),
            places[replay.recent_items(met, lags)],
            places[replay.excluded_items(met, self._settings.evaluation.exclude_recent)],
            places[met.items[met.scored]],
            # Windows of sessions do not tell what their users clicked before.
            np.empty((met.predictions, 0), np.int32),
            np.empty((met.predictions, 0), np.int32),
        )
        tensors = {"embedding": self._rows.vectors()[served.active]}
        self._learned += 1
        rate = max(_LAST_BLEND_RATE, _BLEND_RATE / self._learned)
        self._blend.learn(lessons, tensors, served.priors, steps=_BLEND_STEPS, rate=rate)

    def _choose_active(self, now_ms: int) -> None:
        """Choose the currently most clicked items and load their rows into the network."""
        counts = popularity(self._past, now_ms, (self._half_life,), items=len(self.catalogue))[:, 0]
        most = np.argsort(-counts, kind="stable")[: self._size]
        self._active = np.sort(most[counts[most] > 0])
        self._rows.put(self._active)

    def _train(self, sessions: Sessions) -> None:
        settings = self._settings
        if not sessions.predictions:
            return
        # Fashion changes within a window, so the newest sessions are learned last ("News" in
        # tests/README.md).
        batches = InOrder(
            sessions,
            predictions=settings.training.batch_clicks,
            max_length=settings.training.max_session_clicks,
        )
        states = tf.zeros((1, self._network.state_size))
        epochs = settings.training.epochs_for(sessions.predictions)
        first = self._first_loss or 0.0
        for epoch in range(epochs):
            sums, place = Sums(), f"window {self._windows}, epoch {epoch + 1} of {epochs}"
            for batch in batches.epoch(epoch):
                loss, norm, _ = self._step(batch, states, self._steps)
                if self._first_loss is None:
                    self._first_loss = first = float(loss)
                position = f"{place}, after {sums.batches:,} batches"
                check_step(float(loss), float(norm), settings, first=first, position=position)
                sums.seen(len(batch.targets), float(loss))
                self._steps += 1
            self._loss = sums.loss / sums.predictions
            check_epoch(self._loss, largest_weight(self._network), settings, first=first, position=place)
        self._rows.keep(self._active)


class _Rows:
    """The per-item rows of all items: the embeddings, and the optimizer's state for them."""

    def __init__(
        self, network: Network, optimizer: Optimizer, size: int, random: np.random.Generator
    ) -> None:
        own = network.inputs_of.own
        self._variables = [own, *(one for one in optimizer.variables if one.shape == own.shape)]
        self._size, self._random = size, random
        self._rows = [np.zeros((0, own.shape[1]), np.float32) for _ in self._variables]

    def grow(self, items: int) -> None:
        """Grow to `items` rows; new items get newly initialised rows."""
        fresh = self._fresh(items - len(self._rows[0]))
        self._rows = [np.concatenate([rows, more]) for rows, more in zip(self._rows, fresh, strict=True)]

    def keep(self, active: NDArray[np.int64]) -> None:
        """Copy the rows of the `active` items from the network back into this table."""
        for rows, variable in zip(self._rows, self._variables, strict=True):
            rows[active] = variable.numpy()[: len(active)]

    def put(self, active: NDArray[np.int64]) -> None:
        """Copy the rows of the `active` items into the network; reinitialise the network's other rows."""
        fresh = self._fresh(self._size - len(active))
        for rows, more, variable in zip(self._rows, fresh, self._variables, strict=True):
            variable.assign(np.concatenate([rows[active], more]))

    def vectors(self) -> Floats:
        """Return the unit item vectors of the whole catalogue, `[N, D]`, for a release."""
        vectors = self._rows[0]
        unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def _fresh(self, count: int) -> list[Floats]:
        shape = (count, self._rows[0].shape[1])
        own = self._random.uniform(-SPREAD, SPREAD, shape).astype(np.float32)
        return [own, *(np.zeros(shape, np.float32) for _ in self._variables[1:])]


def _grown(catalogue: Catalogue, item_ids: pl.Series) -> Catalogue:
    """Return `catalogue` with the new items of `item_ids` appended."""
    found = item_ids.cast(pl.String).unique(maintain_order=True).to_list()
    new = [item for item, index in zip(found, catalogue.indexes(found), strict=True) if index == NO_ITEM]
    return Catalogue([*catalogue.ids(np.arange(len(catalogue))).tolist(), *new])


def _by_begin(clicks: pl.DataFrame) -> pl.DataFrame:
    """Return `clicks` with the sessions in the order of their first clicks."""
    begin = pl.col("timestamp_ms").min().over("session")
    return clicks.sort(begin, "session", maintain_order=True)


def _places(active: NDArray[np.int64], items: int) -> Indexes:
    places = np.full(items + 1, NO_ITEM, np.int32)
    places[active] = np.arange(len(active))
    return places


def _only(sessions: Sessions, places: Indexes) -> Sessions:
    """Return `sessions` with each item replaced by its network index in `places`, without inactive items.

    Sessions with fewer than two clicks left are dropped.
    """
    items = places[sessions.items]
    kept = items != NO_ITEM
    session = np.repeat(np.arange(len(sessions)), sessions.lengths)[kept]
    kept_ones = np.bincount(session, minlength=len(sessions))
    long = kept_ones[session] > 1
    starts = np.append(0, np.cumsum(kept_ones[kept_ones > 1]))
    scored = np.ones(starts[-1], np.bool_)
    scored[starts[:-1]] = False
    return Sessions(items[kept][long], starts, scored)


def _on_catalogue(priors: Priors, active: NDArray[np.int64], items: int) -> Priors:
    """Return the `priors` of the `active` items, extended to the catalogue; inactive items have no clicks."""
    entries, kinds = priors.transitions.shape[1:]
    near = priors.near.shape[1]
    found = Priors(
        np.full((items, priors.popularity.shape[1]), UNPOPULAR, np.float32),
        np.full((items, entries), NO_ITEM, np.int32),
        np.zeros((items, entries, kinds), np.float32),
        np.full((items, near), NO_ITEM, np.int32),
        np.zeros((items, near), np.float32),
    )
    for whole, part in zip(found, priors, strict=True):
        of_items = part.dtype == np.int32
        whole[active] = np.where(part != NO_ITEM, active[part], NO_ITEM) if of_items else part
    return found
