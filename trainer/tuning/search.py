"""The trials of a search, and the choice of the next trial.

The only state of a search is its finished trials and its seed: Optuna's study is rebuilt from them for every
trial. So a search that was killed resumes with the trial that was running, as if it had not been interrupted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import optuna
import orjson
from optuna.distributions import BaseDistribution
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from trainer.config import FitSettings
from trainer.files_on_disk import write_file
from trainer.tuning.space import values_in
from worker.errors import SettingError

JUDGED_AFTER_TRIALS: Final = 5
JUDGED_AFTER_EPOCHS: Final = 2
"""Numbers of finished trials and of epochs after which a trial is stopped if its best epoch so far is worse
than the median of the other trials up to the same epoch."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A training with `settings`: its validation metric after each epoch (`values`), and its duration.

    `given_up` is the reason why the trial was stopped; empty if it was completed.
    """

    settings: dict[str, Any]
    values: list[float]
    seconds: float
    given_up: str = ""

    @property
    def value(self) -> float:
        """The metric of the best epoch, whose weights a training keeps; -1 if the trial was stopped."""
        return -1.0 if self.given_up else max(self.values)


@dataclass(slots=True)
class Search:
    """The finished trials, stored in the file `path`, and the total time, including unfinished trials.

    `made_of` describes the clicks and settings that all trials share. Trials on other clicks or settings
    cannot be compared.
    """

    path: Path
    made_of: Mapping[str, Any]
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def resumed(cls, path: Path, made_of: Mapping[str, Any]) -> Search:
        """Return the search stored in the file `path`, or a new search if the file does not exist.

        Raises SettingError if the file is not a search, or a search with another `made_of`.
        """
        search = cls(path, made_of)
        if not path.exists():
            return search
        try:
            document = orjson.loads(path.read_bytes())
            search.trials = [Trial(**trial) for trial in document["trials"]]
            search.seconds = float(document["seconds"])
            differing = _differing(document["made_of"], made_of)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise SettingError(f"{path} is not a saved search ({error!r}); choose another folder") from None
        if differing:
            raise SettingError(
                f"{path} is a search with different {', '.join(differing)}; choose another folder, or "
                "delete this one to start a new search"
            )
        return search

    @property
    def best(self) -> Trial | None:
        """The completed trial with the best value, the first if tied; None if no trial is completed."""
        ended = [trial for trial in self.trials if not trial.given_up]
        return max(ended, key=lambda trial: trial.value, default=None)

    def spend(self, seconds: float, trial: Trial | None = None) -> None:
        """Add the `seconds` of a trial, and the `trial` itself if it finished; save the search."""
        self.seconds += seconds
        self.trials += [trial] if trial else []
        document = {
            "made_of": self.made_of,
            "seconds": self.seconds,
            "trials": [asdict(one) for one in self.trials],
        }
        write_file(self.path, orjson.dumps(document, option=orjson.OPT_INDENT_2))


def next_trial(
    trials: list[Trial], searched: Mapping[str, BaseDistribution], settings: FitSettings
) -> optuna.Trial:
    """Return the trial that follows `trials`; it depends only on the arguments.

    The first trial has the values in `settings`: the defaults, and what was decided from the clicks.
    """
    study = optuna.create_study(
        direction="maximize",
        # A seed per trial: a resumed search then samples the same values as an uninterrupted search.
        sampler=TPESampler(seed=1000 * settings.training.seed + len(trials), multivariate=True),
        pruner=MedianPruner(n_startup_trials=JUDGED_AFTER_TRIALS, n_warmup_steps=JUDGED_AFTER_EPOCHS),
    )
    study.add_trials([_reported(trial, searched) for trial in trials])
    if not trials:
        study.enqueue_trial(values_in(settings, searched))
    return study.ask(dict(searched))


def settings_of(trial: optuna.Trial) -> dict[str, Any]:
    """Return the settings of `trial`, rounded to three significant digits so that they are easy to type."""
    return {
        name: float(f"{value:.3g}") if isinstance(value, float) else value
        for name, value in trial.params.items()
    }


def speak_through(say: Callable[[str], None]) -> None:
    """Pass Optuna's warnings to `say`, and silence its other messages, which the trainer reports itself."""

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(f"optuna: {record.getMessage()}")

    optuna.logging.disable_default_handler()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").handlers = [Said()]


def _reported(trial: Trial, searched: Mapping[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    return optuna.create_trial(
        params=trial.settings,
        distributions=dict(searched),
        state=TrialState.PRUNED if trial.given_up else TrialState.COMPLETE,
        value=None if trial.given_up else trial.value,
        intermediate_values=dict(enumerate(trial.values, start=1)),
    )


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the keys whose values differ between `one` and `other`."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
