"""Counts of a source, shown before a training: how values were read, and why clicks were removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import polars as pl

from trainer.clicks import ids
from trainer.clicks.cleaning import Removal
from trainer.clicks.fields import Field
from trainer.clicks.rules import Rules
from trainer.clicks.timestamps import is_of_unit, size_of
from trainer.errors import UnusableClicks
from worker.core.times import BELOW, NAMES
from worker.core.where import settings_of

ROLES: Final = ("user", "item")

_COUNTED: Final = ("early", "late", "unread", "rounded", "coarse")
_OF_IDS: Final = ("inexact", "strange", "refused")

_QUARTER_MS: Final = 900_000
_ROUNDED: Final = r"^\s*[0-9](?:\.[0-9]{0,8})?[eE]\+?[0-9]+\s*$"
"""A number in exponent notation with too few digits for the second of a time."""


@dataclass(slots=True)
class Counts:
    """Counts of clicks, and examples of values as written in the source."""

    rows: int = 0
    skipped: int = 0
    blanks: Counter[str] = field(default_factory=Counter)
    missing: Counter[tuple[str, str]] = field(default_factory=Counter)
    inexact: Counter[str] = field(default_factory=Counter)
    strange: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)
    odd: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Any] = field(default_factory=dict)
    headless: bool = False
    """Whether the file has no header, so that its columns were recognised by their values."""
    borrower: str = ""
    """The first file without a header whose columns were named by another file's; empty: there is none."""

    def add(self, other: Counts) -> None:
        """Add the counts of another source."""
        self.rows += other.rows
        self.skipped += other.skipped
        for mine, its in (
            (self.blanks, other.blanks),
            (self.inexact, other.inexact),
            (self.strange, other.strange),
            (self.refused, other.refused),
            (self.units, other.units),
            (self.odd, other.odd),
        ):
            mine.update(its)
        self.missing.update(other.missing)
        known = {
            kind: example for kind, example in self.examples.items() if example not in (None, (None, None))
        }
        self.examples = other.examples | known
        self.headless |= other.headless
        self.borrower = self.borrower or other.borrower

    @property
    def times(self) -> str:
        """The units and formats of the times, as text for display."""
        units = [NAMES[unit] for unit in BELOW if self.units[unit]]
        words = [f"unix {' and '.join(units)}"] if units else []
        if self.units["date"] or not words:
            words.append("dates and times")
        return ", ".join(words)

    def removals(self, rules: Rules) -> list[Removal]:
        """Return a removal for each reason to leave out clicks: skipped, too early, in the future."""
        left, steps = self.rows + self.skipped, list[Removal]()
        early = f"before {_date(rules.times.earliest_ms)} (click.earliest){self._such_as('early')}"
        for count, why in (
            (self.skipped, f"skipped by {settings_of(rules.where)}"),
            (self.odd["early"], early),
            (self.odd["late"], f"in the future (click.timestamp_unit){self._such_as('late')}"),
        ):
            left -= count
            if count:
                steps.append(Removal(count, left, "clicks", why))
        return steps

    def notes(self, names: Mapping[str, str]) -> list[str]:
        """Return human-readable notes on how values were read. `names` maps a role to its column."""
        found = []
        if self.headless:
            found.append(
                f"the file has no header; judging by the values, {names['user']} is the user, "
                f"{names['item']} the item and {names['timestamp']} the time; "
                "to name the columns, set files.columns"
            )
        if self.borrower:
            found.append(
                f"{self.borrower} has no header; its columns are named as those of a file that has one"
            )
        for role in ROLES:
            found += self._of_ids(role, names[role])
        for (role, token), count in self.missing.items():
            shown = (
                f'the {role} "{token}", which means missing (click.missing)' if token else f"an empty {role}"
            )
            found.append(f"{count:,} clicks have {shown}")
        if count := self.odd["unread"]:
            found.append(
                f"{count:,} values in column {names['timestamp']} cannot be read as times"
                f"{self._such_as('unread')}"
            )
        return [*found, *self._rounded(names["timestamp"]), *self._mixture(names["timestamp"])]

    def require_plausible(self, rules: Rules, source: str, column: str) -> None:
        """Raise UnusableClicks if most times are too early or in the future."""
        for kind, what in (
            ("early", f"are before {_date(rules.times.earliest_ms)}"),
            ("late", "are in the future"),
        ):
            if 2 * (count := self.odd[kind]) > self.rows:
                advice = "set the unit of numbers with click.timestamp_unit"
                if kind == "early":
                    advice = f"if they are right, set click.earliest to an earlier date; if not, {advice}"
                raise UnusableClicks(
                    f"{source}: {count:,} of {self.rows:,} times in column {column!r} {what}"
                    f"{self._such_as(kind)}; {advice}"
                )

    def _of_ids(self, role: str, column: str) -> list[str]:
        found = []
        if count := self.blanks[role]:
            found.append(f"{count:,} ids in column {column} had whitespace around them, which was removed")
        if count := self.inexact[role]:
            found.append(
                f"Careful: {count:,} ids in column {column} are floats with too many digits: several "
                "integers may have become the same float. Write the ids as integers or text"
            )
        if count := self.strange[role]:
            found.append(
                f"Careful: {count:,} ids in column {column} look as if a spreadsheet or an export changed "
                f"them, such as {self.examples[f'{role} strange']!r}; they are used as they are, "
                "so export the column as text if the topic has other ids"
            )
        if count := self.refused[role]:
            found.append(
                f"{count:,} values in column {column} are not ids, "
                f"such as {self.examples[f'{role} refused']}; ids must be text or integers"
            )
        if whole := self.examples.get(f"{role} whole"):
            found.append(
                f"ids in column {column} such as {whole} are read as {Decimal(whole):.0f}; "
                "integers with missing values often look like this"
            )
        return found

    def _rounded(self, column: str) -> list[str]:
        found = []
        if count := self.odd["rounded"]:
            found.append(
                f"Careful: {count:,} times in column {column} are rounded{self._such_as('rounded')}; "
                "export the column with all digits"
            )
        if 1 < self.units.total() == self.odd["coarse"]:
            found.append(
                f"Careful: all times in column {column} are full quarters of an hour"
                f"{self._such_as('coarse')}, as if they were dates; clicks of the same time are taken in "
                "the order of the source"
            )
        return found

    def _such_as(self, kind: str) -> str:
        value, time_ms = self.examples.get(kind, (None, None))
        if value is None:
            return ""
        return f", such as {value}" + ("" if time_ms is None else f" ({_moment(time_ms)})")

    def _mixture(self, column: str) -> list[str]:
        kinds = [kind for kind in (*BELOW, "date") if self.units[kind]]
        if len(kinds) < 2:
            return []
        parts = [
            f"{self.units[kind]:,} {'in ' + NAMES[kind] if kind in NAMES else 'as dates'} "
            f"(such as {self.examples[kind]})"
            for kind in kinds
        ]
        careful = (
            f"Careful: column {column} has several kinds of times: {', '.join(parts)}; the unit of each "
            "number is inferred from its size. To use one unit for all numbers, set click.timestamp_unit"
        )
        return [careful]


