from __future__ import annotations

import pytest
from click.testing import CliRunner

from tests.trainer.builders import set_to
from trainer.commands.cli import cli
from worker.errors import SettingError


def refused(*arguments: str) -> str:
    """Why the command does not even look for Kafka."""
    try:
        return CliRunner().invoke(cli, ["run", *arguments], catch_exceptions=False).output
    except SettingError as error:
        return str(error)


def test_json_is_for_one_run() -> None:
    """Training that goes on has no result."""
    assert "add --once" in refused("--json")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--every", "often"], "run.every is 'often': must be a duration like 30s, 5m, 1h or 7d"),
        (["--every", "0h"], "run.every is 0.0: must be greater than 0"),
        (set_to("run.window=3d", "archive.keep=2d"), "archive.keep (2d) is less than run.window (3d)"),
        (
            ["--every", "2d", *set_to("run.window=1d")],
            "every, the default of held_out, (2d) must be shorter than",
        ),
        (
            set_to("run.strategy=online", "optimizer.schedule=constant", "training.epochs=3"),
            "training.epochs has no effect with run.strategy online",
        ),
        (set_to("run.strategy=online", "run.warm=no"), "run.warm is 'no': must be true or false"),
        (set_to("run.strategy=online", "run.warm=false"), "warm: no effect with the strategy online"),
        (set_to("run.active_items=64"), "active_items: no effect with the strategy retrain"),
        (set_to("run.strategy=online", "run.active_items=1"), "run.active_items is 1: must be greater than"),
        (set_to("features.file=items.csv"), "file is items.csv, but no columns are named"),
        (set_to("features.categorical=genre"), "set features.file"),
        (
            set_to("run.strategy=online", "optimizer.schedule=cosine"),
            'optimizer.schedule is "cosine" but must be "constant"',
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: list[str], problem: str) -> None:
    """Before anything else is done."""
    assert problem in refused(*arguments)
