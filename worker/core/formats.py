r"""The formats of a record's value: JSON or MessagePack, detected by the first byte.

JSON may be a map, a list, or a string that itself contains JSON. A leading byte order mark is ignored.

>>> parse_plain(b'{"user_id": 7}'), parse_plain(b'["7"]')
({'user_id': 7}, ['7'])
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Protocol

import msgpack
import orjson

from worker.core.paths import Headers
from worker.core.reasons import Reason, Undecodable

_BRACE: Final = ord("{")
_JSON_STARTS: Final = frozenset(b'{ \t\r\n["')
_MSGPACK_STARTS: Final = frozenset([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])


class Parse(Protocol):
    """A function that returns the document in a record's non-empty value, given the record's headers.

    `exact`: integers are never turned into floats, at the cost of speed. Raises Undecodable, which the
    decoder handles; the decoder's caller gets all other errors.
    """

    def __call__(self, value: bytes, headers: Headers, /, *, exact: bool = False) -> Any: ...  # noqa: D102


ParseKey = Callable[[bytes, Headers], Any]
"""A function that returns the document in a key, given the record's headers; None if the key is not a
document. Raises the same errors as Parse.
"""


def parse_plain(value: bytes, _headers: Headers = (), /, *, exact: bool = False) -> Any:
    """Return the document in a value of JSON or MessagePack. Raises Undecodable."""
    try:
        # Hot path: a JSON map needs no further test.
        if value[0] == _BRACE and not exact:
            return orjson.loads(value)
        if value[0] in _JSON_STARTS:
            loads = loads_exactly if exact else orjson.loads
            document = loads(value)
            while type(document) is str:
                document = loads(document)
            return document
        if value[0] in _MSGPACK_STARTS:
            return msgpack.unpackb(value, strict_map_key=False)
        if value.startswith(codecs.BOM_UTF8):
            return parse_plain(value.removeprefix(codecs.BOM_UTF8), exact=exact)
    # msgpack raises ValueError and its subclasses for broken input, TypeError for an unhashable map key,
    # RecursionError for deep nesting, OverflowError for an out-of-range extension timestamp.
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise Undecodable(Reason.MALFORMED) from None
    except IndexError:
        raise Undecodable(Reason.NULL_VALUE) from None
    raise Undecodable(Reason.UNKNOWN_FORMAT)


def loads_exactly(text: str | bytes) -> Any:
    """Return the document in JSON text, with its fractions as decimals.

    Raises ValueError if orjson rejects the text, or if an exponent is too large for a decimal. This is needed
    because orjson turns integers of more than 64 bits into floats. It takes ten times as long as orjson.
    """
    # Python's own parser accepts more than JSON, such as NaN and lone surrogates.
    orjson.loads(text)
    try:
        return json.loads(text, parse_float=Decimal)
    except ArithmeticError:
        raise ValueError("a number has an exponent that is too large for a decimal") from None