def counted(frame: pl.LazyFrame, fields: Mapping[str, Field], time: pl.Expr, rules: Rules) -> Counts:
    """Count how the values in a table of clicks were read, and why clicks will be left out.

    `fields` are the fields of a click by role; `time` is its time in milliseconds.
    """
    values = frame.select(**_values(fields, rules), time=time)
    kinds = {role: field.kind for role, field in fields.items()}
    row = values.with_columns(**_seen(kinds, rules)).select(_totals(rules)).collect(engine="streaming")
    return _of_row(row.row(0, named=True), rules)


def _values(fields: Mapping[str, Field], rules: Rules) -> dict[str, pl.Expr]:
    columns = {role: field.column for role, field in fields.items()}
    return {
        **columns,
        **{f"{role} text": ids.unusual(*field, rules.missing) for role, field in fields.items()},
    }


def _seen(kinds: Mapping[str, pl.DataType], rules: Rules) -> dict[str, pl.Expr]:
    moment = pl.col("timestamp")
    found = {
        "size": size_of(moment, kinds["timestamp"], rules.times),
        "shown": moment.cast(pl.String, strict=False),
        "given": moment.is_not_null() & ~_missing("timestamp", rules).fill_null(False),
    }
    for role in ROLES:
        column, text = pl.col(role), pl.col(f"{role} text")
        found[f"{role} blank"] = ids.has_blanks(text)
        found[f"{role} token"] = pl.when(_missing(role, rules)).then(ids.stripped(text))
        found[f"{role} inexact"] = ids.is_inexact(column, kinds[role])
        found[f"{role} strange"] = ids.is_strange(ids.stripped(text)) & ~_missing(role, rules)
        found[f"{role} refused"] = ids.is_refused(column, kinds[role])
        found[f"{role} shown"] = text if ids.is_text(kinds[role]) else _shown(column, kinds[role])
        found[f"{role} whole"] = ids.whole_example(text if ids.is_text(kinds[role]) else column, kinds[role])
    return found


