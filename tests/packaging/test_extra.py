"""What runs where the extra `trainer` is not installed, and what the user is advised to do."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

import trainer.__main__
from tests.packaging.without import TRAINER_EXTRA, run_without
from tests.trainer.builders import cyclic_clicks
from trainer.commands.cli import cli

TRAINER: Final = "from trainer.__main__ import main; main()"

EVERY_COMMAND: Final = """
from {package}.__main__ import main

commands = sys.argv[1:]
for command in commands:
    sys.argv[1:] = command.split()
    try:
        main()
    except SystemExit as end:
        print(command, end.code)
"""

ALL_MODULES: Final = """
import importlib, pkgutil, worker

names = [one.name for one in pkgutil.walk_packages(worker.__path__, "worker.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_every_trainer_command_says_what_to_install() -> None:
    """In one line, with exit code 2, whatever was asked for."""
    asked = [*cli.commands, "--help", "fit --help"]
    done = run_without(TRAINER_EXTRA, EVERY_COMMAND.format(package="trainer"), *asked)

    assert done.stdout.splitlines() == [f"{command} 2" for command in asked], done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(asked)
    for line in lines:
        assert line.startswith("nextclick-trainer: ")
        assert line.endswith(" is not installed: pip install 'nextclick[trainer]'")


def test_the_extra_is_known_by_the_names_that_are_imported() -> None:
    """All that it brings: what is missing of it has the same remedy."""
    assert trainer.__main__._EXTRA == TRAINER_EXTRA


@pytest.mark.parametrize(
    ("package", "command"), [("polars", "fit"), ("tensorflow", "fit"), ("optuna", "tune")]
)
@pytest.mark.slow  # starts processes that load TensorFlow
def test_a_single_missing_package_is_named(tmp_path: Path, package: str, command: str) -> None:
    """It may be missing alone, and may be needed late."""
    clicks = tmp_path / "clicks.csv"
    cyclic_clicks(20).write_csv(clicks)
    done = run_without([package], TRAINER, command, clicks, "-o", tmp_path / "out")

    assert done.returncode == 2
    told = f"nextclick-trainer: {package} is not installed: pip install 'nextclick[trainer]'"
    assert done.stderr.splitlines()[-1] == told
    assert "Traceback" not in done.stderr


def test_another_missing_module_is_our_mistake() -> None:
    """No advice that would not help."""
    done = run_without(["orjson"], TRAINER, "--help")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'orjson'"


def test_the_trainers_help_needs_no_tensorflow() -> None:
    """Of no command."""
    asked = ["--help", *(f"{command} --help" for command in cli.commands)]
    done = run_without(["keras", "tensorflow"], EVERY_COMMAND.format(package="trainer"), *asked)

    assert done.stderr == ""
    assert [line for line in done.stdout.splitlines() if line.endswith("--help 0")] == [
        f"{words} 0" for words in asked
    ]


def test_the_worker_needs_nothing_of_the_trainers() -> None:
    """All its modules can be imported."""
    done = run_without([*TRAINER_EXTRA, "trainer"], ALL_MODULES)

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40


def test_the_workers_help_needs_nothing_of_the_trainers() -> None:
    """Of the program and of its largest command."""
    code = EVERY_COMMAND.format(package="worker")
    done = run_without([*TRAINER_EXTRA, "trainer"], code, "--help", "run --help", "check --help")

    assert done.stderr == ""
    assert done.stdout.count("--help 0") == 3
