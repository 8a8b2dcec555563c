r"""The rule for the ids of users and items, the same for records and for columns of files.

- Text: surrounding whitespace and surrounding invisible characters are removed.
- An integer of any length becomes its decimal text. A number with a zero fraction becomes that integer, both
  as a number (`12.0`) and as text (`"12.0"`, `"5.0000000000"`). `007` and `007.0` stay unchanged, because
  leading zeros mark a code. Text with an exponent (`1E5`) stays unchanged, too.
- A UUID becomes text in lower case. A value of 16 bytes is a UUID, unless all bytes are printable ASCII,
  which never happens in a UUID of RFC 9562. Other bytes are UTF-8 text.
- Empty text counts as missing, and so does text that is in `missing`.
- Booleans, fractions, maps and lists are not ids.

>>> rule = IdRule()
>>> [rule.read(one) for one in (7, 7.0, " 7 ", "7.00", "007.0", "123E4567-E89B-42D3-A456-426614174000")]
['7', '7', '7', '7', '007.0', '123e4567-e89b-42d3-a456-426614174000']
>>> rule.trimmed
1
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from worker.core.reasons import Inexact, Reason, Undecodable

MAX_ID_BYTES: Final = 256
"""Maximum length of a user or item id, in UTF-8 bytes."""

MISSING: Final = (
    "NULL",
    "Null",
    "null",
    r"\N",
    "NA",
    "N/A",
    "<NA>",
    "NaN",
    "nan",
    "None",
    "nil",
    "undefined",
)
"""Default for the texts that mean a missing value."""

BLANKS: Final = "".join(
    [
        *(chr(code) for code in range(0x3001) if chr(code).isspace()),
        *("\N{ZERO WIDTH SPACE}\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}\N{WORD JOINER}"),
        *("\N{MONGOLIAN VOWEL SEPARATOR}\N{ZERO WIDTH NO-BREAK SPACE}"),
    ]
)
"""The characters that are removed around an id: all Unicode whitespace and zero-width characters."""

ZERO_FRACTION: Final = r"-?(?:0|[1-9][0-9]*)\.0+"
"""A regular expression for text that is an integer with a zero fraction."""

UUID_TEXT: Final = r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"
"""A regular expression for a UUID as text."""

UUID_BYTES: Final = 16

_UUID_LENGTH: Final = 36
_BLANKS: Final = frozenset(BLANKS)

_EXACT_BELOW: Final = 2.0**53
"""From this value on, a float may stand for several integers."""

_LONG_NUMBER: Final = 10**MAX_ID_BYTES
_is_zero_fraction: Final = re.compile(ZERO_FRACTION).fullmatch
_is_uuid: Final = re.compile(UUID_TEXT).fullmatch


class IdRule:
    """Converts a field's value into an id. `trimmed`: the number of ids that had whitespace around them."""

    def __init__(self, missing: Iterable[str] = MISSING) -> None:
        self._missing = frozenset([*missing, ""])
        self.trimmed = 0

    def read(self, found: Any, *, exact: bool = False) -> str:
        """Return the id. Raises Undecodable if the value is not a valid id.

        Raises Inexact for a float that may be a rounded integer, unless `exact`.
        """
        # Hot path, twice per record: nearly all ids pass this quick test, and then need no conversion.
        if (
            type(found) is str
            and found not in self._missing
            and found[0] > " " < found[-1]
            and "." not in found
            and found.isascii()
            and (len(found) < _UUID_LENGTH or (len(found) <= MAX_ID_BYTES and found == found.lower()))
        ):
            return found
        if type(found) is str:
            text = canonical(found)
            self.trimmed += found[:1] in _BLANKS or found[-1:] in _BLANKS
        elif type(found) is int and -_LONG_NUMBER < found < _LONG_NUMBER:
            text = str(found)
        else:
            text = text_of(found, exact=exact)
        if text in self._missing:
            raise Undecodable(Reason.EMPTY_ID)
        if len(text) > MAX_ID_BYTES or (not text.isascii() and len(text.encode()) > MAX_ID_BYTES):
            raise Undecodable(Reason.LONG_ID)
        return text


def is_rounded(found: Any) -> bool:
    """Return whether a value, or one in a list, is a float that may be a rounded integer."""
    if type(found) is list:
        return any(map(is_rounded, found))
    return type(found) is float and abs(found) >= _EXACT_BELOW


def canonical(text: str) -> str:
    """Return `text` in the form that the rule prescribes. Missing values and length are not checked."""
    text = text.strip(BLANKS)
    if text.endswith("0") and _is_zero_fraction(text):
        text = text[: text.index(".")]
        return "0" if text == "-0" else text
    return text.lower() if len(text) == _UUID_LENGTH and _is_uuid(text) else text


def text_of(found: Any, *, exact: bool = False) -> str:
    """Return a value of any type as text in the form of the rule. Raises Undecodable, Inexact."""
    kind = type(found)
    if kind is str:
        return canonical(found)
    if kind is int:
        return _integer_text(found)
    if kind is float:
        return _float_text(found, exact=exact)
    if kind is Decimal:
        return _decimal_text(found)
    if kind is bytes:
        return _bytes_text(found)
    if kind is UUID:
        return str(found)
    raise Undecodable(Reason.MISSING_FIELD if found is None else Reason.WRONG_TYPE)


def _integer_text(number: int) -> str:
    if -_LONG_NUMBER < number < _LONG_NUMBER:
        return str(number)
    raise Undecodable(Reason.LONG_ID)


def _float_text(number: float, *, exact: bool) -> str:
    if number - number != 0:
        raise Undecodable(Reason.NOT_FINITE)
    if not number.is_integer():
        raise Undecodable(Reason.WRONG_TYPE)
    if abs(number) < _EXACT_BELOW:
        return str(int(number))
    if not exact:
        raise Inexact
    # The shortest digits that give this float, as in JSON, so that MessagePack and JSON lead to the same id.
    return _decimal_text(Decimal(repr(number)))


def _decimal_text(number: Decimal) -> str:
    if not number.is_finite():
        raise Undecodable(Reason.NOT_FINITE)
    if number.adjusted() >= MAX_ID_BYTES:
        raise Undecodable(Reason.LONG_ID)
    whole = int(number)
    if whole != number:
        raise Undecodable(Reason.WRONG_TYPE)
    return _integer_text(whole)


def _bytes_text(found: bytes) -> str:
    if len(found) == UUID_BYTES and not (found.isascii() and found.decode("ascii").isprintable()):
        return str(UUID(bytes=found))
    try:
        return canonical(found.decode())
    except UnicodeDecodeError:
        raise Undecodable(Reason.WRONG_TYPE) from None
