from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from tests.builders import item_names, successor_release_parts
from tests.trainer.builders import CYCLE, MINUTE_MS, NOW, START_MS, cyclic_clicks, set_to
from trainer.commands.cli import cli
from trainer.config import FitSettings, Run
from trainer.console import Progress
from trainer.continuous.plan import Window
from trainer.continuous.strategies import Online
from trainer.evaluation.report.baselines import MODELS
from trainer.evaluation.report.charts import line_chart, percent
from trainer.release.folder import read_folder, write_folder

EVIL = "<script>alert(1)</script>"


def run(*arguments: str | Path) -> None:
    """A command that must succeed."""
    done = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report on a release that has an item which is a script, and another so named."""
    folder = tmp_path_factory.mktemp("report")
    items = pl.col("item_id").replace({"item-0": EVIL})
    cyclic_clicks(100).with_columns(items).write_csv(folder / "clicks.csv")
    (folder / "names.csv").write_text(f'id,name\nitem-1,"{EVIL}"\nitem-2,A lamp & a rug\n')
    clicks, release, out = folder / "clicks.csv", folder / "release", folder / "report.html"
    run("fit", clicks, "-o", release, *set_to("model.hidden_size=8", "training.epochs=2"))
    run("report", release, clicks, "-o", out, "--names", folder / "names.csv")
    return out.read_text("utf-8")


def test_ids_and_names_are_text_and_never_markup(page: str) -> None:
    """They come from whoever sends clicks."""
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "A lamp &amp; a rug" in page


def test_only_what_was_measured_on_the_validation_end_is_called_so(page: str) -> None:
    """Loss, gradient norms and the share of clipped steps are of the training clicks."""
    assert "Training loss" in page
    assert "Largest gradient norm" in page
    assert "MRR@20, validation" in page
    assert len(re.findall(r", validation<", page)) == len(
        re.findall(r"(Recall|MRR|NDCG)@20, validation<", page)
    )


def test_the_page_begins_with_the_verdict_and_the_next_step(page: str) -> None:
    """Before any figure; curves, all measures and settings are folded away."""
    order = [
        "<p>A recurrent",
        "Verdict",
        "Of 100 next clicks, this release predicted",
        "Next step.",
        "<table",
    ]
    folded = re.findall(r"<details>\n<summary>([^<]+)<", page)

    assert [page.index(one) for one in order] == sorted(page.index(one) for one in order)
    assert folded == ["All metrics", "Diversity of the lists", "Training curves", "Training settings"]
    assert page.index("<svg") > page.index("Training curves")


def test_without_kafka_the_champion_is_said_to_be_unknown(page: str) -> None:
    """The page names the option that it takes."""
    assert "unknown: run <code>report</code> with <code>--kafka HOST:PORT</code>" in page


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    """No address, no link, no image that is not in it."""
    assert not re.findall(r"https?:|url\(|<link|<img|@import|\bsrc=", page)


def test_who_cannot_see_has_headings_captions_and_words_for_charts(page: str) -> None:
    """Every table but the bars has a caption, every chart says what it shows."""
    tables = re.findall(r"<table(?! class=\"bars\").*?</table>", page, re.DOTALL)

    assert page.count("<h1") == 1
    assert all("<caption>" in table for table in tables)
    assert page.count("<svg") == page.count('role="img" aria-label="') > 0
    assert "of 2 epochs" in page


def test_the_training_clicks_will_do_to_measure_on_the_test_split(page: str) -> None:
    """The release knows where its test split begins; baselines are trained on what is before."""
    assert "Measured on sessions from 2020-09-13" in page
    assert "Careful" not in page
    assert all(f"<dt>{one.name}</dt><dd>{one.line}" in page for one in MODELS.values())


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the release of an online training and its clicks, some of them twice."""
    folder, clicks = tmp_path_factory.mktemp("online"), cyclic_clicks(100)
    pl.concat([clicks, clicks.head(7)]).write_csv(folder / "clicks.csv")
    table = pl.concat([clicks, clicks.head(7)]).lazy()
    settings = FitSettings.of(hidden_size=8, schedule="constant", session_gap=600)
    strategy = Online(Run(window=86400, warm_epochs=1), settings, Progress())
    span = Window(START_MS, START_MS + 400 * MINUTE_MS, START_MS + 500 * MINUTE_MS)
    write_folder(folder / "release", *strategy.train(table, span, None, NOW).parts)
    return folder


def test_the_release_of_an_online_training_has_a_page(online: Path) -> None:
    """It says what it was made of, and is measured on what it did not learn; a single loss is no curve."""
    release, clicks, out = online / "release", online / "clicks.csv", online / "report.html"
    run("report", release, clicks, "-o", out)
    text = out.read_text("utf-8")

    assert "It was trained on 390 clicks in 78 sessions, from 2020-09-13 to 2020-09-13." in text
    assert 'exact duplicates (same user, item and time)</th><td class="right">7</td>' in text
    assert "7 windows, each on the 2,048 items most clicked at the time" in text
    assert "Measured on sessions from 2020-09-13 19:06 UTC on" in text
    assert "Careful" not in text
    assert "<svg" not in text


def test_the_release_of_an_online_training_is_measured_and_compared_as_any(online: Path) -> None:
    """`evaluate` and `compare` need nothing that its manifest lacks."""
    release, clicks = online / "release", online / "clicks.csv"
    same = CliRunner().invoke(cli, ["compare", *map(str, [release, release, clicks])], catch_exceptions=False)

    run("evaluate", release, clicks, "--no-baselines")
    assert same.exit_code == 1


def test_a_release_that_tells_nothing_of_its_training_has_a_page(online: Path, tmp_path: Path) -> None:
    """Any program may make one: what is not told is left out."""
    manifest, blob = read_folder(online / "release").parts
    write_folder(tmp_path, replace(manifest, training={"clicks": 60}), blob)
    run("report", tmp_path, online / "clicks.csv", "-o", tmp_path / "report.html")

    assert "It was trained on" not in (tmp_path / "report.html").read_text("utf-8")


def test_figures_on_clicks_that_were_trained_on_are_said_to_be_too_good(tmp_path: Path) -> None:
    """Where the release does not know its test split, all clicks are measured."""
    items = item_names(CYCLE)
    manifest, blob = successor_release_parts(items, popular=items)
    trained = {"last_click": "2020-09-13T18:00:00+00:00", "cleaning": []}
    write_folder(tmp_path / "release", replace(manifest, training=trained), blob)
    cyclic_clicks(100).write_csv(tmp_path / "clicks.csv")

    run("report", tmp_path / "release", tmp_path / "clicks.csv", "-o", tmp_path / "report.html")

    assert "Careful: the release was trained on clicks until" in (tmp_path / "report.html").read_text()


def test_a_chart_stays_in_its_frame() -> None:
    """One epoch, a flat line, many epochs; the words have first and last."""
    for values in ([1.0], [2.0, 2.0], [float(value) for value in range(50)]):
        chart = line_chart("Loss", values)
        assert all(40 <= x <= 300 and 12 <= y <= 120 for x, y in chart.dots)
        assert len(chart.across) <= 5
    assert line_chart("Loss", [3.0, 1.0]).words.startswith("Loss: 3 after the first of 2 epochs, 1 after")


def test_small_shares_keep_their_digits() -> None:
    """A tenth of a per cent is not nothing."""
    assert [percent(share) for share in (0.2534, 0.0042, 0.0)] == ["25.3 %", "0.42 %", "0.0 %"]
