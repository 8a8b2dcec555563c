"""What a training works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
