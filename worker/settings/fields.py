"""Building blocks of settings: the base class of sections, value types, and the metadata of fields.

>>> parse_duration("1.5h"), parse_duration(30), duration_text(1800)
(5400.0, 30.0, '30m')
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic.fields import FieldInfo

from worker.core.times import to_ms, unit_of
from worker.settings.secrets import FILE, Secret

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
"""Seconds in each unit of a duration."""


_DIGITS_OF_DATE: Final = 8

_LAST_PORT: Final = 65_535

_ADDRESS: Final = re.compile(r"(?:[\w.-]+|\[[\da-fA-F:.]+(?:%[\w.-]+)?\])(?::([!-~]*))?")
"""A host, or an IPv6 address in brackets; then, optionally, a colon and any text as the port (group 1)."""


class Section(BaseModel):
    """A frozen group of settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


def setting(default: Any, description: str, *, facts: dict[str, Any] | None = None, **limits: Any) -> Any:
    """Return the definition of a setting.

    `facts`: the metadata that `fact` returns. `limits`: pydantic's constraints (`ge`, `pattern`, ...).
    """
    return Field(default, description=description, json_schema_extra=facts, **limits)


def fact(field: FieldInfo, name: str, default: Any = None) -> Any:
    """Return a piece of a field's metadata, or `default` if the field does not have it."""
    extra = field.json_schema_extra
    return extra.get(name, default) if isinstance(extra, dict) else default


def is_section(kind: Any) -> bool:
    """Return whether the type of a field is a section."""
    return isinstance(kind, type) and issubclass(kind, Section)


def fields_of(model: type[Section]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the dotted key and the definition of every setting, top-level settings first."""
    for name, field in model.model_fields.items():
        if not is_section(field.annotation):
            yield name, field
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from ((f"{name}.{key}", one) for key, one in field.annotation.model_fields.items())


def is_secret(field: FieldInfo) -> bool:
    """Return whether a field is a secret, which may also be given in a file."""
    return Secret in (field.annotation, *get_args(field.annotation))


def kinds_of(model: type[Section]) -> dict[str, Any]:
    """Return the type of every dotted key, with the `..._file` keys of the secrets."""
    kinds = dict[str, Any]()
    for key, field in fields_of(model):
        kinds[key] = field.annotation
        if is_secret(field):
            kinds[key + FILE] = Path | None
    return kinds


def value_of(settings: Section, key: str) -> Any:
    """Return the value of the setting that a dotted key names."""
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def parse_duration(value: Any) -> float:
    """Return a duration such as `30s`, `1.5h` or `7d` in seconds; a bare number is in seconds.

    Raises ValueError for anything else.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", value) if isinstance(value, str) else None
    if not found:
        raise ValueError("must be a duration like 30s, 5m, 1h or 7d; a bare number is seconds")
    return float(found[1]) * _UNITS[found[2] or "s"]


def duration_text(seconds: float) -> str:
    """Return a duration as text in the largest unit that divides it; `parse_duration` is the inverse."""
    for unit in ("d", "h", "m"):
        count = seconds / _UNITS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{f'{Decimal(repr(seconds)):f}'.removesuffix('.0')}s"


def parse_moment(value: Any) -> int:
    """Return a time such as `2020-09-13T16:00:00Z` in milliseconds since the epoch.

    A time without an offset is in UTC. An integer is already in milliseconds. Raises ValueError for anything
    else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(
            "must be a time like 2020-09-13 or 2020-09-13T16:00:00Z, or unix time like 1600000000"
        ) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _moment(value: Any, info: ValidationInfo) -> int:
    """Return a time; in a document, an integer is unix time in any unit, or a date of eight digits.

    In the program (not in `json` mode), an integer is already in milliseconds.
    """
    is_number = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if info.mode == "python" or not is_number:
        return parse_moment(value)
    if len(str(value)) == _DIGITS_OF_DATE:
        return parse_moment(str(value))
    unit = unit_of(value)
    return parse_moment(str(value) if unit is None else to_ms(value, unit))


def parse_addresses(text: str) -> str:
    """Return comma-separated broker addresses (`host:port`) without spaces.

    Raises ValueError for anything else.

    >>> parse_addresses("a:9092, [::1]:9092")
    'a:9092,[::1]:9092'
    """
    return ",".join(_address(one.strip()) for one in text.split(","))


def _address(text: str) -> str:
    if not text:
        raise ValueError("must be host:port, or several separated by commas; one address is empty")
    if "://" in text:
        raise ValueError("must be host:port without a protocol; set the protocol in kafka.security_protocol")
    if not (found := _ADDRESS.fullmatch(text)):
        raise ValueError(f"must be host:port, such as localhost:9092 or [::1]:9092, not {text}")
    port = found[1]
    if port is None:
        raise ValueError(f"must be host:port; {text} has no port (Kafka's default is 9092)")
    if not (port.isdecimal() and 1 <= int(port) <= _LAST_PORT):
        raise ValueError(f"must be host:port; the port {port!r} is not a number from 1 to {_LAST_PORT}")
    return text


_DURATION: Final = BeforeValidator(parse_duration)

Duration = Annotated[float, _DURATION]
"""A number of seconds, written as `30s`, `5m`, `1h` or `7d`."""

Moment = Annotated[int, BeforeValidator(_moment)]
"""A time in milliseconds since the epoch, written in RFC 3339 format or as unix time."""

Addresses = Annotated[str, AfterValidator(parse_addresses)]
"""Comma-separated addresses of one or more brokers, as `host:port`."""

TOPIC: Final = r"^[a-zA-Z0-9._-]{1,249}$"
"""The pattern for names of topics and groups."""


def is_duration(field: FieldInfo) -> bool:
    """Return whether a field holds one or more durations."""
    return _DURATION in field.metadata or _has_duration(field.annotation)


def _has_duration(kind: Any) -> bool:
    inner = get_args(kind)
    return _DURATION in inner or any(_has_duration(one) for one in inner if one is not Ellipsis)
