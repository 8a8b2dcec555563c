"""Data in JSON under a JSON Schema.

The data are not held against the schema, as by Confluent's own reader unless it is asked to: what a click
needs is checked by the rules of clicks, and a check in Python would cost more than all the rest of a click.
"""

from __future__ import annotations

import orjson

from worker.schemas.interface import Read


def reader() -> Read:
    """Return the function that reads data of any schema."""
    return orjson.loads
