"""Envelopes that other systems put around an event.

`cloudevents`: CloudEvents 1.0 on Kafka. In structured mode the value is a map with the attributes and `data`
or `data_base64`; in binary mode the attributes are headers with the prefix `ce_`, and the value is the event.
`debezium`: a change of a row, with or without `schema` and `payload` around the change. The event is the row
after a create, an update or a snapshot. Deletions, truncations, tombstones and logical messages are skipped.

Paths with the prefix `@envelope.` read the envelope's attributes: for example `@envelope.type` in both modes
of CloudEvents, `@envelope.op` and `@envelope.source.ts_ms` in Debezium.

>>> opened("debezium", {"op": "c", "after": {"user_id": 7}}, (), parse_plain).document
{'user_id': 7}
>>> recognised({"specversion": "1.0", "type": "click", "data": {}}, ())
'cloudevents'
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from worker.core.formats import Parse, parse_plain
from worker.core.paths import Headers, header, inner
from worker.core.reasons import Reason, Skipped, Undecodable

Envelope = Literal["none", "cloudevents", "debezium"]

_ATTRIBUTE: Final = "ce_"
_VERSION: Final = "specversion"
_ROWS: Final = ("c", "r", "u")
_NO_ROWS: Final = ("d", "t", "m")

_DAMAGED: Final = ()
"""An attribute that is not text: of the wrong type for every rule."""

NO_ATTRIBUTES: Final[Mapping[str, Any]] = {}


class Opened(NamedTuple):
    """The event in an envelope, and the attributes of the envelope."""

    document: Any
    attributes: Mapping[str, Any]


def is_binary(headers: Headers) -> bool:
    """Return whether a record is a CloudEvent in binary mode, in which the value is the event itself."""
    return any(name == _ATTRIBUTE + _VERSION for name, _ in headers)


def opened(
    envelope: Envelope, document: Any, headers: Headers, parse: Parse = parse_plain, *, exact: bool = False
) -> Opened | Skipped:
    """Return the event in `document` with the envelope's attributes, or the reason why the event is skipped.

    `document` is None if the record has no value. Raises Undecodable.
    """
    if envelope == "cloudevents":
        return _cloudevent(document, headers, parse, exact=exact)
    if envelope == "debezium":
        return _change(document)
    return Opened(document, NO_ATTRIBUTES)


def recognised(document: Any, headers: Headers) -> Envelope:
    """Return the envelope that a record appears to have."""
    if is_binary(headers):
        return "cloudevents"
    if type(document) is not dict:
        return "none"
    if _VERSION in document and "type" in document:
        return "cloudevents"
    change = _payload(document)
    has_row = type(change) is dict and ("after" in change or "before" in change)
    return "debezium" if has_row and change.get("op") in (*_ROWS, *_NO_ROWS) else "none"


def _cloudevent(document: Any, headers: Headers, parse: Parse, *, exact: bool) -> Opened:
    if is_binary(headers):
        attributes = {
            name.removeprefix(_ATTRIBUTE): _attribute(headers, name)
            for name, _ in headers
            if name.startswith(_ATTRIBUTE)
        }
        return Opened({} if document is None else document, attributes)
    if document is None:
        raise Undecodable(Reason.NULL_VALUE)
    if type(document) is not dict or _VERSION not in document:
        raise Undecodable(Reason.NO_ENVELOPE)
    data = document.get("data")
    if type(packed := document.get("data_base64")) is str:
        try:
            unpacked = base64.b64decode(packed, validate=True)
        except (binascii.Error, ValueError):
            raise Undecodable(Reason.MALFORMED) from None
        if not unpacked:
            raise Undecodable(Reason.NULL_VALUE)
        data = parse(unpacked, headers, exact=exact)
    return Opened({} if data is None else data, document)


def _attribute(headers: Headers, name: str) -> Any:
    # Only a path that leads to damaged bytes may reject the event, and it must not find a missing value.
    try:
        return header(headers, name)
    except Undecodable:
        return _DAMAGED


def _change(document: Any) -> Opened | Skipped:
    if document is None:
        return Skipped.DELETED
    change = _payload(document)
    if change is None:
        return Skipped.DELETED
    operation = change.get("op") if type(change) is dict else None
    if operation in _NO_ROWS:
        return Skipped.DELETED
    if operation not in _ROWS:
        raise Undecodable(Reason.NO_ENVELOPE)
    row = change.get("after")
    return Opened(inner(row) or row, change)


def _payload(document: Any) -> Any:
    wrapped = type(document) is dict and "payload" in document and "schema" in document
    return document["payload"] if wrapped else document
