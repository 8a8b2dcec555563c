from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from tests.builders import item_names, successor_release_parts
from tests.trainer.builders import CYCLE, cyclic_clicks, set_to, twice
from trainer.clicks.columns import SAMPLE_ROWS
from trainer.commands.cli import cli
from trainer.evaluation.benchmark import BASELINES
from trainer.release.folder import read_folder, write_folder
from worker.errors import SettingError

QUICK = set_to("model.hidden_size=8", "training.epochs=1", "training.batch_clicks=64")


def trainer(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "trainer", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


@pytest.fixture
def clicks(tmp_path: Path) -> Path:
    """A file of clicks."""
    path = tmp_path / "clicks.csv"
    cyclic_clicks(100).write_csv(path)
    return path


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The folder of a release that is always right on these clicks."""
    items, folder = item_names(CYCLE), tmp_path / "release"
    write_folder(folder, *successor_release_parts(items, popular=items))
    return folder


@pytest.mark.slow
def test_from_a_file_to_a_measured_release(tmp_path: Path, clicks: Path) -> None:
    """`fit` writes a release that verifies; results on standard output, progress on the other."""
    cyclic_clicks(400).write_csv(clicks)
    done = trainer("fit", clicks, "--timestamp", "timestamp_ms", "-o", tmp_path / "release", *QUICK)

    assert done.returncode == 0, done.stderr
    assert read_folder(tmp_path / "release").release.manifest.items == 12
    shown = done.stdout.splitlines()
    assert shown[1].startswith("Recall@20")
    assert shown[3] == "on 160 predictions in 40 sessions of the test split:"
    assert all(f"the best of {len(BASELINES)} baselines by" in line for line in shown[4:7])
    assert (
        "80% of the test clicks could be predicted (160 of 200): the first click of a session" in done.stderr
    )
    assert done.stderr.startswith(
        "read 2,000 clicks; user: user_id, item: item_id, time: timestamp_ms (unix milliseconds)\n"
        "after cleaning: 2,000 clicks of 400 users on 12 items\n"
    )
    assert re.search(
        r"^epoch 1 of 1: loss .*\nkept epoch 1, the best by MRR@20 \(.*\); stopped after epoch 1: it was the "
        r"last of 1\nleft out of the blend, because they do not help on held-out clicks: popularity, ",
        done.stderr,
        re.MULTILINE,
    )


def test_no_release_is_replaced_unasked(release: Path, clicks: Path, tmp_path: Path) -> None:
    """Nor is a folder used that holds something else; said before any training."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()

    for folder, says in (
        (release, "already holds a release; replace it with --yes, or name another folder with -o"),
        (tmp_path / "full", "has other files, such as thesis.txt; choose a folder that is new"),
        (clicks, "is a file; a release is written to a folder"),
        (clicks / "release", "cannot be written: .* is a file, not a folder"),
    ):
        with pytest.raises(SettingError, match=says):
            CliRunner().invoke(cli, ["fit", "clicks.csv", "-o", str(folder)], catch_exceptions=False)


@pytest.mark.slow
def test_repeats_are_dropped_where_that_is_asked_for(tmp_path: Path) -> None:
    """What went is in the manifest, beside the setting."""
    twice(cyclic_clicks(60)).write_csv(tmp_path / "clicks.csv")
    files, all_of_it = (
        [str(tmp_path / "clicks.csv"), "-o", str(tmp_path / "release")],
        set_to("dataset.test_fraction=0", "dataset.validation_fraction=0", "dataset.repeat_within=10s"),
    )

    done = CliRunner().invoke(cli, ["fit", *files, *all_of_it, *QUICK])

    assert done.exit_code == 0, done.output
    training = read_folder(tmp_path / "release").manifest.training
    removed = {one["why"]: one["removed"] for one in training["cleaning"]}
    assert training["settings"]["dataset"]["repeat_within"] == 10
    assert removed["repeats: the same user clicked the same item again within 10 s"] == training["clicks"]
    assert (
        f"removed {training['clicks']} of {2 * training['clicks']} clicks: repeats: the same user"
        in done.stderr
    )


@pytest.mark.slow
def test_a_release_is_measured_on_another_file(tmp_path: Path, clicks: Path) -> None:
    """`evaluate` needs no training, and says how many clicks it is about."""
    runner = CliRunner()
    runner.invoke(cli, ["fit", str(clicks), "-o", str(tmp_path / "release"), *QUICK], catch_exceptions=False)

    done = runner.invoke(cli, ["evaluate", str(tmp_path / "release"), str(clicks), "--top", "3", "--all"])

    assert done.exit_code == 0, done.output
    assert "400 held-out clicks in 100 sessions" in done.stdout
    assert "Recall@3" in done.stdout


def test_an_error_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """No traceback for what the user can mend."""
    done = trainer("fit", tmp_path / "nowhere.csv")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"nextclick-trainer: {tmp_path / 'nowhere.csv'}: there is no such file\n"


@pytest.mark.slow  # starts a process that loads TensorFlow
def test_a_damaged_line_is_an_error_of_one_line(tmp_path: Path, clicks: Path) -> None:
    """However far down it is: nothing is trained on what was read before it."""
    with clicks.open("a") as file:
        file.write("user-7,item-1,1600000000000\n" * SAMPLE_ROWS + "user-7,item-1,big,1600000000000\n")

    done = trainer("fit", clicks, "-o", tmp_path / "release", *QUICK)

    assert (done.returncode, done.stdout) == (2, "")
    assert "line 100,502 has 4 fields, but the first line has 3; repair or remove it" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "release").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "no clicks are named"),
        (["clicks.csv", "--clicks-topic", "clicks"], "both files and --clicks-topic are given"),
    ],
    ids=["neither", "both"],
)
def test_clicks_come_from_files_or_from_kafka(arguments: list[str], problem: str) -> None:
    """One of the two must be named."""
    done = CliRunner().invoke(cli, ["fit", *arguments])

    assert done.exit_code == 2
    assert problem in " ".join(done.output.split())


