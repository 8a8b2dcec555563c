"""Tuning: a search for the best settings, judged on the validation split, never on the test split.

A search is stored in a folder: `trials.json` has all finished trials (see `search`), and `best.toml` has the
best settings, for `fit --config`.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import optuna
import polars as pl

from trainer.config import FitSettings, TrainerSettings, recorded
from trainer.console import Progress
from trainer.dataset.dataset import Data
from trainer.dataset.prepare import prepare
from trainer.dataset.sessions import Sessions
from trainer.errors import BudgetTooSmall, TooFewClicks, TrainingDiverged
from trainer.files_on_disk import write_file
from trainer.model.backend import keras
from trainer.training import fit
from trainer.training.decisions import decided
from trainer.tuning.search import Search, Trial, next_trial, settings_of, speak_through
from trainer.tuning.space import space
from worker.errors import ReleaseRefused, SettingError
from worker.settings.fields import duration_text, fields_of
from worker.settings.loading import replaced, to_toml

TRIALS: Final = "trials.json"
BEST: Final = "best.toml"

_KEPT: Final = ("click", "files", *FitSettings.model_fields)
"""The sections in `best.toml`: how clicks are read, and the settings of a training."""


class Budget(NamedTuple):
    """The limits of a search: the number of trials and the total seconds, both including earlier runs."""

    trials: int
    seconds: float = math.inf


class Tuned(NamedTuple):
    """The best settings, and their metric on the validation split."""

    settings: TrainerSettings
    value: float


def tune(
    clicks: pl.DataFrame | pl.LazyFrame,
    settings: TrainerSettings,
    *,
    given: Collection[str],
    folder: Path,
    budget: Budget,
    progress: Progress,
    now: datetime | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Tuned:
    """Search for better settings, starting from `settings`; the settings named in `given` keep their values.

    A search in `folder` on the same clicks and settings is resumed. Raises TooFewClicks if the validation
    split is empty, and BudgetTooSmall if no trial is completed within the budget.
    """
    speak_through(progress.say)
    searched = space(given)
    data = _without_test_end(prepare(clicks, settings, progress, now or datetime.now(UTC)))
    settings = decided(data, settings, progress)
    search = Search.resumed(folder / TRIALS, _made_of(data, settings, searched))
    if search.trials:
        progress.say(f"resuming the search in {folder} after {len(search.trials)} trials")
    while len(search.trials) < budget.trials and search.seconds < budget.seconds:
        asked = next_trial(search.trials, searched, settings)
        watched = _Watched(
            progress, asked, settings.evaluation.top, clock, seconds=budget.seconds - search.seconds
        )
        try:
            trial = _run(data, settings, settings_of(asked), watched)
        except _TimeIsUp:
            search.spend(watched.spent)
            progress.say(
                f"time limit reached; trial {len(search.trials) + 1} is discarded, {watched.how_far} done"
            )
            break
        search.spend(trial.seconds, trial)
        _write_best(folder, search, settings)
        progress.say(_summary_text(search, budget, settings.evaluation.top))
    return _tuned(search, settings, budget)


class _TimeIsUp(Exception):
    """Raised during a trial when the time limit of the search is reached."""


class _Watched(Progress):
    """The progress of a trial, forwarded to `teller`.

    An exception stops the trial at the time limit, or if the trial is not promising. `values`
    are the validation metrics of the finished epochs.
    """

    def __init__(
        self,
        teller: Progress,
        trial: optuna.Trial,
        top: int,
        clock: Callable[[], float],
        *,
        seconds: float,
    ) -> None:
        self._teller = teller
        self._trial = trial
        self._metric = f"mrr_at_{top}"
        self._clock = clock
        self._began = clock()
        self._seconds = seconds
        self._done, self._total = 0, 1
        self.values: list[float] = []

    @property
    def spent(self) -> float:
        """Seconds since the trial started."""
        return self._clock() - self._began

    @property
    def how_far(self) -> str:
        """The finished share of the training, as text for display."""
        return f"{self._done / self._total:.0%}"

    def say(self, line: str) -> None:
        """Forward `line`, indented."""
        self._teller.say(f"  {line}")

    def start(self, predictions: int) -> None:
        """Record the length of the training, in predictions."""
        self._total = predictions
        self._teller.start(predictions)

    def advance(self, predictions: int, loss: float) -> None:
        """Add a training step. Raises _TimeIsUp at the time limit."""
        self._done += predictions
        self._teller.advance(predictions, loss)
        if self.spent > self._seconds:
            raise _TimeIsUp

    def epoch(self, number: int, results: Mapping[str, float]) -> None:
        """Record an epoch. Raises TrialPruned if the trial is worse than the median of the other trials."""
        self.values.append(results[self._metric])
        self._trial.report(self.values[-1], number)
        if self._done < self._total and self._trial.should_prune():
            raise optuna.TrialPruned(f"worse than most other trials after epoch {number}")

    def stop(self) -> None:
        """Forward the end of the training."""
        self._teller.stop()


def _run(data: Data, settings: TrainerSettings, searched: dict[str, Any], watched: _Watched) -> Trial:
    """Return the trial of a training with `settings` overridden by `searched`. Raises _TimeIsUp."""
    given_up = ""
    try:
        fit.train(data, replaced(settings, searched), watched)
    except optuna.TrialPruned as why:
        given_up = str(why)
    except (
        ReleaseRefused,
        SettingError,
        TrainingDiverged,
    ) as error:  # also if the settings cannot be combined
        given_up = str(error)
    finally:
        keras.backend.clear_session()  # otherwise the graphs of all trials stay in memory
    return Trial(searched, watched.values, watched.spent, given_up)


def _without_test_end(data: Data) -> Data:
    """Return `data` without the test split. Raises TooFewClicks if there are no validation clicks."""
    if not data.validation.predictions:
        raise TooFewClicks(
            "there are no validation clicks to compare settings on; "
            "increase dataset.validation_fraction or use more clicks"
        )
    return dataclasses.replace(data, test=Sessions.empty(), every_item=None)


def _made_of(data: Data, settings: TrainerSettings, searched: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description of the clicks and settings that all trials of a search share."""
    fixed = {
        key: recorded(settings.to_json(), key) for key, _ in fields_of(FitSettings) if key not in searched
    }
    asked = {name: str(searched[name]) for name in searched}
    return {"clicks": data.fingerprint, "search": asked, **fixed}


