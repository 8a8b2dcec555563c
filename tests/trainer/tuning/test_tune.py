from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from click.testing import CliRunner

from tests.trainer.builders import NOW, cyclic_clicks, set_to
from tests.waiting import eventually
from trainer.commands.cli import cli
from trainer.config import TrainerSettings
from trainer.console import Progress
from trainer.errors import BudgetTooSmall, TooFewClicks
from trainer.release.folder import read_folder
from trainer.tuning.tune import Budget, Tuned, tune
from worker.errors import SettingError
from worker.settings.loading import load

SMALL = TrainerSettings.of(hidden_size=8, epochs=2, batch_clicks=64, top=3)
GIVEN = ["model.hidden_size", "training.batch_clicks", "model.layers", "loss.function"]


def tuned(folder: Path, budget: Budget, clicks: pl.DataFrame | None = None, **more: Any) -> Tuned:
    """A search on a cycle."""
    more = {"settings": SMALL, "progress": Progress(), **more}
    clicks = cyclic_clicks(100) if clicks is None else clicks
    return tune(clicks, given=more.pop("given", GIVEN), folder=folder, budget=budget, now=NOW, **more)


def trials_in(folder: Path) -> list[dict[str, Any]]:
    """The finished trials of the search in `folder`, without how long they took."""
    path = folder / "trials.json"
    trials = orjson.loads(path.read_bytes())["trials"] if path.exists() else []
    return [{name: value for name, value in trial.items() if name != "seconds"} for trial in trials]


@pytest.mark.slow
def test_a_search_ends_with_its_best_settings_in_a_file(tmp_path: Path) -> None:
    """The best of the values of all epochs; what was given stays as it is."""
    best = tuned(tmp_path, Budget(trials=2))

    trials = trials_in(tmp_path)
    assert best.value == max(max(trial["values"]) for trial in trials)
    assert load(TrainerSettings, tmp_path / "best.toml", {}) == best.settings
    assert best.settings.model.hidden_size == 8
    assert trials[0]["settings"] == {
        "optimizer.learning_rate": 2e-3,
        "model.dropout": 0.25,
        "model.scale": 16.0,
    }


@pytest.mark.slow
def test_a_search_with_more_trials_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    """One and one more are the same as two, and what is done is not done again."""
    tuned(tmp_path / "once", Budget(trials=2))
    tuned(tmp_path / "twice", Budget(trials=1))
    before = (tmp_path / "twice" / "trials.json").read_bytes()

    tuned(tmp_path / "twice", Budget(trials=1))
    assert (tmp_path / "twice" / "trials.json").read_bytes() == before
    tuned(tmp_path / "twice", Budget(trials=2))

    assert trials_in(tmp_path / "twice") == trials_in(tmp_path / "once")


@pytest.mark.slow
def test_other_features_are_another_search(tmp_path: Path) -> None:
    """Be the file's name the same: trials with other contents cannot be compared."""
    file = tmp_path / "items.csv"
    settings = SMALL.replaced(file=str(file), categorical=("genre",), min_value_count=1)
    file.write_text("id,genre\nitem-0,x\nitem-1,y\n")
    tuned(tmp_path, Budget(trials=1), settings=settings)
    file.write_text("id,genre\nitem-0,y\nitem-1,x\n")

    with pytest.raises(SettingError, match="is a search with different clicks"):
        tuned(tmp_path, Budget(trials=1), settings=settings)


@pytest.mark.slow
def test_the_test_end_is_never_looked_at(tmp_path: Path) -> None:
    """What users click there changes no value."""
    clicks = cyclic_clicks(100)
    end = pl.int_range(pl.len()) >= 0.9 * len(clicks)
    other = clicks.with_columns(item_id=pl.when(end).then(pl.lit("item-0")).otherwise("item_id"))

    tuned(tmp_path / "one", Budget(trials=1), clicks)
    tuned(tmp_path / "other", Budget(trials=1), other)

    assert trials_in(tmp_path / "one") == trials_in(tmp_path / "other")


def clock_of(seconds: float) -> Any:
    """A clock that goes forward by so much whenever it is looked at."""
    times: Iterator[float] = count(0.0, seconds)
    return lambda: next(times)