def test_help_loads_no_tensorflow() -> None:
    """The command line answers at once."""
    code = "import sys, trainer.commands.cli; sys.exit('tensorflow' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_split_must_be_a_time() -> None:
    """The message shows what one looks like."""
    with pytest.raises(SettingError, match=r"dataset\.split_at is 'soon': must be a time like 2020-09-13 or"):
        CliRunner().invoke(cli, ["fit", "clicks.csv", "--split-at", "soon"], catch_exceptions=False)


def test_a_release_is_measured_beside_baselines(tmp_path: Path, clicks: Path, release: Path) -> None:
    """With a cut the clicks before it train the baselines; the figures are written for machines, too."""
    words = [
        "evaluate",
        str(release),
        str(clicks),
        "--top",
        "3",
        "--split-at",
        "2020-09-13T16:00:00Z",
        "--exact",
    ]

    done, figures = (CliRunner().invoke(cli, [*words, *more]) for more in ([], ["--json"]))

    assert done.exit_code == 0, done.output
    assert "vmis-knn" in done.stdout
    assert "Recall@3 by slice" in done.stdout
    assert orjson.loads(figures.stdout)["models"]["markov"]["recall_at_3"][0] == 1.0


def test_without_baselines_there_is_the_network_alone(clicks: Path, release: Path) -> None:
    """With a cut and without; otherwise the release's own popular items stand beside it where none is."""

    def models(*options: str) -> list[str]:
        words = ["evaluate", str(release), str(clicks), "--top", "3", "--json", *options]
        done = CliRunner().invoke(cli, words, catch_exceptions=False)
        return [*orjson.loads(done.stdout)["models"]]

    assert models() == ["network", "popular"]
    assert models("--no-baselines") == ["network"]
    assert models("--no-baselines", "--split-at", "2020-09-13T16:00:00Z") == ["network"]


@pytest.mark.parametrize(
    ("options", "named"),
    [([], ["the release", "A", "B"]), (["--split-at", "2020-09-13T16:00:00Z"], ["the release", "B"])],
)
def test_figures_on_clicks_that_were_trained_on_are_said_to_be_too_good(
    tmp_path: Path, clicks: Path, options: list[str], named: list[str]
) -> None:
    """By `evaluate` and `compare`, of each release; not where all that is measured came after."""
    items = item_names(CYCLE)
    for name, hour in (("early", 15), ("late", 18)):
        manifest, blob = successor_release_parts(items, popular=items)
        trained = {**manifest.training, "last_click": f"2020-09-13T{hour}:00:00+00:00"}
        write_folder(tmp_path / name, replace(manifest, training=trained), blob)

    def told(command: str, *names: str) -> list[str]:
        folders = [str(tmp_path / name) for name in names]
        done = CliRunner().invoke(cli, [command, *folders, str(clicks), "--top", "1", *options])
        found = re.findall(
            r"^Careful: (.*) was trained on clicks until .*, which overlaps", done.stderr, re.MULTILINE
        )
        return [*found]

    assert told("evaluate", "late") + told("compare", "early", "late") == named


def test_the_exit_code_of_compare_is_its_verdict(tmp_path: Path, clicks: Path) -> None:
    """0: B is better, 3: worse, 1: no difference shown; the last line says it."""
    items = item_names(CYCLE)
    for name, order in (("right", items), ("wrong", (*items[6:], *items[:6])), ("reversed", items[::-1])):
        write_folder(tmp_path / name, *successor_release_parts(order, popular=items))

    def compared(a: str, b: str) -> tuple[int, str]:
        folders = [str(tmp_path / name) for name in (a, b)]
        done = CliRunner().invoke(cli, ["compare", *folders, str(clicks), "--top", "1"])
        return done.exit_code, done.stdout.splitlines()[-1]

    assert compared("reversed", "right") == (
        0,
        "B is better than A by 100.00 percentage points of Recall@1 (95 % interval 100.00 to 100.00)",
    )
    assert compared("right", "reversed")[0] == 3
    assert compared("right", "wrong")[0] == 1


def test_compare_writes_what_it_shows(tmp_path: Path, clicks: Path, release: Path) -> None:
    """For machines: each metric of both, their difference with its interval, and the verdict by which one."""
    write_folder(tmp_path / "reversed", *successor_release_parts(item_names(CYCLE)[::-1], popular=()))
    words = ["compare", str(tmp_path / "reversed"), str(release), str(clicks), "--top", "1", "--by", "mrr"]

    done, figures = (
        CliRunner().invoke(cli, [*words, *more], catch_exceptions=False) for more in ([], ["--json"])
    )

    found = orjson.loads(figures.stdout)
    assert found["verdict"] == done.stdout.splitlines()[-1]
    assert (found["by"], found["predictions"], found["sessions"]) == ("mrr_at_1", 400, 100)
    assert found["metrics"]["mrr_at_1"] == {
        "a": 0.0,
        "b": 1.0,
        "difference": 1.0,
        "low": 1.0,
        "high": 1.0,
        "probability": 1.0,
    }
