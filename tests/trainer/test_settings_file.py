from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from trainer.clicks.columns import Columns
from trainer.commands.fit import fit
from trainer.commands.options import settings_of
from trainer.commands.tune import command_line
from trainer.config import FitSettings
from trainer.settings_file import changed, read_settings, to_toml
from worker.errors import SettingError


def test_settings_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    """Text, integers, small numbers; what nobody changed is not in the file."""
    settings = FitSettings(cell="lstm", hidden_size=64, learning_rate=1e-05, session_gap_seconds=60.5)
    path = tmp_path / "best.toml"
    path.write_text(to_toml(settings))

    values = read_settings(path, FitSettings().to_json())

    assert values == changed(settings)
    assert FitSettings(**values) == settings


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hidden = 3\nrate = 1\n", "has hidden, rate, which are no settings; there are: average_decay, "),
        ("hidden_size 3", "is no TOML: "),
        (None, "No such file"),
    ],
    ids=["unknown", "broken", "missing"],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    """With what is wrong with it."""
    path = tmp_path / "settings.toml"
    if content is not None:
        path.write_text(content)

    with pytest.raises(SettingError, match=message):
        read_settings(path, FitSettings().to_json())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('hidden_size = "large"', "hidden_size is 'large', it must be a whole number"),
        ("hidden_size = 2014-09-29", "hidden_size is 2014-09-29, it must be a whole number"),
        ("epochs = 2.5", "epochs is 2.5, it must be a whole number"),
        ("layers = true", "layers is True, it must be a whole number"),
        ("scale = [1.0]", "scale is [1.0], it must be a number"),
        ("normalize = 1", "normalize is 1, it must be true or false"),
        ("cell = 12:00:00", "cell is 12:00:00, it must be text"),
        (
            "split_at_ms = 2014-09-29T00:00:00Z",
            "split_at_ms is 2014-09-29T00:00:00+00:00, it must be a whole",
        ),
        ("popularity_half_lives_hours = 24", "hours is 24, it must be a list of numbers"),
        ('categorical = ["brand", 3]', "categorical is ['brand', 3], it must be a list of texts"),
        ("[session_gap_seconds]", "session_gap_seconds is {}, it must be a number"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(tmp_path: Path, line: str, message: str) -> None:
    """File, setting, value and the kind wanted are named; also where a conversion would have hidden it."""
    path = tmp_path / "settings.toml"
    path.write_text(line + "\n")

    with pytest.raises(SettingError, match=re.escape(f"{path}: ") + ".*" + re.escape(message)):
        fit.make_context("fit", ["clicks.csv", "--settings", str(path)])


def test_what_tune_writes_and_prints_is_what_fit_reads(tmp_path: Path) -> None:
    """Lists of numbers, an empty one, several columns and flags too."""
    settings = FitSettings(
        popularity_half_lives_hours=(24.0, 168.5),
        transition_half_lives_hours=(),
        categorical=("brand", "genre"),
        normalize=False,
        output_table="separate",
        split_at_ms=1_411_948_800_000,
        session_gap_seconds=0,
    )
    path = tmp_path / "best.toml"
    path.write_text(to_toml(settings))

    assert _read(["clicks.csv", "--settings", str(path)]) == settings
    assert _read(shlex.split(command_line([Path("clicks.csv")], Columns(), settings))[2:]) == settings


def _read(words: list[str]) -> FitSettings:
    given = fit.make_context("fit", words).params
    names = {field.name for field in fields(FitSettings)} | {"session_gap_minutes"}
    return settings_of({name: value for name, value in given.items() if name in names})