@pytest.mark.slow
def test_a_budget_too_small_for_one_trial_is_an_error(tmp_path: Path) -> None:
    """It says so, now and when the same is tried again."""
    for _ in range(2):
        with pytest.raises(BudgetTooSmall, match=r"no trial finished in \d+ s; increase --time"):
            tuned(tmp_path, Budget(trials=3, seconds=2.0), clock=clock_of(1.0))


@pytest.mark.slow
def test_when_the_time_is_up_the_best_so_far_counts(tmp_path: Path) -> None:
    """The trial that was running is lost; with more time it is run again."""
    tuned(tmp_path, Budget(trials=1))
    spent = orjson.loads((tmp_path / "trials.json").read_bytes())["seconds"]

    best = tuned(tmp_path, Budget(trials=3, seconds=spent + 2.0), clock=clock_of(1.0))

    assert len(trials_in(tmp_path)) == 1
    assert best.value == max(trials_in(tmp_path)[0]["values"])


def test_without_a_validation_end_nothing_can_be_judged(tmp_path: Path) -> None:
    """The error names the setting."""
    with pytest.raises(TooFewClicks, match=r"increase dataset\.validation_fraction"):
        tuned(tmp_path, Budget(trials=1), settings=TrainerSettings.of(validation_fraction=0.0))


@pytest.mark.slow
def test_a_training_that_diverges_is_given_up(tmp_path: Path) -> None:
    """The search goes on with the next trial, and says what is wrong where all diverge."""
    settings = TrainerSettings.of(
        algorithm="sgd", learning_rate=1e30, clip_norm=0.0, normalize=False, output_table="separate"
    )

    with pytest.raises(
        BudgetTooSmall, match=r"all 1 trials were stopped \(the last one: the training diverged in epoch 1"
    ):
        tuned(
            tmp_path, Budget(trials=1), settings=settings, given={"optimizer.learning_rate", "loss.function"}
        )


@pytest.mark.slow
def test_a_search_killed_in_a_trial_goes_on_with_it(tmp_path: Path) -> None:
    """After kill -9 the same command ends with the same trials as one that was left alone."""
    clicks = tmp_path / "clicks.csv"
    cyclic_clicks(100).write_csv(clicks)

    def search(folder: str) -> list[str]:
        options = ["--trials", "3", *set_to("training.epochs=2", "model.hidden_size=8", "evaluation.top=3")]
        return ["tune", str(clicks), "-o", str(tmp_path / folder), *options]

    words = [sys.executable, "-m", "trainer", *search("killed")]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: trials_in(tmp_path / "killed"), 60, "a trial")
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    before = trials_in(tmp_path / "killed")

    resumed = CliRunner().invoke(cli, search("killed"), catch_exceptions=False)
    command(*search("alone"))

    assert f"resuming the search in {tmp_path / 'killed'} after {len(before)} trials" in resumed.stderr
    assert trials_in(tmp_path / "killed") == trials_in(tmp_path / "alone")
    assert trials_in(tmp_path / "killed")[: len(before)] == before


@pytest.mark.slow
def test_a_search_ends_with_a_command_line_that_works(tmp_path: Path) -> None:
    """It trains with the file; what is set on the command line wins over the file."""
    clicks, best = tmp_path / "my clicks.csv", tmp_path / "tuned" / "best.toml"
    cyclic_clicks(100).write_csv(clicks)
    fixed = set_to("training.epochs=2", "model.hidden_size=8", "evaluation.top=3", "dataset.session_gap=45m")
    found = command("tune", clicks, "-o", tmp_path / "tuned", "--trials", "1", *fixed)
    line = shlex.split(found.splitlines()[-1])
    again = command("tune", clicks, "-o", tmp_path / "tuned", "--trials", "1", *fixed, "--json")

    command(*line[1:], "-o", tmp_path / "read")
    command("fit", clicks, "--config", best, *set_to("model.hidden_size=4"), "-o", tmp_path / "other")

    read, other = (read_folder(tmp_path / name).manifest for name in ("read", "other"))
    facts = orjson.loads(again)
    assert facts["config"] == str(best)
    assert found.startswith(f"best MRR@3 on the validation split: {facts['mrr_at_3']:.4f}, in ")
    assert line[1:] == ["fit", str(clicks), "--config", str(best)]
    assert read.session_gap_seconds == 45 * 60
    assert (read.hidden_size, other.hidden_size) == (8, 4)


def command(*arguments: str | Path) -> str:
    """What the command line prints."""
    done = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout
