"""Data in JSON under a JSON Schema.

The data are not held against the schema, as by Confluent's own reader unless it is asked to: what a click
needs is checked by the rules of clicks, and a check in Python would cost more than all the rest of a click.
"""

from __future__ import annotations

from typing import Any

import orjson

from worker.core.formats import loads_exactly


def read(data: bytes) -> Any:
    """Return the document in data of any schema. Raises ValueError if they are not JSON."""
    return orjson.loads(data)


def read_exactly(data: bytes) -> Any:
    """Return the document with its numbers as decimals, which takes longer. Raises ValueError."""
    try:
        return loads_exactly(data)
    except RecursionError as error:
        raise ValueError(str(error)) from error
