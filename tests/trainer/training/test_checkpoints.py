from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.trainer.builders import NOW, cyclic_clicks, set_to
from tests.waiting import eventually
from trainer.commands.cli import cli
from trainer.config import FitSettings
from trainer.console import Lines
from trainer.release.folder import read_folder
from trainer.training.checkpoints import work_folder
from trainer.training.fit import fit
from worker.settings.fields import value_of
from worker.settings.loading import given

SMALL = FitSettings.of(
    hidden_size=12,
    epochs=20,
    patience=20,
    batch_clicks=32,
    hidden_dropout=0.1,
    negatives=4,
    checkpoint_interval=0.05,
)


@pytest.mark.slow
def test_a_training_killed_in_the_middle_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """kill -9, the same command again: the same weights to the bit, and the checkpoint is gone."""
    clicks, release = tmp_path / "clicks.csv", tmp_path / "release"
    cyclic_clicks(200).write_csv(clicks)
    command = ["fit", str(clicks), "-o", str(release)]
    command += set_to(*(f"{key}={value_of(SMALL, key)}" for key in sorted(given(SMALL))))
    checkpoint = work_folder(release) / "checkpoint.safetensors"

    with subprocess.Popen([sys.executable, "-m", "trainer", *command], stderr=subprocess.DEVNULL) as killed:
        try:
            eventually(checkpoint.exists, 60, "a checkpoint")
        finally:
            killed.kill()
    assert not release.exists()
    again = CliRunner().invoke(cli, command, catch_exceptions=False)

    assert f"resuming from {checkpoint}: epoch " in again.stderr
    assert read_folder(release).blob == fit(cyclic_clicks(200), SMALL, now=NOW).blob
    assert not checkpoint.parent.exists()


class Killed(Exception):
    """Ends a training from outside."""


class KilledInTheFinalTraining(Lines):
    """Ends the final training after its first epoch."""

    is_final = False

    def say(self, line: str) -> None:
        """Notice when the final training begins."""
        self.is_final = self.is_final or line.startswith("final training")
        super().say(line)

    def epoch(self, number: int, results: Mapping[str, float]) -> None:
        """Raise Killed in the final training."""
        if self.is_final:
            raise Killed


@pytest.mark.slow
def test_a_final_training_that_was_killed_goes_on_from_there(tmp_path: Path) -> None:
    """The first training is not done again; the weights are the same to the bit."""
    settings, lines = SMALL.replaced(epochs=4, checkpoint_interval=1e-6), list[str]()
    with pytest.raises(Killed):
        fit(cyclic_clicks(200), settings, KilledInTheFinalTraining(lambda _: None), now=NOW, work=tmp_path)

    resumed = fit(cyclic_clicks(200), settings, Lines(lines.append), now=NOW, work=tmp_path)

    told = [line.removeprefix(f"resuming from {tmp_path}/") for line in lines if line.startswith("resuming")]
    assert told[0] == "checkpoint.safetensors: this training was finished, after epoch 4"
    assert told[1].startswith("final.safetensors: epoch ")
    assert resumed.blob == fit(cyclic_clicks(200), settings, now=NOW).blob


class InterruptedAfterSteps(Lines):
    """Sends Ctrl-C to this process after a number of steps."""

    left = 0

    def advance(self, predictions: int, loss: float) -> None:
        """Count a step."""
        super().advance(predictions, loss)
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 7, 60])
def test_ctrl_c_loses_nothing(tmp_path: Path, steps: int) -> None:
    """The step is finished and saved, however long the interval; then the training goes on from there."""
    settings, before, after = SMALL.replaced(epochs=4, checkpoint_interval=1e6), list[str](), list[str]()
    progress = InterruptedAfterSteps(before.append)
    progress.left = steps
    with pytest.raises(KeyboardInterrupt):
        fit(cyclic_clicks(200), settings, progress, now=NOW, work=tmp_path)

    resumed = fit(cyclic_clicks(200), settings, Lines(after.append), now=NOW, work=tmp_path)

    saved = before[-1].removeprefix("saved ")
    assert saved.startswith(f"{tmp_path}/checkpoint.safetensors: epoch ")
    assert f"resuming from {saved}" in after
    assert resumed.blob == fit(cyclic_clicks(200), settings, now=NOW).blob


@pytest.mark.slow
def test_a_checkpoint_of_other_clicks_is_of_no_use(tmp_path: Path) -> None:
    """Where clicks were added since, it is said, and the training is as if there had been none."""
    short, lines = SMALL.replaced(epochs=2, checkpoint_interval=1e-6), list[str]()
    fit(cyclic_clicks(150), short, now=NOW, work=tmp_path)
    assert (tmp_path / "checkpoint.safetensors").exists()

    grown = fit(cyclic_clicks(200), short, Lines(lines.append), now=NOW, work=tmp_path)

    assert any("belongs to other clicks" in line and "training from the start" in line for line in lines)
    assert grown.blob == fit(cyclic_clicks(200), short, now=NOW).blob
