"""Every error that the trainer raises on purpose, under the root that it shares with the worker.

::

    NextclickError
      SettingError              (the worker's) a setting cannot be used
        ArchiveInUse            another process writes the click archive
      UnusableClicks            the clicks cannot be trained on or measured with
        UnreadableFile          a file is missing, empty, or not of the format its name says
        MissingColumn           a file has no column for users, items or times
        TooFewClicks            what is left after cleaning is not enough
      TrainingDiverged          the loss of a training grew instead of falling
      BudgetTooSmall            a search ended before its first trial did
      Retriable                 (the worker's) the same thing may work later
        TrainingDied            the process of a training ended without a result

Apart from the last none is retriable: the input has to change.
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
    """Raised when another process writes the click archive that this one would write."""


class UnusableClicks(NextclickError):
    """Raised when clicks cannot be trained on or measured with."""


class UnreadableFile(UnusableClicks):
    """Raised when a file of clicks is missing, empty, or not of the format that its name says."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


class MissingColumn(UnusableClicks):
    """Raised when no column can be taken for `role` (user, item or timestamp)."""

    def __init__(self, message: str, *, role: str, existing: Sequence[str]) -> None:
        super().__init__(message)
        self.role = role
        self.existing = tuple(existing)


class TooFewClicks(UnusableClicks):
    """Raised when the clicks that are left after cleaning are not enough."""


class TrainingDied(Retriable):
    """Raised when the process of a training ended without a result, killed for its memory perhaps."""


class TrainingDiverged(NextclickError):
    """Raised when the loss of a training, or a gradient, is no finite number, or far above the first."""


class BudgetTooSmall(NextclickError):
    """Raised when the time of a search is over before one trial is."""
