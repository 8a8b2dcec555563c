"""Loading of settings from a TOML file, the environment and `--set`; later sources override earlier ones.

A key `[kafka] bootstrap_servers` is `NEXTCLICK_KAFKA_BOOTSTRAP_SERVERS` in the environment and
`--set kafka.bootstrap_servers=...` on a command line. An unknown key is an error, because a misspelled key
would have no effect. One file may hold the settings of both programs: each program checks its own settings
completely, but only the names of the other program's settings.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

import orjson
from pydantic import ValidationError

from worker.errors import SettingError
from worker.settings.fields import (
    Section,
    duration_text,
    fields_of,
    is_duration,
    is_secret,
    kinds_of,
    value_of,
)
from worker.settings.secrets import FILE, reference

ENVIRONMENT_PREFIX: Final = "NEXTCLICK_"

CONFIG_VARIABLE: Final = "NEXTCLICK_CONFIG"
"""The environment variable that names the settings file; `--config` overrides it."""

KEYS: Final = frozenset(Path(__file__).with_name("keys.txt").read_text("utf-8").split())
"""The dotted keys of all settings of both programs.

Neither program loads the other's definitions, so `make reference` writes all keys to a file, which a test
compares with the definitions."""

_OUTSIDE: Final = frozenset({CONFIG_VARIABLE, "NEXTCLICK_DATA"})
"""Variables with the prefix that are not settings."""

_OF_TESTS: Final = "NEXTCLICK_TEST_"
"""The prefix of variables that only the tests read."""

_OF_KUBERNETES: Final = re.compile(
    r"NEXTCLICK_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
"""The variables that Kubernetes sets in every pod for a Service whose name starts with `nextclick`."""

_URL_OF_KUBERNETES: Final = re.compile(r"(?:tcp|udp|sctp)://\S+")
"""The value that Kubernetes gives to `..._PORT`, a name that a setting may also have (`http.port`)."""

_LOGIN_IN_URL: Final = re.compile(r"://[^\s/]*@")
"""User name and password in a URL, which no message may show."""

_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}

_Settings = TypeVar("_Settings", bound=Section)


def load(
    model: type[_Settings],
    path: Path | None,
    environment: Mapping[str, str],
    assignments: Collection[tuple[str, str]] = (),
) -> _Settings:
    """Return the settings in the file at `path`, overridden by the `environment`, then by the `assignments`.

    An assignment is a dotted key and a text. Raises SettingError with one line per problem.
    """
    document, problems = _own_part(_read(path), model)
    known, variables = kinds_of(model), [*_in_environment(environment)]
    for name, key, text in [*variables, *((key, key, text) for key, text in assignments)]:
        if key in known and name != key and not text and not _may_be_empty(model, key):
            problems.append(f"{name} is empty; give it a value, or do not set it")
        elif key in known:
            _put(document, key, typed(text, known[key]))
        elif key not in KEYS:
            problems.append(_unknown(name, known))
        elif name == key:
            problems.append(f"{name}: this setting belongs to the other program and has no effect here")
    used = {str(path): path, "environment": variables, "command line": assignments}
    source = ", ".join(name for name, has_settings in used.items() if has_settings)
    return checked(model, document, source=source, problems=problems)


def checked(
    model: type[_Settings], document: Mapping[str, Any], *, source: str, problems: Sequence[str] = ()
) -> _Settings:
    """Validate a `document` of JSON types; return its settings. `source` says where they come from.

    Raises SettingError if the document is invalid or `problems` is not empty.
    """
    document, more = _secrets_from_files(_finite(document), model)
    lines = [*problems, *more]
    try:
        settings = model.model_validate_json(orjson.dumps(document, default=str), strict=True)
    except TypeError as error:  # no JSON has it: an integer of more than 64 bits, or text that is not UTF-8
        lines.append(f"a value cannot be used: {error}")
    except ValidationError as error:
        lines += [_explained(one, model) for one in error.errors(include_url=False)]
    else:
        if not lines:
            return settings
    heading = f"invalid settings ({source}):" if source else "invalid settings:"
    text = "\n".join([heading, *(f"  {line}" for line in lines)])
    raise SettingError(text)


def given(settings: Section) -> frozenset[str]:
    """Return the dotted keys of the settings that were set explicitly."""
    keys = set()
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        keys |= {f"{name}.{key}" for key in value.model_fields_set} if isinstance(value, Section) else {name}
    return frozenset(keys)


def replaced(settings: _Settings, changes: Mapping[str, Any]) -> _Settings:
    """Return `settings` with new values for the dotted keys in `changes`. Raises SettingError."""
    document = settings.model_dump(exclude_unset=True)
    for key, value in changes.items():
        _put(document, key, value)
    try:
        return type(settings).model_validate(document)
    except ValidationError as error:
        lines = [_explained(one, type(settings)) for one in error.errors(include_url=False)]
        raise SettingError("\n".join(lines)) from None


def to_toml(settings: Section, sections: Iterable[str]) -> str:
    """Return the explicitly set settings of some sections as TOML for `load`, without secrets."""
    chosen, parts = given(settings), []
    for section in sections:
        lines = []
        for key, field in fields_of(type(settings)):
            value = None if is_secret(field) else value_of(settings, key)
            if key.startswith(f"{section}.") and key in chosen and value is not None:
                lines.append(f"{key.partition('.')[2]} = {literal(value, is_time=is_duration(field))}")
        if lines:
            parts.append("\n".join([f"[{section}]", *lines]) + "\n")
    return "\n".join(parts)


def literal(value: Any, *, is_time: bool = False) -> str:
    """Return a value as a TOML literal; with `is_time`, numbers are written as durations.

    >>> literal((86400.0, 5.5), is_time=True), literal(False), literal("a")
    ('["1d", "5.5s"]', 'false', '"a"')
    """
    if isinstance(value, tuple | list):
        return f"[{', '.join(literal(one, is_time=is_time) for one in value)}]"
    if is_time and isinstance(value, int | float):
        return f'"{duration_text(value)}"'
    return orjson.dumps(value, default=str).decode()


def variable(key: str) -> str:
    """Return the name of the environment variable of a setting.

    >>> variable("kafka.bootstrap_servers")
    'NEXTCLICK_KAFKA_BOOTSTRAP_SERVERS'
    """
    return ENVIRONMENT_PREFIX + key.replace(".", "_").upper()


def typed(text: str, kind: Any) -> Any:
    """Convert `text` to the type `kind`; if it does not fit, return it unchanged, for validation to report.

    Lists are separated by commas. `none` is an empty list or, for an optional value, None.

    >>> typed("3", int), typed("true", bool), typed("1d,3h", tuple[float, ...]), typed("none", int | None)
    (3, True, ['1d', '3h'], None)
    """
    kinds = alternatives(kind)
    lists = [one for one in kinds if get_origin(one) is tuple]
    if lists:
        item = get_args(lists[0])[0]
        return [] if text in ("", "none") else [typed(one.strip(), item) for one in text.split(",")]
    if NoneType in kinds and text == "none":
        return None
    if bool in kinds:
        return _FLAGS.get(text.lower(), text)
    if int in kinds or float in kinds:
        return _number(text)
    return text


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    return text


def alternatives(kind: Any) -> list[Any]:
    """Return the members of a union type, or the type itself if it is not a union."""
    if get_origin(kind) is Annotated:
        return alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [one for part in get_args(kind) for one in alternatives(part)]
    return [kind]


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"the settings file {path} is not TOML: {error}") from None


def _own_part(document: Mapping[str, Any], model: type[Section]) -> tuple[dict[str, Any], list[str]]:
    """Return the part of a `document` that belongs to `model`, and the unknown names in the rest."""
    own, problems = dict[str, Any](), list[str]()
    foreign = {key.partition(".")[0] for key in KEYS} - {*model.model_fields}
    for name, value in document.items():
        if name in foreign:
            keys = [f"{name}.{key}" for key in value] if isinstance(value, Mapping) else [name]
            problems += [_unknown(key, ()) for key in keys if key not in KEYS]
        else:
            own[name] = value
    return own, problems


def _secrets_from_files(
    document: Mapping[str, Any], model: type[Section]
) -> tuple[dict[str, Any], list[str]]:
    """Replace each `<secret>_file` in a document by a reference to the file; also return the problems."""
    changed, problems = dict(document), list[str]()
    for key in (key for key, field in fields_of(model) if is_secret(field)):
        section, _, name = key.partition(".")
        part = changed.get(section)
        if not isinstance(part, Mapping) or name + FILE not in part:
            continue
        values = dict(part)
        file = values.pop(name + FILE)
        if file is not None:
            if values.get(name) is not None:
                problems.append(f"{key} and {key}{FILE} are both set; leave out one")
            values[name] = reference(key + FILE, file)
        changed[section] = values
    return changed, problems


def _in_environment(environment: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
    """Yield variable, dotted key and text of each setting in the environment.

    For a variable that belongs to no setting, the key is the variable's name.
    """
    keys = {variable(key): key for key in KEYS}
    for name, text in environment.items():
        ours = name.startswith(ENVIRONMENT_PREFIX) and name not in _OUTSIDE
        if ours and not name.startswith(_OF_TESTS) and not _set_by_kubernetes(name, text):
            yield name, keys.get(name, name), text


def _set_by_kubernetes(name: str, text: str) -> bool:
    return bool(
        _OF_KUBERNETES.fullmatch(name) or (name.endswith("_PORT") and _URL_OF_KUBERNETES.fullmatch(text))
    )


def _may_be_empty(model: type[Section], key: str) -> bool:
    """Return whether an empty text is valid for a setting: as an empty list, or as the default."""
    field = dict(fields_of(model)).get(key)
    if field is None:  # the file of a secret
        return False
    return field.default == "" or any(get_origin(one) is tuple for one in alternatives(field.annotation))


def _put(document: dict[str, Any], key: str, value: Any) -> None:
    section, _, name = key.rpartition(".")
    target = document.setdefault(section, {}) if section else document
    if isinstance(target, dict):  # anything else is reported by the model
        target[name] = value


def _finite(value: Any) -> Any:
    """Return a value with non-finite numbers as text, so that the error shows them."""
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _explained(error: Any, model: type[Section]) -> str:
    """Return an error as one line: the key, its value, the problem, and a suggestion."""
    path = [str(part) for part in error["loc"]]
    where, known = ".".join(path), dict(fields_of(model))
    if error["type"] == "extra_forbidden":
        return _unknown(where, known)
    message = re.sub(r"^Value error, |^Input should be", "", error["msg"]).strip()
    message = message.replace("a valid boolean", "true or false")
    if error["type"] != "value_error":
        message = f"must be {message}" if error["msg"].startswith("Input should be") else message
    key = ".".join(path[:2])
    if where and message.startswith(where):
        return message
    if key not in known:  # a whole section, or a relation between its values
        return f"{where}: {message}" if where else message
    value = "not shown" if is_secret(known[key]) else _LOGIN_IN_URL.sub("://***@", repr(error["input"]))
    return f"{where} is {value}: {message}"


def _unknown(name: str, own: Iterable[str]) -> str:
    """Return one line about an unknown name, with a suggestion, preferably from the program's `own` keys."""
    keys = [*own, *sorted(KEYS)]
    if inside := [key for key in dict.fromkeys(keys) if key.startswith(f"{name}.")]:
        return f"{name} is a section; name one of its keys, such as {', '.join(inside[:3])}"
    if name.startswith(ENVIRONMENT_PREFIX):
        # The prefix would make all variables alike.
        known = [variable(key).removeprefix(ENVIRONMENT_PREFIX) for key in keys]
        meant = _meant(name.removeprefix(ENVIRONMENT_PREFIX), known)
        meant = f"; did you mean {ENVIRONMENT_PREFIX}{meant}?" if meant else "; remove the variable"
    else:
        found = _meant(name, [*keys, *dict.fromkeys(key.partition(".")[0] for key in keys)])
        meant = f"; did you mean {found}?" if found else ""
    return f"{name}: there is no such setting{meant}"


def _meant(name: str, known: Sequence[str]) -> str | None:
    """Return the nearest known name, preferably the same key in another section; None if none is near."""
    last = name.rpartition(".")[2]
    same = [one for one in known if one.rpartition(".")[2] == last]
    ends = {one.rpartition(".")[2]: one for one in reversed(known)}
    close = same or difflib.get_close_matches(name, known, n=1)
    close = close or [ends[one] for one in difflib.get_close_matches(last, [*ends], n=1)]
    return close[0] if close else None
