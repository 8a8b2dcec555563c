"""The prepared data of a training, and its summary for the manifest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.dataset.features import Features
from trainer.dataset.sessions import Sessions
from worker.core.catalogue import Catalogue


class EveryItem(NamedTuple):
    """The sessions before the test split (training and validation), uncleaned, and the sessions of `test`.

    Both are over all items of the former, also those that are not in the release's catalogue, because the
    baselines leave out no item. The sessions of `test` are those of `Data.test`, in the same order.
    """

    past: Sessions
    test: Sessions
    past_users: NDArray[np.uint64]
    test_users: NDArray[np.uint64]
    """`[C]`: the user of each click, as a number (`trainer.dataset.sessions.numbered`)."""
    context: NDArray[np.bool_]
    """`[C]`: whether a click of `test` is in `past`, too, as the earlier clicks of an endless session are."""


@dataclass(frozen=True, slots=True)
class Data:
    """Training, validation and test sessions, split by time. The training sessions define the catalogue.

    `summary` describes the data for the manifest: counts, times, and the clicks that cleaning removed.
    """

    catalogue: Catalogue
    train: Sessions
    validation: Sessions
    test: Sessions
    summary: dict[str, Any]
    features: Features | None = None
    never_clicked: int = 0
    """Number of items that have features but no training clicks; they are last in the catalogue."""
    every_item: EveryItem | None = None
    """The sessions on which the baselines are measured; None if there is no test split."""

    @property
    def clicked_items(self) -> int:
        """Number of items with training clicks; they are first in the catalogue."""
        return len(self.catalogue) - self.never_clicked

    @property
    def fingerprint(self) -> str:
        """A hash of the training and validation sessions, the catalogue and the features."""
        sha = hashlib.sha256()
        for part in (self.train, self.validation):
            for array in (part.items, part.starts, part.scored, part.times_ms, *(part.history or ())):
                sha.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        for tensor in self.catalogue.to_tensors().values():
            sha.update(tensor.tobytes())
        for column in self.features.categorical if self.features else ():
            sha.update(repr((column.name, column.values)).encode())
            sha.update(column.indexes.tobytes() + column.starts.tobytes())
        if self.features:
            sha.update(repr(self.features.numeric_names).encode() + self.features.numeric.tobytes())
        return sha.hexdigest()


class Learned(NamedTuple):
    """The extent of training data: numbers of clicks and sessions, first and last click time (ms)."""

    clicks: int
    sessions: int
    first_ms: int
    last_ms: int

    @classmethod
    def of(cls, sessions: pl.DataFrame) -> Learned:
        """Return the extent of `sessions`, a table with at least one click."""
        times_ms = sessions["timestamp_ms"].to_numpy()
        return cls(len(sessions), sessions["session"].n_unique(), int(times_ms.min()), int(times_ms.max()))

    def and_then(self, later: Learned) -> Learned:
        """Return the combined extent of this data and `later` data."""
        return Learned(
            self.clicks + later.clicks,
            self.sessions + later.sessions,
            min(self.first_ms, later.first_ms),
            max(self.last_ms, later.last_ms),
        )

    def summary(self) -> dict[str, Any]:
        """Return the extent in the form of the manifest."""
        return {
            "clicks": self.clicks,
            "sessions": self.sessions,
            "first_click": moment(self.first_ms),
            "last_click": moment(self.last_ms),
        }


def moment(time_ms: int) -> str:
    """Format a time in milliseconds as in the manifest.

    >>> moment(1_600_000_000_000)
    '2020-09-13T12:26:40+00:00'
    """
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")
