"""The errors that the trainer raises. Like the worker's errors, they derive from `NextclickError`.

::

    NextclickError
      SettingError              (the worker's) a setting cannot be used
        ArchiveInUse            another process writes to the click archive
      UnusableClicks            the clicks cannot be used for training or evaluation
        UnreadableFile          a file is missing, empty, damaged, or in an unknown format
        MissingColumn           a file has no column for users, items or times
        TooFewClicks            too few clicks are left after cleaning
      TrainingDiverged          the loss or the weights of a training grew out of bounds
      BudgetTooSmall            a search ended without a completed trial
      Retriable                 (the worker's) a retry may succeed
        TrainingDied            the training process ended without a result

Only `TrainingDied` is retriable; the other errors need different clicks or settings.
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.errors import NextclickError, Retriable, SettingError

__all__ = [
    "ArchiveInUse",
    "BudgetTooSmall",
    "MissingColumn",
    "TooFewClicks",
    "TrainingDied",
    "TrainingDiverged",
    "UnreadableFile",
    "UnusableClicks",
]


class ArchiveInUse(SettingError):
    """Raised when another process already writes to the same click archive."""


class UnusableClicks(NextclickError):
    """Raised when clicks cannot be used for training or evaluation."""


class UnreadableFile(UnusableClicks):
    """Raised when a file is missing, empty, damaged, in an unknown format, or has bad items or rules."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


class MissingColumn(UnusableClicks):
    """Raised when a file has no recognisable column for `role` (user, item or timestamp)."""

    def __init__(self, message: str, *, role: str, existing: Sequence[str]) -> None:
        super().__init__(message)
        self.role = role
        self.existing = tuple(existing)


class TooFewClicks(UnusableClicks):
    """Raised when too few clicks are left after cleaning."""


class TrainingDied(Retriable):
    """Raised when the training process ended without a result, for example killed for lack of memory."""


class TrainingDiverged(NextclickError):
    """Raised when a loss or gradient is not finite, a weight is huge, or an epoch's loss is far too high."""


class BudgetTooSmall(NextclickError):
    """Raised when a search reaches its limit of time or trials without a completed trial."""
