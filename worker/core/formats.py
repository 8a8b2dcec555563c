r"""The formats of a record's value: JSON or MessagePack. The first byte says which.

JSON is a map, a list, or text that holds JSON itself; a byte order mark before it is no part of it.

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
    """Returns the document in a record's value, which is not empty, given the record's headers.

    `exact`: without turning integers into floats, at any cost. Raises Undecodable; what else it raises
    passes through the decoder.
    """

    def __call__(self, value: bytes, headers: Headers, /, *, exact: bool = False) -> Any: ...  # noqa: D102


ParseKey = Callable[[bytes, Headers], Any]
"""Returns the document in a key, given the record's headers; None if there is none. Raises as Parse."""


def parse_plain(value: bytes, _headers: Headers = (), /, *, exact: bool = False) -> Any:
    """Return the document of a value in JSON or MessagePack. Raises Undecodable."""
    try:
        # Hot path: a map in JSON needs no further look.
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
    # msgpack raises ValueError and its kin for broken input, TypeError for an unhashable map key,
    # RecursionError for deep nesting, OverflowError for an extension timestamp out of range.
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise Undecodable(Reason.MALFORMED) from None
    except IndexError:
        raise Undecodable(Reason.NULL_VALUE) from None
    raise Undecodable(Reason.UNKNOWN_FORMAT)


def loads_exactly(text: str | bytes) -> Any:
    """Return the document of JSON that orjson reads, with its numbers as decimals. Raises ValueError.

    orjson turns integers of more than 64 bits into floats. This takes ten times as long.
    """
    # Python's own reader takes more than JSON, such as NaN and half characters that no text can be made of.
    orjson.loads(text)
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)
