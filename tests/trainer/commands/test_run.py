from __future__ import annotations

import pytest
from click.testing import CliRunner

from trainer.commands.cli import cli
from trainer.commands.options import Duration
from worker.errors import SettingError


def refused(*arguments: str) -> str:
    """Why the command does not even look for Kafka."""
    try:
        return CliRunner().invoke(cli, ["run", *arguments], catch_exceptions=False).output
    except SettingError as error:
        return str(error)


def test_a_time_span_has_a_unit() -> None:
    """Anything else is refused with an example."""
    durations = [Duration().convert(text, None, None) for text in ("90s", "1.5m", "1h", "7d")]

    assert durations == [90, 90, 3_600, 604_800]
    assert "'60' is no time span like 30m, 1h or 7d" in refused("--every", "60")
    assert "'0h' is no time span" in refused("--every", "0h")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--share", "0.5"], "--share is for a candidate"),
        (["--window-days", "3", "--keep-days", "2"], "keep_days (2) is less than window_days (3)"),
        (["--every", "2d", "--window-days", "1"], "held_out (172800 s) must be shorter than window_days (1)"),
        (["--streaming", "--epochs", "3", "--no-warm"], "epochs, warm: online training goes on"),
        (["--page", "64", "--page-half-life-hours", "2"], "page, page_half_life_hours: for online training"),
        (["--streaming", "--page", "1"], "Invalid value for '--page'"),
        (["--streaming", "--page-half-life-hours", "0"], "Invalid value for '--page-half-life-hours'"),
        (["--item-features", "items.csv"], "item_features is 'items.csv', it must be left out, or come with"),
        (
            ["--streaming", "--item-features", "items.csv"],
            "item_features is 'items.csv', it must be left out",
        ),
        (["--cache", "kept"], "cache: every run has other clicks"),
        (["--categorical", "genre"], "name item_features"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: list[str], problem: str) -> None:
    """Before anything else is done."""
    assert problem in refused(*arguments)
