from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from trainer.__main__ import cli
from trainer.commands.fit import fit
from trainer.commands.options import settings_of
from trainer.commands.tune import command_line
from trainer.config import FitSettings
from trainer.events import Columns
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


def test_a_value_of_the_wrong_kind_is_refused_as_on_the_command_line(tmp_path: Path) -> None:
    """The option is named."""
    path = tmp_path / "settings.toml"
    path.write_text('hidden_size = "large"\n')

    done = CliRunner().invoke(cli, ["fit", "clicks.csv", "--settings", str(path)])

    assert done.exit_code == 2
    assert "'--hidden-size': 'large' is not a valid integer" in done.output


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
