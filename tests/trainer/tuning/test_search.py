from __future__ import annotations

import dataclasses
from pathlib import Path

import optuna
import pytest

from trainer.config import FitSettings
from trainer.tuning.search import Search, Trial, next_trial, settings_of, speak_through
from trainer.tuning.space import space
from worker.errors import SettingError

SEARCHED = space(["training.batch_clicks", "model.hidden_size", "model.layers", "loss.function"])
OTHERS = [
    Trial(
        {"optimizer.learning_rate": rate, "model.dropout": 0.1, "model.scale": 12.0}, [rate, 50 * rate], 1.0
    )
    for rate in (0.001, 0.002, 0.004, 0.008)
]
GIVEN_UP = dataclasses.replace(OTHERS[0], values=[0.0], given_up="the loss became nan")


def test_the_first_trial_has_the_settings_that_fit_would_use() -> None:
    """A search never ends with worse than nobody's choice: defaults, and decisions from the clicks."""
    decided = FitSettings.of(dropout=0.4, seed=3)

    first = settings_of(next_trial([], SEARCHED, decided))

    assert first == {"optimizer.learning_rate": 2e-3, "model.dropout": 0.4, "model.scale": 16.0}


def test_the_next_trial_depends_on_the_trials_and_the_seed_alone() -> None:
    """A search that was killed goes on as if nothing had happened; one that was given up counts too."""
    trials = [*OTHERS, GIVEN_UP] * 3

    chosen = [settings_of(next_trial(trials, SEARCHED, FitSettings.of(seed=seed))) for seed in (0, 0, 1)]

    assert chosen[0] == chosen[1] != chosen[2]
    assert settings_of(next_trial([*trials, OTHERS[0]], SEARCHED, FitSettings())) != chosen[0]


def test_a_trial_worse_than_the_median_is_given_up() -> None:
    """From the second epoch on, where enough others are known."""
    bad, good = (next_trial([*OTHERS, OTHERS[0]], SEARCHED, FitSettings()) for _ in range(2))
    bad.report(0.0, 1)
    at_once = bad.should_prune()
    bad.report(0.01, 2)
    good.report(0.3, 2)

    assert (at_once, bad.should_prune(), good.should_prune()) == (False, True, False)


def test_a_search_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """With the time that went into a trial that did not finish."""
    search = Search.resumed(tmp_path / "deep" / "trials.json", {"clicks": "a"})
    search.spend(2.0, OTHERS[0])
    search.spend(3.0, OTHERS[1])
    search.spend(0.5)

    again = Search.resumed(tmp_path / "deep" / "trials.json", {"clicks": "a"})

    assert again == search
    assert (again.seconds, again.best) == (5.5, OTHERS[1])


def test_a_trial_that_was_given_up_is_never_the_best(tmp_path: Path) -> None:
    """However well it began."""
    search = Search(tmp_path / "trials.json", {})

    search.spend(1.0, dataclasses.replace(GIVEN_UP, values=[0.9]))

    assert search.best is None


def test_trials_on_other_clicks_are_not_mixed_in(tmp_path: Path) -> None:
    """The error names what differs and the way out."""
    Search(tmp_path / "trials.json", {"clicks": "a", "epochs": 3}).spend(1.0)

    with pytest.raises(SettingError, match=r"is a search with different clicks, epochs; choose another"):
        Search.resumed(tmp_path / "trials.json", {"clicks": "b", "epochs": 4})


@pytest.mark.parametrize("content", ["{", "[]", '{"trials": [{"what": 1}]}'])
def test_a_file_that_holds_no_search_is_left_alone(tmp_path: Path, content: str) -> None:
    """It may be somebody's."""
    path = tmp_path / "trials.json"
    path.write_text(content)

    with pytest.raises(SettingError, match="is not a saved search"):
        Search.resumed(path, {})
    assert path.read_text() == content


def test_what_optuna_warns_of_is_said_by_us(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing goes past the trainer's own voice; what Optuna is merely glad to tell is not told."""
    said: list[str] = []
    speak_through(said.append)

    next_trial([], SEARCHED, FitSettings())
    optuna.logging.get_logger("optuna.study").warning("trial %d is odd", 7)

    assert said == ["optuna: trial 7 is odd"]
    assert capsys.readouterr() == ("", "")
