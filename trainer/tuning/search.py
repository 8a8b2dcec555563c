"""The trials of a search, and the choice of the next one.

A search has no state but its finished trials and its seed: the study that Optuna chooses from is made
of them for every trial again. So a search that was killed goes on as if nothing had happened, with the
trial that was running.
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

from trainer.files_on_disk import write_file
from trainer.tuning.space import default_values
from worker.errors import SettingError

JUDGED_AFTER_TRIALS: Final = 5
JUDGED_AFTER_EPOCHS: Final = 2
"""From then on a trial is given up where its best epoch is worse than the median of the others' so far."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A training with `settings`: the `values` of its epochs on the validation split, and its duration.

    `given_up` is the reason for an early end; empty: it ended in order.
    """

    settings: dict[str, Any]
    values: list[float]
    seconds: float
    given_up: str = ""

    @property
    def value(self) -> float:
        """The value of the best epoch, which is the one that a training keeps; -1 for a trial given up."""
        return -1.0 if self.given_up else max(self.values)


@dataclass(slots=True)
class Search:
    """The finished trials, kept in a file; `seconds` counts what was spent on an unfinished one too.

    `made_of` says what the trials have in common: clicks and settings. Results on others cannot be
    compared with them.
    """

    path: Path
    made_of: Mapping[str, Any]
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def resumed(cls, path: Path, made_of: Mapping[str, Any]) -> Search:
        """Return the search stored in the file `path`, or a new one if there is none. Raises SettingError."""
        search = cls(path, made_of)
        if not path.exists():
            return search
        try:
            document = orjson.loads(path.read_bytes())
            search.trials = [Trial(**trial) for trial in document["trials"]]
            search.seconds = float(document["seconds"])
            differing = _differing(document["made_of"], made_of)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise SettingError(f"{path} holds no search ({error!r}); name another folder") from None
        if differing:
            raise SettingError(
                f"{path} holds a search with other {', '.join(differing)}: name another folder, "
                "or remove this one to start afresh"
            )
        return search

    @property
    def best(self) -> Trial | None:
        """The trial with the best value, the first of equals; None before one came to its end."""
        ended = [trial for trial in self.trials if not trial.given_up]
        return max(ended, key=lambda trial: trial.value, default=None)

    def spend(self, seconds: float, trial: Trial | None = None) -> None:
        """Write down that `seconds` went by, and the finished `trial` that they were for."""
        self.seconds += seconds
        self.trials += [trial] if trial else []
        document = {
            "made_of": self.made_of,
            "seconds": self.seconds,
            "trials": [asdict(one) for one in self.trials],
        }
        write_file(self.path, orjson.dumps(document, option=orjson.OPT_INDENT_2))


def next_trial(trials: list[Trial], searched: Mapping[str, BaseDistribution], seed: int) -> optuna.Trial:
    """Return the trial after `trials`, determined by them and the seed. The first one has the defaults."""
    study = optuna.create_study(
        direction="maximize",
        # A seed per trial: a sampler that lived on would have drawn more numbers than a new one.
        sampler=TPESampler(seed=1000 * seed + len(trials), multivariate=True),
        pruner=MedianPruner(n_startup_trials=JUDGED_AFTER_TRIALS, n_warmup_steps=JUDGED_AFTER_EPOCHS),
    )
    study.add_trials([_told(trial, searched) for trial in trials])
    if not trials:
        study.enqueue_trial(default_values(searched))
    return study.ask(dict(searched))


def settings_of(trial: optuna.Trial) -> dict[str, Any]:
    """Return the settings to run `trial` with, rounded to three digits, which are enough and can be typed."""
    return {
        name: float(f"{value:.3g}") if isinstance(value, float) else value
        for name, value in trial.params.items()
    }


def speak_through(say: Callable[[str], None]) -> None:
    """Pass Optuna's warnings to `say`, and silence its other messages: the trainer reports them itself."""

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(f"optuna: {record.getMessage()}")

    optuna.logging.disable_default_handler()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").handlers = [Said()]


def _told(trial: Trial, searched: Mapping[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    return optuna.create_trial(
        params=trial.settings,
        distributions=dict(searched),
        state=TrialState.PRUNED if trial.given_up else TrialState.COMPLETE,
        value=None if trial.given_up else trial.value,
        intermediate_values=dict(enumerate(trial.values, start=1)),
    )


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names under which `one` and `other` have different values."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