def _summary_text(search: Search, budget: Budget, top: int) -> str:
    trial, best = search.trials[-1], search.best
    outcome = f"stopped ({trial.given_up})" if trial.given_up else f"MRR@{top} {trial.value:.4f}"
    leading = f"best {best.value:.4f} (trial {search.trials.index(best) + 1})" if best else "no result yet"
    return (
        f"trial {len(search.trials)} of {budget.trials}: {outcome} with {_listed(trial.settings)}; "
        f"{leading}; {_time_left(search, budget):.0f} s left"
    )


def _time_left(search: Search, budget: Budget) -> float:
    per_trial = search.seconds / len(search.trials)
    return min(per_trial * (budget.trials - len(search.trials)), max(0.0, budget.seconds - search.seconds))


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )


def _write_best(folder: Path, search: Search, settings: TrainerSettings) -> None:
    if search.best:
        text = to_toml(replaced(settings, search.best.settings), _KEPT)
        write_file(folder / BEST, text.encode())


def _tuned(search: Search, settings: TrainerSettings, budget: Budget) -> Tuned:
    best = search.best
    if best is None and search.trials:
        raise BudgetTooSmall(
            f"all {len(search.trials)} trials were stopped (the last one: {search.trials[-1].given_up}); "
            "increase --trials, or set some of the searched settings yourself"
        )
    if best is None:
        raise BudgetTooSmall(
            f"no trial finished in {search.seconds:.0f} s; increase --time "
            f"({duration_text(budget.seconds)}) or lower training.epochs"
        )
    return Tuned(replaced(settings, best.settings), best.value)