def _shown(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    return column.bin.encode("hex") if kind == pl.Binary else column.cast(pl.String, strict=False)


def _missing(role: str, rules: Rules) -> pl.Expr:
    return ids.stripped(pl.col(f"{role} text")).is_in(_tokens(rules))


def _totals(rules: Rules) -> list[pl.Expr]:
    time, size, shown = pl.col("time"), pl.col("size"), pl.col("shown")
    totals = [pl.len().alias("rows")]
    for kind, is_so in (
        ("early", time < rules.times.earliest_ms),
        ("late", time > rules.latest_ms),
        ("unread", time.is_null() & pl.col("given")),
        ("rounded", time.is_not_null() & pl.col("timestamp text").str.contains(_ROUNDED)),
        ("coarse", time % _QUARTER_MS == 0),
    ):
        totals += [is_so.sum().alias(kind), shown.filter(is_so).first().alias(f"{kind} example")]
        totals.append(time.filter(is_so).first().alias(f"{kind} time"))
    units: dict[str, pl.Expr] = {unit: is_of_unit(size, unit, rules.times) for unit in BELOW}
    units["date"] = size.is_null() & time.is_not_null()
    for kind, is_so in units.items():
        totals += [is_so.sum().alias(f"unit {kind}"), shown.filter(is_so).first().alias(f"example {kind}")]
    for role in ROLES:
        totals.append(pl.col(f"{role} blank").sum().alias(f"{role} blank"))
        for what in _OF_IDS:
            totals.append(pl.col(f"{role} {what}").sum().alias(f"{role} {what}"))
            example = pl.col(f"{role} shown").filter(pl.col(f"{role} {what}")).first()
            totals.append(example.alias(f"{role} {what} example"))
        totals.append(pl.col(f"{role} whole").drop_nulls().first().alias(f"{role} whole"))
        token = pl.col(f"{role} token")
        totals += [(token == one).sum().alias(f"{role} token {one}") for one in _tokens(rules)]
    return totals


def _tokens(rules: Rules) -> list[str]:
    return list(dict.fromkeys(("", *rules.missing)))


def _of_row(row: Mapping[str, Any], rules: Rules) -> Counts:
    found = Counts(rows=row["rows"])
    for role in ROLES:
        found.blanks[role] = row[f"{role} blank"] or 0
        for what in _OF_IDS:
            getattr(found, what)[role] = row[f"{role} {what}"] or 0
            found.examples[f"{role} {what}"] = row[f"{role} {what} example"]
        if row[f"{role} whole"] is not None:
            found.examples[f"{role} whole"] = row[f"{role} whole"]
        for token in _tokens(rules):
            if count := row[f"{role} token {token}"]:
                found.missing[role, token] = count
    for kind in _COUNTED:
        found.odd[kind] = row[kind] or 0
        found.examples[kind] = (row[f"{kind} example"], row[f"{kind} time"])
    for unit in (*BELOW, "date"):
        found.units[unit] = row[f"unit {unit}"] or 0
        found.examples[unit] = row[f"example {unit}"]
    return found


def _moment(time_ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return "out of range"


def _date(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d}"
