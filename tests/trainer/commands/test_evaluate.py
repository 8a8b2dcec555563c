"""The protocols of `evaluate`, `fit` and `compare`: which clicks are predicted, and at which K."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from click.testing import CliRunner, Result

from tests.builders import item_names, successor_release_parts
from tests.trainer.builders import CYCLE, MINUTE_MS, START_MS, cyclic_clicks, set_to
from trainer.commands.cli import cli
from trainer.dataset.dataset import moment
from trainer.evaluation.benchmark import BASELINES
from trainer.release.folder import read_folder, write_folder

HALFWAY_MS = START_MS + 250 * MINUTE_MS
"""Half of the 100 sessions begin before it, and half from it on."""


@pytest.fixture
def clicks(tmp_path: Path) -> Path:
    """A file of 100 sessions, of five clicks each."""
    path = tmp_path / "clicks.csv"
    cyclic_clicks(100).write_csv(path)
    return path


@pytest.fixture
def parts(tmp_path: Path) -> list[str]:
    """Two files: the earlier half of the sessions, and the later half."""
    late, paths = pl.col("timestamp_ms") >= HALFWAY_MS, [tmp_path / "early.csv", tmp_path / "late.csv"]
    for path, chosen in zip(paths, (~late, late), strict=True):
        cyclic_clicks(100).filter(chosen).write_csv(path)
    return [str(path) for path in paths]


def release(tmp_path: Path, **training: Any) -> str:
    """The folder of a release that is always right on these clicks, and says this of its training."""
    items, folder = item_names(CYCLE), tmp_path / "release"
    manifest, blob = successor_release_parts(items, popular=items)
    write_folder(folder, replace(manifest, training=training), blob)
    return str(folder)


def run(*words: object) -> Result:
    """A command."""
    return CliRunner().invoke(cli, [*map(str, words)])


def figures(*words: object) -> dict[str, Any]:
    """What `evaluate --json` says."""
    done = run("evaluate", *words, "--json")
    assert done.exit_code == 0, done.output
    return orjson.loads(done.stdout)


def test_a_test_file_is_what_is_predicted(tmp_path: Path, parts: list[str]) -> None:
    """The other files are the past, which all baselines are trained on."""
    by_file = figures(release(tmp_path), parts[0], "--test", parts[1], "--top", "3")
    by_time = figures(release(tmp_path), *parts, "--split-at", str(HALFWAY_MS // 1000), "--top", "3")

    assert (by_file["sessions"], by_file["predictions"], by_file["test_clicks"]) == (50, 200, 250)
    assert list(by_file["models"]) == ["network", *BASELINES]
    assert by_file == by_time


def test_the_test_split_is_that_of_the_training(tmp_path: Path, clicks: Path) -> None:
    """Unless another is chosen, which is said; without one, or with --all, everything is predicted."""
    words = [clicks, "--top", "3"]
    by_time = figures(release(tmp_path, test_from=moment(HALFWAY_MS)), *words)
    said = run("evaluate", release(tmp_path, test_from=moment(HALFWAY_MS)), *words).stderr
    whole = figures(release(tmp_path, test_from=moment(HALFWAY_MS)), *words, "--all")
    last = figures(release(tmp_path, leave_last=2), *words)

    assert (by_time["predictions"], last["predictions"], whole["predictions"]) == (200, 200, 400)
    assert [len(one["models"]) for one in (by_time, last, whole)] == [*[1 + len(BASELINES)] * 2, 2]
    assert f"test split, as in the release's training: clicks from {moment(HALFWAY_MS)} on" in said
    assert "does not say what its test split was" in run("evaluate", release(tmp_path), *words).stderr
    assert "name them with --test" in run("evaluate", release(tmp_path, test_files=True), *words).stderr


def test_as_many_items_are_excluded_as_by_the_worker(tmp_path: Path, clicks: Path) -> None:
    """Which takes it from the release, too; unless that is chosen."""
    items, folder = item_names(CYCLE), tmp_path / "release"
    manifest, blob = successor_release_parts(items, popular=items)

    def said(value: int, *options: str) -> bool:
        write_folder(folder, replace(manifest, exclude_recent=value), blob)
        done = run("evaluate", folder, clicks, "--top", "3", "--all", *options)
        assert done.exit_code == 0
        return "evaluation.exclude_recent is 0, as in the release" in done.stderr

    assert [said(value) for value in (0, 1)] == [True, False]
    assert not said(0, "--set", "evaluation.exclude_recent=2")


def test_files_of_the_test_split_alone_leave_the_popularity_list(tmp_path: Path, parts: list[str]) -> None:
    """And that is said; files from before it leave nothing to predict."""
    folder = release(tmp_path, test_from=moment(HALFWAY_MS))

    done, nothing = (run("evaluate", folder, part, "--top", "3") for part in reversed(parts))

    assert "no click is before the test split, so the release's popularity list is" in done.stderr
    assert "the only baseline by Recall@3" in done.stdout
    assert str(nothing.exception).startswith(f"no session of two or more clicks from {moment(HALFWAY_MS)} on")


def test_the_last_clicks_of_each_session_are_predicted(tmp_path: Path, clicks: Path) -> None:
    """With all before them as context; every click but the first of a session counts as a test click."""
    one, most = (figures(release(tmp_path), clicks, "--top", "3", "--leave-last", n) for n in ("1", "4"))

    assert (one["predictions"], one["test_clicks"]) == (100, 100)
    assert next(iter(one["slices"])) == "4 to 7 clicks before"
    assert most["predictions"] == 400


def test_a_prediction_needs_its_context(tmp_path: Path, clicks: Path) -> None:
    """The others count as test clicks that could not be predicted; the last lines tell."""
    words = [release(tmp_path), clicks, "--top", "3", "--min-context", "3", "--all"]

    found, shown = figures(*words), run("evaluate", *words).stdout.splitlines()

    assert (found["predictions"], found["test_clicks"]) == (200, 500)
    assert shown[-5] == (
        "40% of the test clicks could be predicted (200 of 500): the first 3 clicks of a session cannot"
    )
    assert shown[-3].startswith("above the only baseline by Recall@3: 1.0000 against ")
    assert found["comparison"]["sentences"] == shown[-3:]


def test_several_k_are_measured_at_once(tmp_path: Path, clicks: Path) -> None:
    """A table for each; the figures are those of each alone."""
    words = [release(tmp_path), clicks, "--all"]

    both, small = figures(*words, "--top", "5,2"), figures(*words, "--top", "2")
    shown = run("evaluate", *words, "--top", "2,5").stdout

    assert (both["top"], both["smaller_tops"]) == (5, [2])
    for model in ("network", "popular"):
        for metric in ("recall_at_2", "mrr_at_2", "ndcg_at_2", "precision_at_2", "f1_at_2"):
            assert both["models"][model][metric] == small["models"][model][metric]
    assert shown.count("held-out clicks in 100 sessions") == 2
    assert "Recall@5 by slice" in shown
    assert "Recall@2 by slice" not in shown


def test_compare_takes_several_k_and_decides_at_the_largest(tmp_path: Path, clicks: Path) -> None:
    """On the last clicks, where these are asked for."""
    folder = release(tmp_path)

    done = run("compare", folder, folder, clicks, "--top", "1,3", "--leave-last", "2", "--json")

    found = orjson.loads(done.stdout)
    assert (found["by"], found["predictions"]) == ("recall_at_3", 200)
    assert {"recall_at_1", "recall_at_3"} <= found["metrics"].keys()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--test", "x.csv", "--split-at", "2020-09-13"], "--test and --split-at are given"),
        (["--test", "x.csv", "--leave-last", "1"], "--test and --leave-last are given"),
        (["--all", "--leave-last", "1"], "--all and --leave-last are given"),
        (["--all", "--test", "x.csv"], "--test and --all are given"),
        (["--split-at", "2020-09-13", "--leave-last", "1"], "leave_last (1) and split_at both choose"),
        (["--leave-last", "-1"], "dataset.leave_last is -1: must be greater than or equal to 0"),
        (["--leave-last", "5"], "leave_last is 5, but the longest session has 5 clicks"),
        (["--leave-last", "some"], "dataset.leave_last is 'some'"),
        (["--min-context", "0"], "evaluation.min_context is 0: must be greater than or equal to 1"),
        (["--min-context", "5"], "min_context is 5, but no click of the test split has as many"),
        (["--top", "10,x"], "'10,x' must be a whole number above 0, or several with commas"),
        (["--top", "0"], "'0' must be a whole number above 0"),
        (["--top", "3,200"], "top (200) and exclude_recent (1) together must not exceed 100"),
        (["--split-at", "soon"], "must be a time like 2020-09-13"),
        (["--split-at", "2030-01-01"], "no session of two or more clicks from 2030-01-01T00:00:00+00:00 on"),
        (["--test", "x.csv"], "x.csv: there is no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_said(tmp_path: Path, clicks: Path, options: list[str], problem: str) -> None:
    """With the value, and what to do."""
    done = run("evaluate", release(tmp_path), clicks, *options)

    said = " ".join((done.output + str(done.exception)).split())
    assert done.exit_code != 0
    assert problem in said


def test_fit_refuses_two_test_splits(clicks: Path, tmp_path: Path) -> None:
    """Before it reads anything."""
    words = ["fit", clicks, "-o", tmp_path / "new", "--test", clicks, "--split-at", "1600000000"]

    done = run(*words)

    assert done.exit_code == 2
    assert "--test and --split-at are given" in " ".join(done.output.split())


@pytest.mark.slow  # trains
@pytest.mark.parametrize("protocol", ["files", "last"])
def test_fit_and_evaluate_hold_out_the_same_clicks(tmp_path: Path, parts: list[str], protocol: str) -> None:
    """A release measures the same in both; the verdict is in the manifest and in what `fit` prints."""
    folder = str(tmp_path / "release")
    files = [parts[0], "--test", parts[1]] if protocol == "files" else [*parts, "--leave-last", "2"]
    again = files if protocol == "files" else parts
    quick = set_to("model.hidden_size=8", "training.epochs=1", "training.batch_clicks=64")

    fitted = run("fit", *files, "-o", folder, *quick, "--json")
    found = figures(folder, *again)

    assert fitted.exit_code == 0, fitted.output
    told, manifest = orjson.loads(fitted.stdout), read_folder(Path(folder)).manifest
    assert told["comparison"] == dict(manifest.training)["comparison"] == found["comparison"]
    assert told["metrics"]["recall_at_20"] == found["models"]["network"]["recall_at_20"][0]
    assert (told["test_clicks"], found["test_clicks"]) == ((250, 250) if protocol == "files" else (200, 200))
    assert "Careful" not in run("evaluate", folder, *again).stderr
