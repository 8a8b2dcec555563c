from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest

from tests.trainer.builders import MINUTE_MS, NOW, START_MS, cyclic_clicks, table
from trainer.config import FitSettings
from trainer.console import Lines, Progress
from trainer.dataset import decisions
from trainer.dataset.decisions import Decision, applied, inherited, recorded
from trainer.dataset.prepare import prepare
from trainer.dataset.sessions import cut

DAY_MS = 24 * 60 * MINUTE_MS


def sessions_with(*sequences: Sequence[str], apart_ms: int = MINUTE_MS) -> pl.DataFrame:
    """Return one user per sequence of items, the clicks of a user `apart_ms` apart, cut at half an hour."""
    rows: list[tuple[str | None, str | None, int | None]] = [
        (f"user-{number:03}", item, START_MS + number + place * apart_ms)
        for number, items in enumerate(sequences)
        for place, item in enumerate(items)
    ]
    return cut(table(rows), gap_seconds=1800)


@pytest.mark.parametrize(
    ("apart", "value", "share"), [(MINUTE_MS, 1800.0, "0%"), (DAY_MS, 0.0, "100%")], ids=["dense", "sparse"]
)
def test_sessions_never_end_if_most_would_have_one_click(apart: int, value: float, share: str) -> None:
    """Users with a single click are not a reason: no gap gives them a second one."""
    sessions = sessions_with("abc", "bcd", *(["x"] * 50), apart_ms=apart)

    decision = decisions.session_gap(sessions, FitSettings())

    assert decision.value == value
    assert f"{share} of them have only one click" in decision.fact


@pytest.mark.parametrize(
    ("counts", "least"),
    [({"a": 50, "b": 50}, 5), ({"a": 50, "b": 4}, 3), ({"a": 50, "b": 2}, 2), ({"a": 50, "b": 1}, 1)],
)
def test_rare_items_are_kept_if_the_newest_clicks_are_on_them(counts: dict[str, int], least: int) -> None:
    """Of the newest twentieth, half are on `b`, which has so many clicks before."""
    old = ["a"] * counts["a"] + ["b"] * counts["b"]
    clicks = (
        [*old, "a", "b"]
        if len(old) > 90
        else [*(["a"] * (38 - counts["b"])), *(["b"] * counts["b"]), "a", "b"]
    )

    decision = decisions.min_item_count(sessions_with(clicks))

    assert decision.value == least


def test_most_clicks_are_kept() -> None:
    """Even if all of the newest are on new items, as those of a user who never clicks an item twice."""
    decision = decisions.min_item_count(sessions_with([f"item-{number}" for number in range(40)]))

    assert decision.value == 1
    assert decision.fact.endswith(" and 0.0% of all clicks on items with at least 5")


def test_items_first_clicked_in_the_newest_clicks_are_no_reason_for_a_lower_minimum() -> None:
    """No minimum keeps them: they have no earlier clicks."""
    assert decisions.min_item_count(sessions_with(["a"] * 38 + ["new", "new"])).value == 5


@pytest.mark.parametrize(
    ("sequence", "value"), [("aabb", 0), ("abab", 1), ("abcd", 20), ("a" + "bcdefghijklmnopqrstu" + "a", 20)]
)
def test_the_last_items_may_come_again_where_users_repeat_them(sequence: str, value: int) -> None:
    """A click of another user on the same item is no repeat, nor is one after 20 other clicks."""
    sessions = sessions_with(*[sequence] * 10)

    assert decisions.exclude_recent(sessions).value == value


@pytest.mark.parametrize(
    ("count", "final_training", "share"),
    [
        (100_000, True, 0.05),
        (40_000, True, 0.05),
        (20_000, True, 0.1),
        (600, True, 0.333),
        (600, False, 0.05),
    ],
)
def test_few_clicks_have_a_larger_validation_split(count: int, final_training: bool, share: float) -> None:
    """If the final training learns them: the weights of the blend need enough of them."""
    settings = FitSettings.of(final_training=final_training)

    decision = decisions.validation_fraction(pl.DataFrame({"item_id": ["a"] * count}), settings)

    assert decision.value == share


def test_the_user_is_told_of_each_decision_and_the_manifest_has_it() -> None:
    """Each with its fact; applied to settings, they have the decided values."""
    sparse = cyclic_clicks(100).with_columns(pl.col("timestamp_ms") * 3_000 - 2_999 * START_MS)
    lines = list[str]()

    data = prepare(
        sparse.filter(pl.col("timestamp_ms") < NOW.timestamp() * 1000),
        FitSettings(),
        Lines(lines.append),
        NOW,
    )
    settings = applied(FitSettings(), data.summary)

    assert settings.dataset.session_gap == 0
    assert [one["key"] for one in data.summary["decisions"]] == [
        "dataset.session_gap",
        "dataset.min_item_count",
        "dataset.validation_fraction",
        "evaluation.exclude_recent",
    ]
    assert lines[1].startswith(
        "dataset.session_gap 0: if sessions end after 30m without a click, 100% of them"
    )


def test_what_the_user_set_is_not_decided() -> None:
    """Even if it is the default."""
    settings = FitSettings.of(
        session_gap=1800.0, min_item_count=5, exclude_recent=1, validation_fraction=0.05
    )

    data = prepare(cyclic_clicks(), settings, Progress(), NOW)
    changed = applied(settings, {"decisions": recorded([Decision("dataset.session_gap", 0.0, "")])})

    assert data.summary["decisions"] == []
    assert changed == settings


def test_a_decision_is_written_as_a_setting_is() -> None:
    """A duration with its unit."""
    assert str(Decision("dataset.session_gap", 1800.0, "why")) == "dataset.session_gap 30m: why"
    assert str(Decision("dataset.min_item_count", 2, "why")) == "dataset.min_item_count 2: why"


@pytest.mark.parametrize(
    "written",
    [
        None,
        7,
        "text",
        [None],
        [{"key": "dataset.session_gap"}],
        [{"key": "dataset.session_gap", "value": "x"}],
    ],
    ids=str,
)
def test_a_manifest_of_another_program_may_say_anything(written: object) -> None:
    """What is no decision is not inherited."""
    assert inherited(FitSettings(), {"decisions": written}) == []
