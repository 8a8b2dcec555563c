"""The reasons why a record, or a part of a record, is not a click: it is invalid, or it is skipped.

>>> Reason("too_early"), Skipped("where")
(<Reason.TOO_EARLY: 'too_early'>, <Skipped.WHERE: 'where'>)
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """The reason why a record is not a valid click. Used in metric labels and in headers of dead letters."""

    NULL_VALUE = "null_value"
    TOO_LARGE = "too_large"
    UNKNOWN_FORMAT = "unknown_format"
    MALFORMED = "malformed"
    NOT_A_MAP = "not_a_map"
    UNKNOWN_SCHEMA = "unknown_schema"
    SCHEMA_MISMATCH = "schema_mismatch"
    NO_ENVELOPE = "no_envelope"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    NOT_FINITE = "not_finite"
    EMPTY_ID = "empty_id"
    LONG_ID = "long_id"
    BAD_TIMESTAMP = "bad_timestamp"
    TOO_EARLY = "too_early"
    FUTURE_TIMESTAMP = "future_timestamp"
    INVALID_RULE = "invalid_rule"
    UNREADABLE = "unreadable"


class Skipped(StrEnum):
    """The reason why an event is skipped although it may be valid. Used in metric labels."""

    WHERE = "where"
    DELETED = "deleted"
    TYPE = "type"
    REQUEST = "request"


class BadRecord(NamedTuple):
    """The reason why a record is refused, and what exactly is wrong with it; `why` may be empty."""

    reason: Reason
    why: str = ""


class Undecodable(Exception):
    """Raised if a record, or a part of it, is not a valid click, for `reason`. Never leaves the decoder."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Inexact(Exception):
    """Raised if a number may have lost digits as a float. Never leaves the decoder."""
