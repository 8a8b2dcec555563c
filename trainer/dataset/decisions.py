"""Decisions: settings of a training that follow from its clicks, unless the user set them.

Each decision has a fact that led to it. All facts are about clicks before the test split; if this is the
last clicks of each session, the session gap is decided from all clicks. A decision is one line for the user,
and is in the manifest of the release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import polars as pl

from trainer.config import FitSettings
from trainer.dataset.sessions import moment_before
from worker.core.recent import RECENT_ITEMS
from worker.settings.fields import duration_text, fields_of, is_duration
from worker.settings.loading import given, replaced

DECISIONS: Final = "decisions"
"""The key of the decisions in the summary of the data, and in the training section of a manifest."""

OF_CLICKS: Final = ("dataset.session_gap", "dataset.min_item_count", "evaluation.exclude_recent")
"""The keys of the decisions that a training that starts from a release keeps: those of the release hold."""

Settings = TypeVar("Settings", bound=FitSettings)

_MOST: Final = 0.5
"""Above this share of one-click sessions, sessions never end."""

_MINIMA: Final = (5, 3, 2, 1)
_LEFT_OUT: Final = 0.01
_KEPT: Final = 0.5
"""The largest of `_MINIMA` is taken with which at most the share `_LEFT_OUT` of the newest clicks is on items
left out, and at least the share `_KEPT` of all clicks is kept."""

_NEWEST: Final = 0.05
"""The share of the clicks that count as the newest."""

_VALIDATION_CLICKS: Final = 2_000
_MOST_VALIDATION: Final = 1 / 3
"""Minimum number of clicks in the validation split, and its maximum share of the clicks before the test
split. With fewer clicks, the weights of the blend would fit chance."""

_REPEATED: Final = 0.02
"""Above this share of repeats, the items that users repeat may be recommended again."""


class Decision(NamedTuple):
    """A setting, by its dotted key, with its value and the fact that led to it."""

    key: str
    value: Any
    fact: str

    def __str__(self) -> str:
        field = dict(fields_of(FitSettings))[self.key]
        value = duration_text(self.value) if is_duration(field) and self.value else f"{self.value:g}"
        return f"{self.key} {value}: {self.fact}"


def open_keys(settings: FitSettings, *keys: str) -> list[str]:
    """Return those of `keys` that the user did not set."""
    fixed = given(settings)
    return [key for key in keys if key not in fixed]


def applied(settings: Settings, summary: Mapping[str, Any]) -> Settings:
    """Return `settings` with the decisions in the `summary` of prepared data, or of a manifest.

    Settings that the user set keep their values.
    """
    decided = {one["key"]: one["value"] for one in summary.get(DECISIONS, [])}
    return replaced(settings, {key: decided[key] for key in open_keys(settings, *decided)})


def inherited(settings: FitSettings, training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the decisions about the clicks in the `training` section of a manifest, as in the manifest.

    Settings that the user set are left out.
    """
    keys, found = open_keys(settings, *OF_CLICKS), training.get(DECISIONS)
    # Any program may write a manifest.
    valid = [one for one in found if isinstance(one, Mapping)] if isinstance(found, list | tuple) else []
    return [
        {"key": one["key"], "value": one["value"], "fact": str(one.get("fact", ""))}
        for one in valid
        if one.get("key") in keys and type(one.get("value")) in (int, float) and one["value"] >= 0
    ]


def recorded(decisions: Iterable[Decision]) -> list[dict[str, Any]]:
    """Return decisions in the form of the manifest."""
    return [decision._asdict() for decision in decisions]


def session_gap(sessions: pl.DataFrame, settings: FitSettings) -> Decision:
    """Decide whether sessions end. `sessions`, before the test split, are cut with the gap of `settings`.

    Users with one click count for nothing: they have nothing to learn from, however sessions are cut.
    """
    several = sessions.filter(pl.len().over("user_id") > 1)
    lengths = several.group_by("session").len()["len"]
    single = int((lengths == 1).sum()) / max(1, len(lengths))
    gap = settings.dataset.session_gap
    fact = (
        f"if sessions end after {duration_text(gap)} without a click, {single:.0%} of them have only one "
        "click (users with one click are not counted)"
    )
    return Decision("dataset.session_gap", 0.0 if single > _MOST else gap, fact)


def min_item_count(past: pl.DataFrame) -> Decision:
    """Decide how many clicks an item needs. `past`: the clicks before the test split."""
    newest_from = moment_before(past, _NEWEST)
    newest = pl.col("timestamp_ms") >= newest_from
    earlier = past.filter(~newest).group_by("item_id").len("earlier")
    counts = past.filter(newest).join(earlier, on="item_id", how="inner")["earlier"]
    total = max(1, int(past.select(newest.sum()).item()))
    lost = {least: int((counts < least).sum()) / total for least in _MINIMA}
    sizes, most = past.group_by("item_id").len()["len"], _MINIMA[0]
    kept = {least: int(sizes.filter(sizes >= least).sum()) / max(1, len(past)) for least in _MINIMA}
    least = next((one for one in _MINIMA if lost[one] <= _LEFT_OUT and kept[one] >= _KEPT), 1)
    fact = (
        f"{lost[most]:.1%} of the newest clicks are on items with 1 to {most - 1} earlier clicks, and "
        f"{kept[most]:.1%} of all clicks on items with at least {most}"
    )
    return Decision("dataset.min_item_count", least, fact)


def validation_fraction(past: pl.DataFrame, settings: FitSettings) -> Decision:
    """Decide how large the validation split is. `past`: as in `min_item_count`.

    A final training learns the validation clicks, too. Without one, they would be lost, so the share stays.
    """
    usual, count = settings.dataset.validation_fraction, len(past)
    least = _VALIDATION_CLICKS if settings.training.final_training else 0
    share = max(usual, min(_MOST_VALIDATION, least / count))
    fact = f"there are {count:,} clicks before the test split"
    return Decision("dataset.validation_fraction", round(share, 3), fact)


def exclude_recent(past: pl.DataFrame) -> Decision:
    """Decide after how many other clicks an item may be recommended again. `past`: as in `min_item_count`."""
    user, item = pl.col("user_id"), pl.col("item_id")
    repeats = [
        ((user == user.shift(lag)) & (item == item.shift(lag))).fill_null(value=False)
        for lag in range(1, RECENT_ITEMS + 1)
    ]
    shares = (
        past.lazy()
        .select("user_id", "item_id")
        .sort("user_id", maintain_order=True)
        .select(last=repeats[0].mean(), any=pl.any_horizontal(repeats).mean())
        .collect()
    )
    last, one_of_them = (shares[name][0] or 0.0 for name in ("last", "any"))
    value = RECENT_ITEMS if one_of_them <= _REPEATED else 1 if last <= _REPEATED else 0
    fact = (
        f"{last:.1%} of the clicks are on the user's last item, {one_of_them:.1%} on one of the last "
        f"{RECENT_ITEMS}"
    )
    return Decision("evaluation.exclude_recent", value, fact)
