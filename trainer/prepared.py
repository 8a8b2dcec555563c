"""What a training works on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.features import Features
from trainer.sessions import Sessions
from worker.core.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Data:
    """Training, validation and test sessions in the order of time, over the catalogue of the first.

    `summary` is what a manifest tells of them: counts, windows, and what cleaning removed.
    """

    catalogue: Catalogue
    train: Sessions
    validation: Sessions
    test: Sessions
    summary: dict[str, Any]
    features: Features | None = None
    never_clicked: int = 0
    """How many items at the catalogue's end have features and no training clicks."""

    @property
    def clicked_items(self) -> int:
        """How many items, the catalogue's first, were clicked in training."""
        return len(self.catalogue) - self.never_clicked

    @property
    def fingerprint(self) -> str:
        """The same for the same sessions to train on and to judge by, catalogue and features."""
        sha = hashlib.sha256()
        for part in (self.train, self.validation):
            for array in (part.items, part.starts, part.scored):
                sha.update(np.ascontiguousarray(array).tobytes())
        for tensor in self.catalogue.to_tensors().values():
            sha.update(tensor.tobytes())
        for column in self.features.categorical if self.features else ():
            sha.update(repr((column.name, column.values)).encode())
            sha.update(column.indexes.tobytes() + column.starts.tobytes())
        if self.features:
            sha.update(repr(self.features.numeric_names).encode() + self.features.numeric.tobytes())
        return sha.hexdigest()
