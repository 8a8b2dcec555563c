from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.trainer.builders import MINUTE_MS, NOW, START_MS, cyclic_clicks, table, twice
from trainer.config import FitSettings
from trainer.console import Lines, Progress
from trainer.dataset import prepare as preparing
from trainer.dataset.dataset import Data
from trainer.dataset.prepare import prepare, sessionised
from trainer.dataset.sessions import TEST, Sessions
from trainer.errors import TooFewClicks

NOW_MS = round(NOW.timestamp() * 1000)
GENRES = pl.DataFrame(
    {"item_id": ["item-0", "item-1", "new"], "genre": ["x", "y|z", "x"], "price": [1, 2, 3]}
)


def prepared(clicks: pl.DataFrame | pl.LazyFrame, **settings: Any) -> Data:
    """`prepare` with these settings, silently."""
    return prepare(clicks, FitSettings.of(**settings), Progress(), NOW)


def same(one: Data, other: Data) -> bool:
    """Whether two are the same, number by number."""
    parts = [(getattr(one, name), getattr(other, name)) for name in ("train", "validation", "test")]
    arrays = [(a.items, b.items) for a, b in parts] + [(a.starts, b.starts) for a, b in parts]
    arrays += [(a.scored, b.scored) for a, b in parts]
    return one.summary == other.summary and all(np.array_equal(a, b) for a, b in arrays)


def test_lazy_clicks_give_what_those_in_memory_give() -> None:
    """A plan of clicks and the clicks themselves are one path."""
    clicks = cyclic_clicks(100)

    assert same(prepared(clicks), prepared(clicks.lazy()))


def test_sessions_of_one_click_are_named_first() -> None:
    """Where most are such, little can be learned: that matters more than any duplicate."""
    lines = list[str]()
    single = table([(f"once-{number}", "item-1", START_MS + number) for number in range(1_000)])

    prepare(
        cyclic_clicks(100).vstack(single), FitSettings.of(validation_fraction=0.05), Lines(lines.append), NOW
    )

    assert lines[0] == "after cleaning: 1,500 clicks of 1,100 users on 12 items"
    assert lines[1].startswith("dataset.session_gap 30m: ")
    assert lines[2] == (
        "91% of the sessions have one click: nothing can be learned from them. "
        "Check the user column and dataset.session_gap (30m)."
    )


def test_users_in_parts_are_the_same_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit in memory at once is cleaned and cut in parts; only the order of users differs."""
    clicks = cyclic_clicks(100).vstack(cyclic_clicks(1)).vstack(table([(None, "x", START_MS)]))
    whole, removals = sessionised(clicks.lazy(), 1800, NOW_MS)

    monkeypatch.setattr(preparing, "_PART_CLICKS", 60)
    parts, removals_in_parts = sessionised(clicks.lazy(), 1800, NOW_MS)

    assert removals_in_parts == removals
    assert parts["session"].n_unique() == whole["session"].n_unique() == 100
    assert parts["user_id"].n_unique() == 100
    assert sessions_of(parts) == sessions_of(whole)


def sessions_of(sessions: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Items and times of each session, in a fixed order."""
    grouped = sessions.group_by("session", maintain_order=True).agg("item_id", "timestamp_ms")
    return sorted(zip(grouped["item_id"].to_list(), grouped["timestamp_ms"].to_list(), strict=True))


def test_every_removal_is_told_and_stands_in_the_summary() -> None:
    """What is said is what a manifest says."""
    lines: list[str] = []
    bot = table([("bot", f"item-{number % 12}", START_MS + number * 1000) for number in range(50)])

    data = prepare(
        cyclic_clicks(100).vstack(bot), FitSettings.of(max_clicks_per_hour=20), Lines(lines.append), NOW
    )

    assert any("removed 50 of" in line and "more than 20 clicks in an hour" in line for line in lines)
    assert data.summary["cleaning"][-3]["removed"] == 50


