from __future__ import annotations

import polars as pl
import pytest

from tests.trainer.builders import START_MS
from trainer.clicks.columns import Columns, Scan, convert
from trainer.clicks.counts import Counts
from trainer.clicks.rules import Rules
from trainer.errors import UnusableClicks

SEVERAL_KINDS = (
    "Careful: column time has several kinds of times: 5 in seconds (such as 1600000000), 1 in milliseconds "
    "(such as 1600000000000), 1 as dates (such as 2020-09-13); the unit of each number is inferred from its "
    "size. To use one unit for all numbers, set click.timestamp_unit"
)
TIMES = [str(1_600_000_000 + at) for at in range(10)]
RULES = Rules(now_ms=START_MS + 86_400_000)


def scan(users: list[str | None], times: list[str]) -> Scan:
    """Return clicks of these users at these times."""
    frame = pl.DataFrame({"user": users, "item": ["x"] * len(users), "time": times})
    return convert(frame.lazy(), Columns(), source="x", rules=RULES)


def test_what_may_surprise_is_said_with_counts_and_examples() -> None:
    """Blanks, missing values by value, units, times that are none."""
    users = [" a", "a ", "NULL", r"\N", "NULL", "", None, "7.0"]
    times = ["1600000000", "1600000000000", "2020-09-13", "soon", *["1600000001"] * 4]

    found = scan(users, times)

    assert found.times == "unix seconds and milliseconds, dates and times"
    assert found.notes == (
        "2 ids in column user had whitespace around them, which was removed",
        "ids in column user such as 7.0 are read as 7; integers with missing values often look like this",
        "1 clicks have an empty user",
        '2 clicks have the user "NULL", which means missing (click.missing)',
        r'1 clicks have the user "\N", which means missing (click.missing)',
        "1 values in column time cannot be read as times, such as soon",
        SEVERAL_KINDS,
    )


EXPORTED = (
    "Careful: 6 ids in column user look as if a spreadsheet or an export changed them, such as "
    "'1.79E+12'; they are used as they are, so export the column as text if the topic has other ids"
)
INEXACT = (
    "Careful: 1 ids in column user are floats with too many digits: several integers may have "
    "become the same float. Write the ids as integers or text"
)
WHOLE = "ids in column user such as {} are read as {}; integers with missing values often look like this"
NO_IDS = "1 values in column user are not ids, such as {}; ids must be text or integers"
COARSE = (
    "Careful: all times in column time are full quarters of an hour, such as 2020-09-12 (2020-09-12 00:00), "
    "as if they were dates; clicks of the same time are taken in the order of the source"
)
ROUNDED = (
    "Careful: 2 times in column time are rounded, such as 1.6E+9 (2020-09-13 12:26); "
    "export the column with all digits"
)


def test_ids_that_an_export_changed_are_said_with_an_example() -> None:
    """They are used as they are: only the user knows the ids of the topic."""
    found = scan(["1.79E+12", '="007"', "#REF!", "7,0", "'a'", "a\x00b", "1E5", "a", "#1", "1,5"], TIMES)

    assert found.notes == (EXPORTED,)


@pytest.mark.parametrize(
    ("users", "notes"),
    [
        (
            pl.Series([7.0, float("inf"), float("nan"), None]),
            (NO_IDS.format("inf"), WHOLE.format("7.0", "7")),
        ),
        (pl.Series([b"a", b"\xff\xfe", None, b"b"]), (NO_IDS.format("fffe"),)),
        (pl.Series([7.0, 2.0**60, 8.0, None]), (INEXACT, WHOLE.format("7.0", "7"))),
        (pl.Series([2.0**60]), (INEXACT, WHOLE.format("1.152921504606847e+18", "1152921504606847000"))),
    ],
    ids=["infinite", "bytes", "large", "only large"],
)
def test_values_that_are_no_ids_are_counted(users: pl.Series, notes: tuple[str, ...]) -> None:
    """Apart from the missing ones, with an example."""
    times = [1_600_000_000 + at for at in range(len(users))]
    frame = pl.DataFrame({"user": users, "item": "x", "time": times})

    assert convert(frame.lazy(), Columns(), source="x", rules=RULES).notes == notes


def test_times_that_lost_their_digits_are_said() -> None:
    """Those that a spreadsheet wrote, and dates."""
    rounded = scan(["a"] * 3, ["1.6E+9", "1.5999E12", "1.600000001e9"])
    dates = scan(["a"] * 2, ["2020-09-12", "2020-09-11T22:00:00"])
    moments = scan(["a"] * 2, ["2020-09-12", "2020-09-11T22:00:01"])

    assert rounded.notes[0] == ROUNDED
    assert dates.notes == (COARSE,)
    assert moments.notes == ()


def test_times_that_are_not_plausible_are_removed_with_their_own_reasons() -> None:
    """Each with an example and the setting."""
    found = scan(["a"] * 5, ["1600000000", "1600000001", "1600000002", "86400", "1900000000"])

    assert [str(one) for one in found.counts.removals(RULES)] == [
        "removed 1 of 5 clicks: before 2000-01-01 (click.earliest), such as 86400 (1970-01-02 00:00)",
        "removed 1 of 4 clicks: in the future (click.timestamp_unit), such as 1900000000 (2030-03-17 17:46)",
    ]
    assert found.clicks.collect().height == 3


def test_a_source_whose_times_are_mostly_wrong_is_refused() -> None:
    """Half of them may be."""
    half = scan(["a"] * 2, ["1600000000", "86400"])
    most = scan(["a"] * 3, ["1600000000", "86400", "86401"])

    half.counts.require_plausible(RULES, "x", "time")
    with pytest.raises(
        UnusableClicks,
        match=r"x: 2 of 3 times in column 'time' are before 2000-01-01, such as 86400 .*click.earliest",
    ):
        most.counts.require_plausible(RULES, "x", "time")


def test_counts_of_several_sources_are_one() -> None:
    """An example of one stands for all."""
    total = Counts()
    for times in (["1600000000", "1600000001"], ["1600000000", "86400"]):
        total.add(scan([" a", "b"], times).counts)

    assert (total.rows, total.blanks["user"], total.odd["early"], total.units["s"]) == (4, 2, 1, 4)
    assert total.examples["early"] == ("86400", 86_400_000)
