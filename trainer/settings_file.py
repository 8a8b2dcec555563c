"""Settings of a training in a TOML file: what `tune` finds and `fit --settings` reads.

>>> print(to_toml(FitSettings(hidden_size=64, learning_rate=1e-3)), end="")
hidden_size = 64
learning_rate = 0.001
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from types import UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

import orjson

from trainer.config import FitSettings
from worker.errors import SettingError

_WANTED: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple[float, ...]: "a list of numbers",
    tuple[str, ...]: "a list of texts",
}
"""In words, the types that settings have."""


def defaults() -> dict[str, Any]:
    """The settings that nobody chose."""
    return FitSettings().to_json()


def changed(settings: FitSettings) -> dict[str, Any]:
    """The fields of `settings` that are not as nobody chose them."""
    usual = defaults()
    return {name: value for name, value in settings.to_json().items() if value != usual[name]}


def to_toml(settings: FitSettings) -> str:
    """What of `settings` differs from the defaults, a line each."""
    # Text, numbers, flags and lists of them are written in TOML as in JSON.
    return "".join(f"{name} = {orjson.dumps(value).decode()}\n" for name, value in changed(settings).items())


def read_settings(path: Path, known: Collection[str]) -> dict[str, Any]:
    """The settings in the file `path`, each one of those `known`. Raises SettingError."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is no TOML: {error}") from None
    unknown = sorted(values.keys() - set(known))
    if unknown:
        raise SettingError(
            f"{path} has {', '.join(unknown)}, which are no settings; there are: {', '.join(sorted(known))}"
        )
    types = get_type_hints(FitSettings)
    for name, value in values.items():
        _check(f"{path}: {name}", value, types[name])
    return values


def _check(name: str, value: Any, wanted: Any) -> None:
    kind = get_args(wanted)[0] if get_origin(wanted) is UnionType else wanted
    if not _is(value, kind):
        written = value.isoformat() if hasattr(value, "isoformat") else repr(value)
        raise SettingError(f"{name} is {written}, it must be {_WANTED[kind]}")


def _is(value: Any, kind: Any) -> bool:
    """Whether a `value` out of TOML is of this kind; a whole number is a number, too."""
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(_is(one, get_args(kind)[0]) for one in value)
    return type(value) is kind or (kind is float and type(value) is int)