@pytest.mark.parametrize("session_gap", [1_800, 0])
def test_the_lines_account_for_every_click(session_gap: float) -> None:
    """Each is in one of the three parts; what is too short there to predict anything is counted, too."""
    lines = list[str]()
    clicks = cyclic_clicks(100)
    late = int(clicks["timestamp_ms"].to_numpy().max())
    single = table([(f"late-{number}", "item-1", late + number) for number in range(4)])

    data = prepare(clicks.vstack(single), FitSettings.of(session_gap=session_gap), Lines(lines.append), NOW)

    said = "\n".join(lines)
    found = re.search(r"divided: (\d+) clicks to learn from, (\d+) in the validation .*, (\d+) in", said)
    assert found
    assert sum(map(int, found.groups())) == 504
    assert re.search(r"removed 4 of \d+ sessions: of one click, in the test split", said)
    assert data.summary["cleaning"][-1]["removed"] == 4


def test_repeats_are_dropped_from_the_training_part_alone() -> None:
    """What is held out stays as a worker would meet it; the count stands in the summary."""
    clicks = twice(cyclic_clicks(100))

    data, untouched = (prepared(clicks, repeat_within=seconds) for seconds in (10.0, 0.0))

    repeats = len(untouched.train.items) // 2
    assert not has_repeats(data.train)
    assert has_repeats(data.test)
    assert has_repeats(untouched.train)
    assert (len(data.train.items), len(data.test.items)) == (repeats, len(untouched.test.items))
    assert data.summary["cleaning"][4] == {
        "removed": repeats,
        "left": repeats,
        "what": "clicks",
        "why": "repeats: the same user clicked the same item again within 10 s",
    }


def has_repeats(sessions: Sessions) -> bool:
    """Whether an item comes right after itself in any of `sessions`."""
    return any((items[1:] == items[:-1]).any() for items in sessions)


def test_rare_items_and_short_sessions_settle() -> None:
    """One pass leaves an item that became rare by it; settling goes on until there is none."""
    rows = [("a", "p", 0), ("a", "q", 1), ("b", "q", 2), ("b", "rare", 3)]
    rows += [(f"u{number}", item, 10 + number) for number in range(9) for item in ("x", "y")]
    clicks = table([(user, item, START_MS + at * MINUTE_MS) for user, item, at in rows])
    settings = {"min_item_count": 2, "test_fraction": 0.0, "validation_fraction": 0.0}

    once, settled = prepared(clicks, **settings), prepared(clicks, **settings, settle=True)

    assert len(once.catalogue) == 2
    assert len(settled.catalogue) == 2
    assert len(settled.summary["cleaning"]) == len(once.summary["cleaning"]) + 2


def test_an_item_of_the_test_split_alone_is_not_in_the_catalogue_for_its_features() -> None:
    """The columns of a click describe its item, but a held-out click must not bring the item along."""
    clicks = pl.concat(
        [
            cyclic_clicks(20),
            table([(f"user-{n}", "held-out", START_MS + (n * 5 + 5) * MINUTE_MS - 1) for n in range(20)]),
        ]
    ).with_columns(kind=pl.lit("x"))

    data = prepared(clicks, leave_last=1, min_item_count=1, categorical=("kind",), min_value_count=1)

    assert data.never_clicked == 0
    assert "held-out" not in data.catalogue.ids(np.arange(len(data.catalogue))).tolist()


@pytest.mark.parametrize("cached", [False, True], ids=["direct", "cached"])
def test_features_and_items_without_clicks_join_the_catalogue(tmp_path: Path, cached: bool) -> None:
    """Clicked items come first; the features stand in the catalogue's order, also out of the cache."""
    GENRES.with_columns(pl.col("price").cast(pl.Float64)).write_parquet(tmp_path / "items.parquet")
    settings = {"file": str(tmp_path / "items.parquet"), "min_value_count": 1}
    settings |= {"categorical": ("genre",), "numeric": ("price",)}
    if cached:
        settings |= {"cache": str(tmp_path / "cache")}
        prepared(cyclic_clicks(100), **settings)

    data = prepared(cyclic_clicks(100), **settings)

    assert (len(data.catalogue), data.clicked_items, data.never_clicked) == (13, 12, 1)
    assert data.catalogue.ids(np.arange(12, 13)).tolist() == ["new"]
    assert data.features is not None
    genre = data.features.categorical[0]
    assert [genre.values[one] for one in genre.indexes[genre.starts[12] :]] == ["x"]
    assert data.features.numeric.shape == (13, 1)
    assert data.summary["never_clicked"] == 1


