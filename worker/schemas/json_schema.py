"""A reader of JSON data that have a JSON Schema.

The data are not validated against the schema; Confluent's own reader does not validate by default either. The
rules for clicks already check everything that a click needs, and validation in Python would take longer than
all other processing of a click.
"""

from __future__ import annotations

from typing import Any

import orjson

from worker.core.formats import loads_exactly


def read(data: bytes) -> Any:
    """Return the document in JSON data. Raises ValueError if the data are not JSON."""
    return orjson.loads(data)


def read_exactly(data: bytes) -> Any:
    """Return the document with its integers unrounded, which takes longer. Raises ValueError."""
    try:
        return loads_exactly(data)
    except RecursionError as error:
        raise ValueError(str(error)) from error
