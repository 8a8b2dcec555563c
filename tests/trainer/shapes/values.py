"""Shapes of files by what their columns hold."""

from __future__ import annotations

from decimal import Decimal
from typing import Final
from uuid import UUID

import polars as pl

from tests.thousand_clicks import ROWS
from tests.trainer.shapes.writers import LISBON, PLAIN, Shape, csv, lines, moment, text, typed, uuid

VALUES: Final = (
    Shape(
        "integer ids of any width",
        "their decimal text",
        typed(lambda frame: frame.cast({"user_id": pl.Int16})),
    ),
    Shape(
        "float ids, such as integers with missing values",
        "`12.0` is read as 12; fractions are not valid ids",
        typed(lambda frame: frame.cast({"user_id": pl.Float64})),
    ),
    Shape(
        "decimal ids",
        "`12.0000000000` is read as 12",
        typed(
            lambda frame: frame.with_columns(
                user_id=pl.Series([Decimal(f"{row.user_id}.0000000000") for row in ROWS])
            )
        ),
    ),
    Shape(
        "text ids such as `12.0`",
        "read as 12; leading zeros are kept",
        text("clicks.csv", lines(lambda row: f"{row.user_id}.0,{row.item_id},{row.timestamp_ms}")),
    ),
    Shape(
        "UUIDs in 16 bytes",
        "their text in lower case",
        typed(
            lambda frame: frame.with_columns(
                user_id=pl.Series([UUID(uuid(row.user_id)).bytes for row in ROWS])
            )
        ),
        rename=uuid,
    ),
    Shape(
        "UUIDs as text in upper case",
        "converted to lower case",
        text(
            "clicks.csv", lines(lambda row: f"{uuid(row.user_id).upper()},{row.item_id},{row.timestamp_ms}")
        ),
        rename=uuid,
    ),
    Shape(
        "categorical columns, as pandas writes them",
        "their text",
        typed(lambda frame: frame.cast({"item_id": pl.Categorical})),
    ),
    Shape(
        "ids such as `NULL`, `\\N`, `NA`, `nan`, or empty",
        "missing (`click.missing`), counted by value",
        text(
            "clicks.csv",
            PLAIN + "".join(f"{one},00001,1790000000000\n" for one in ("NULL", r"\N", "NA", "nan", "", " ")),
        ),
    ),
    Shape(
        "times in ms",
        "unit recognised by size, or set by `click.timestamp_unit`",
        text("clicks.csv", PLAIN),
        ("click.timestamp_unit=ms",),
    ),
    Shape(
        "times in s",
        "the same",
        text("clicks.csv", lines(lambda row: f"{row.user_id},{row.item_id},{row.timestamp_ms // 1000}")),
    ),
    Shape(
        "times in ns",
        "the same",
        typed(lambda frame: frame.with_columns(pl.col("timestamp") * 1_000_000)),
    ),
    Shape(
        "times in µs as floats",
        "the same",
        text("clicks.csv", lines(lambda row: f"{row.user_id},{row.item_id},{row.timestamp_ms * 1000}.0")),
    ),
    Shape(
        "times in two units",
        "unit recognised for each time; reported with counts and examples",
        text(
            "clicks.csv",
            lines(
                lambda row: (
                    f"{row.user_id},{row.item_id},"
                    f"{row.timestamp_ms if int(row.user_id) % 3 else row.timestamp_ms // 1000}"
                )
            ),
        ),
    ),
    Shape(
        "RFC 3339",
        "the time",
        text(
            "clicks.csv", lines(lambda row: f"{row.user_id},{row.item_id},{moment(row):%Y-%m-%dT%H:%M:%SZ}")
        ),
    ),
    Shape(
        "`2026-09-21 14:13:20+00`, as PostgreSQL writes it",
        "the time",
        text(
            "clicks.csv",
            lines(lambda row: f"{row.user_id},{row.item_id},{moment(row):%Y-%m-%d %H:%M:%S}+00"),
        ),
    ),
    Shape(
        "`2026/09/21 14:13:20 UTC`",
        "the time",
        text(
            "clicks.csv",
            lines(lambda row: f"{row.user_id},{row.item_id},{moment(row):%Y/%m/%d %H:%M:%S} UTC"),
        ),
    ),
    Shape(
        "times without a time zone",
        "read in `click.time_zone`",
        text(
            "clicks.csv",
            lines(
                lambda row: f"{row.user_id},{row.item_id},{moment(row).astimezone(LISBON):%Y-%m-%d %H:%M:%S}"
            ),
        ),
        ("click.time_zone=Europe/Lisbon",),
    ),
    Shape(
        "Parquet's time types",
        "the time",
        typed(lambda frame: frame.with_columns(pl.from_epoch("timestamp", "ms").dt.cast_time_unit("ns"))),
    ),
    Shape(
        "Parquet's times of a zone, in ns",
        "the time",
        typed(
            lambda frame: frame.with_columns(
                pl.from_epoch("timestamp", "ms")
                .dt.cast_time_unit("ns")
                .dt.replace_time_zone("UTC")
                .dt.convert_time_zone("America/New_York")
            )
        ),
    ),
    Shape(
        "date and time of day in two columns",
        'recognised, or named by `click.timestamp = "day + clock"`',
        text(
            "clicks.csv",
            lines(
                lambda row: f"{row.user_id},{row.item_id},{moment(row):%Y-%m-%d,%H:%M:%S}",
                "user_id,item_id,date,time",
            ),
        ),
    ),
    Shape(
        "several time columns",
        "the time of the event is preferred to dates and other versions of it; the choice is reported",
        text(
            "clicks.csv",
            lines(
                lambda row: f"{moment(row):%Y-%m-%d},{row.timestamp_ms + 86_400_000},{csv(row)},2026-01-01",
                "date,_ingested_at,user_id,item_id,event_time,updated_at",
            ),
        ),
    ),
    Shape(
        "times before 2000 or in the future",
        "removed and counted separately; if most are, the file is refused (`click.earliest`)",
        text("clicks.csv", PLAIN + "1000,00001,86400\n1000,00001,874724710\n1000,00001,4100000000\n"),
    ),
    Shape(
        "other kinds of events",
        "skipped through `click.where`, and counted",
        text(
            "clicks.csv",
            lines(
                lambda row: f"{csv(row)},View\n{row.user_id},{row.item_id},{row.timestamp_ms + 1000},buy",
                "user_id,item_id,timestamp,type",
            ),
        ),
        ("click.where=type = View, cart",),
    ),
)