def test_columns_of_the_clicks_are_features() -> None:
    """Without a file the named columns are looked for in the clicks, those before the hold-out."""
    clicks = cyclic_clicks(100).with_columns(kind=pl.col("item_id").str.slice(-1))

    data = prepared(clicks, categorical=("kind",), min_value_count=1)

    assert data.features is not None
    assert len(data.features.categorical[0].values) == 10


def test_the_cache_knows_clicks_and_settings(tmp_path: Path) -> None:
    """The same are not prepared twice; another click or setting is another entry."""
    clicks, cache = cyclic_clicks(100), str(tmp_path / "cache")
    lines: list[str] = []

    first = prepared(clicks, cache=cache)
    again = prepare(clicks, FitSettings.of(cache=cache), Lines(lines.append), NOW)
    prepared(clicks.vstack(table([("a", "x", START_MS)])), cache=cache)
    prepared(clicks, cache=cache, min_item_count=1)
    prepared(clicks, cache=cache, hidden_size=8)

    assert same(first, again)
    assert lines[0].startswith("loaded prepared sessions from")
    assert len(list((tmp_path / "cache").iterdir())) == 3


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([("a", "x", NOW_MS * 2)], "no click is left after cleaning: removed 1 of 1 clicks: the time is"),
        ([("a", "x", START_MS + n) for n in range(9)], "all clicks are on one item"),
        ([(f"u{n}", f"i{n % 2}", START_MS) for n in range(10)], "all 10 sessions have one click"),
        ([("a", f"i{n}", START_MS + n) for n in range(9)], "none of the 9 items has 5 clicks"),
    ],
    ids=["future", "one item", "short", "rare"],
)
def test_clicks_that_cannot_be_used_say_why(rows: list[Any], problem: str) -> None:
    """Each with its own sentence."""
    settings = {"test_fraction": 0.0, "validation_fraction": 0.0, "min_item_count": 5}

    with pytest.raises(TooFewClicks, match=problem):
        prepared(table(rows), **settings)


def test_baselines_have_the_items_that_the_catalogue_lacks() -> None:
    """The clicks before the test split, rare items and all; and the test sessions, one for one."""
    rare = table([("new", f"rare-{number}", START_MS - MINUTE_MS + number) for number in range(3)])

    data = prepared(pl.concat([rare, cyclic_clicks(100)]), min_item_count=5)

    assert data.every_item is not None
    past, test, past_users, test_users, context = data.every_item
    assert int(past.items.max()) + 1 == len(data.catalogue) + 3
    assert len(past.items) + data.summary["test_clicks"] == 503
    assert test.starts.tolist() == data.test.starts.tolist()
    assert test.scored.tolist() == data.test.scored.tolist()
    assert test.times_ms is not None
    assert (len(past_users), len(test_users)) == (len(past.items), len(test.items))
    assert not context.any()


def test_the_last_clicks_are_a_test_split_without_a_time() -> None:
    """All others are for learning; the manifest tells what was held out."""
    data = prepared(cyclic_clicks(100), leave_last=2, validation_fraction=0.0)

    assert (data.summary["clicks"], data.summary["test_clicks"], data.test.predictions) == (300, 200, 200)
    assert (data.summary["leave_last"], data.summary["test_from"]) == (2, None)


def test_marked_clicks_are_the_test_split() -> None:
    """And no other is, whatever the share."""
    clicks = cyclic_clicks(100)
    marked = clicks.with_columns((pl.col("timestamp_ms") >= clicks["timestamp_ms"][400]).alias(TEST))

    data = prepared(marked, validation_fraction=0.0)

    assert (data.summary["clicks"], data.summary["test_clicks"], data.test.predictions) == (400, 100, 80)
    assert (data.summary["test_files"], data.summary["test_from"]) == (True, None)
    for wrong, says in (
        (True, "no click is left to learn from"),
        (False, "no click of the test files is left"),
    ):
        with pytest.raises(TooFewClicks, match=says):
            prepared(clicks.with_columns(pl.lit(wrong).alias(TEST)))


def test_a_context_that_no_test_session_has_is_refused_before_the_training() -> None:
    """The message names the longest session."""
    with pytest.raises(TooFewClicks, match=re.escape("min_context is 5, but no click of the test split has")):
        prepared(cyclic_clicks(100), min_context=5)

    assert prepared(cyclic_clicks(100), min_context=4).test.predictions == 10
