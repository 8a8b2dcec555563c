"""A value for any setting, written in all the places where settings are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from worker.config import Settings
from worker.errors import SettingError
from worker.settings.fields import Section, fields_of, is_duration
from worker.settings.items import Item
from worker.settings.loading import alternatives, load, typed, variable
from worker.settings.secrets import Secret

WHATEVER: Final = "whatever-it-may-be"
"""A text that any setting of text takes: it is long enough for a token."""

LOGIN: Final[Mapping[str, str]] = {
    "kafka.security_protocol": "SASL_PLAINTEXT",
    "kafka.sasl_mechanism": "PLAIN",
    "kafka.sasl_username": "ada",
    "kafka.sasl_password": "secret",
}
"""The settings of a login with a password."""

_OAUTH: Final = {
    **LOGIN,
    "kafka.sasl_mechanism": "OAUTHBEARER",
    "kafka.sasl_oauth_url": "https://token",
}
_KERBEROS: Final = {"kafka.security_protocol": "SASL_SSL", "kafka.sasl_mechanism": "GSSAPI"}
_TLS: Final = {"kafka.security_protocol": "SSL"}
_MUTUAL_TLS: Final = _TLS | {"kafka.ssl_certificate_file": __file__}

_NEEDED: Final[Mapping[str, Mapping[str, str]]] = {
    "kafka.security_protocol": LOGIN,
    "kafka.sasl_mechanism": LOGIN,
    "kafka.sasl_username": LOGIN,
    "kafka.sasl_password": LOGIN,
    "kafka.sasl_oauth_token": {
        "kafka.security_protocol": "SASL_SSL",
        "kafka.sasl_mechanism": "OAUTHBEARER",
    },
    "kafka.sasl_oauth_url": _OAUTH,
    "kafka.sasl_oauth_scope": _OAUTH,
    "kafka.sasl_oauth_extensions": _OAUTH,
    "kafka.sasl_kerberos_service_name": _KERBEROS,
    "kafka.sasl_kerberos_domain_name": _KERBEROS,
    "kafka.ssl_ca_file": _TLS,
    "kafka.ssl_check_hostname": _TLS,
    "kafka.ssl_certificate_file": _TLS,
    "kafka.ssl_key_file": _MUTUAL_TLS,
    "kafka.ssl_key_password": _MUTUAL_TLS,
    "kafka.heartbeat_interval_ms": {"kafka.session_timeout_ms": "60000"},
    **{f"item.{name}": {"topics.items": "items"} for name in Item.model_fields},
    **{f"events.{name}": {"events.type": "type"} for name in ("step", "exclude", "request")},
    "events.fatigue_hours": {"events.fatigue": "3"},
    "events.exclude_days": {"events.type": "type", "events.exclude": "purchase"},
    "topics.rules": {"topics.items": "items"},
    "recommend.format": {"registry.url": "http://registry"},
    "registry.username": {"registry.url": "http://registry", "registry.password": "secret"},
    "registry.password": {"registry.url": "http://registry", "registry.username": "ada"},
    "registry.ca_file": {"registry.url": "http://registry"},
    "registry.descriptors": {"registry.url": "http://registry"},
    "loss.label_smoothing": {"loss.function": "cross_entropy"},
    "model.embedding_size": {"model.output_table": "separate"},
    "optimizer.momentum": {"optimizer.algorithm": "sgd"},
    "features.file": {"features.categorical": "brand"},
    "run.active_items": {"run.strategy": "online"},
    "run.active_half_life": {"run.strategy": "online"},
    "run.held_out": {"run.window": "30d"},
    "run.window": {"run.held_out": "1s"},
    "run.every": {"run.held_out": "1s"},
}
"""What else must be set so that another value makes sense."""

_OWN: Final = {
    "kafka.bootstrap_servers": ("broker:9093", "broker:9093"),
    "kafka.session_timeout_ms": ("20000", 20_000),
    "kafka.sasl_mechanism": ("SCRAM-SHA-512", "SCRAM-SHA-512"),
    "kafka.sasl_oauth_url": ("http://127.0.0.1:1/token", "http://127.0.0.1:1/token"),
    "kafka.sasl_oauth_extensions": ("a=1,b=2", ("a=1", "b=2")),
    "commit_interval": ("300ms", 0.3),
    "dataset.session_gap": ("1h", 3_600.0),
    "dataset.split_at": ("2020-09-13T12:26:40Z", 1_600_000_000_000),
    "click.earliest": ("2010-01-01", 1_262_304_000_000),
    "click.time_zone": ("Europe/Lisbon", "Europe/Lisbon"),
    "click.where": ("type = view", "type = view"),
    "files.time_zone": ("Europe/Lisbon", "Europe/Lisbon"),
    "files.encoding": ("cp1252", "cp1252"),
    "loss.function": ("cross_entropy", "cross_entropy"),
    "registry.url": ("http://registry", "http://registry"),
}
"""Keys whose values are of a kind of their own."""

_Model = TypeVar("_Model", bound=Section)


def examples(model: type[Section], key: str, folder: Path) -> tuple[str, Any, Mapping[str, str]]:
    """Return a text for a setting, the value that it means, and other settings that it needs."""
    field = dict(fields_of(model))[key]
    text, value = _OWN[key] if key in _OWN else _example(field, folder)
    return text, value, needed(key)


def needed(key: str) -> Mapping[str, str]:
    """Return the other settings that a setting needs, as texts."""
    return {name: one for name, one in _NEEDED.get(key, {}).items() if name != key}


def _example(field: FieldInfo, folder: Path) -> tuple[str, Any]:
    kind = next(kind for kind in alternatives(field.annotation) if kind is not NoneType)
    if kind is Path:
        path = folder / "a file"
        path.touch()
        return str(path), path
    if get_origin(kind) is Literal:
        choice = get_args(kind)[-1]
        return choice, choice
    if is_duration(field):
        return ("1d,2h", (86_400.0, 7_200.0)) if get_origin(kind) is tuple else ("90s", 90.0)
    if kind in (int, float):
        return _number(field, kind), typed(_number(field, kind), kind)
    return {
        bool: (str(not field.default).lower(), not field.default),
        Secret: (WHATEVER, Secret(WHATEVER)),
        str: (WHATEVER, WHATEVER),
        tuple[str, ...]: ("a,b", ("a", "b")),
    }[kind]


def _number(field: FieldInfo, kind: type) -> str:
    limits = {name: limit for one in field.metadata for name, limit in limits_of(one).items()}
    least = limits.get("ge", limits.get("gt", 0))
    if kind is float:
        return str(least + 0.25)
    return str(int(least) + 1)


def limits_of(one: Any) -> dict[str, Any]:
    """Return the limits in a piece of a field's metadata."""
    return {name: getattr(one, name) for name in ("ge", "gt") if hasattr(one, name)}


def loaded_three_ways(
    model: type[_Model], key: str, text: str, folder: Path, more: Mapping[str, str]
) -> Iterator[_Model]:
    """Yield the settings with a text under `key` in a file, in the environment and on the command line."""
    kinds = {name: field.annotation for name, field in fields_of(model)}
    path = folder / "nextclick.toml"
    lines = []
    for name, value in {key: text, **more}.items():
        section, _, last = name.rpartition(".")
        shown = typed(value, kinds[name])
        lines.append(f"{name if section else last} = {_toml(shown)}")
    path.write_text("\n".join(lines) + "\n")
    yield load(model, path, {})
    yield load(model, None, {variable(name): value for name, value in {key: text, **more}.items()})
    yield load(model, None, {}, [*{key: text, **more}.items()])


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def refused(tmp_path: Path, text: str, **environment: str) -> str:
    """Return why a worker cannot use a settings file."""
    path = tmp_path / "nextclick.toml"
    path.write_text(text)
    with pytest.raises(SettingError) as refusal:
        load(Settings, path, environment)
    return str(refusal.value)
