"""The settings: read from a TOML file and the environment, in this one place, and checked at once.

A key `[kafka] bootstrap_servers` in the file is `NEXTCLICK_KAFKA_BOOTSTRAP_SERVERS` in the
environment, which wins. An unknown key is an error: a misspelled one would change nothing.

The `description` of each field is the only text about it: `make reference` puts it into worker/README.md.
"""

from __future__ import annotations

import difflib
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from worker.core.event import Fields
from worker.core.recent import RECENT_ITEMS
from worker.errors import SettingError
from worker.kafka.connection import KafkaConnection
from worker.kafka.interface import FETCH_MAX_WAIT_MS

ENVIRONMENT_PREFIX: Final = "NEXTCLICK_"

CONFIG_VARIABLE: Final = "NEXTCLICK_CONFIG"
"""Names the settings file where the command line does not."""

_TOPIC: Final = r"^[a-zA-Z0-9._-]{1,249}$"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Kafka(_Section):
    """How to reach Kafka. The `sasl_` and `ssl_` keys are passed to the client as they are."""

    bootstrap_servers: str = Field(
        "localhost:9092",
        pattern=r"^[^\s,]+(,[^\s,]+)*$",
        description="Addresses of one or more brokers, as `host:port`, separated by commas.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Protocol of the connection."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="SASL mechanism. Required by the two SASL protocols, as are name and password."
    )
    sasl_username: str | None = Field(None, description="SASL user name.")
    sasl_password: SecretStr | None = Field(
        None, description="SASL password. Prefer the environment variable to the file."
    )
    ssl_ca_file: Path | None = Field(
        None, description="PEM file with the authorities to trust. Without it those of the system are used."
    )
    ssl_certificate_file: Path | None = Field(
        None, description="PEM file with the client certificate, for mutual TLS."
    )
    ssl_key_file: Path | None = Field(None, description="PEM file with the key of the client certificate.")
    ssl_key_password: SecretStr | None = Field(None, description="Password of the key file.")
    ssl_check_hostname: bool = Field(
        True, description="Whether the name in the broker's certificate must match its host name."
    )
    session_timeout_ms: int = Field(
        10_000,
        ge=1_000,
        description="Silence after which the group gives a worker's partitions to others, in milliseconds.",
    )
    heartbeat_interval_ms: int = Field(
        1_000,
        ge=100,
        description="Interval between heartbeats, in milliseconds. At most a third of `session_timeout_ms`.",
    )
    transaction_timeout_ms: int = Field(
        10_000,
        ge=1_000,
        description="Time after which the broker aborts an open transaction, in milliseconds. At least twice "
        "`commit_interval_seconds`.",
    )
    fetch_max_wait_ms: int = Field(
        FETCH_MAX_WAIT_MS,
        ge=1,
        le=5_000,
        description="Longest time that the broker may wait for a record before it answers a fetch, in "
        "milliseconds. Kafka answers at the first record; some compatible brokers always wait this long.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.heartbeat_interval_ms * 3 > self.session_timeout_ms:
            raise ValueError(
                f"heartbeat_interval_ms is {self.heartbeat_interval_ms}, session_timeout_ms "
                f"{self.session_timeout_ms}: the first must be at most a third of the second"
            )
        if self.security_protocol.startswith("SASL") and not (
            self.sasl_mechanism and self.sasl_username and self.sasl_password
        ):
            raise ValueError(
                f"security_protocol is {self.security_protocol}: "
                "it needs sasl_mechanism, sasl_username and sasl_password"
            )
        for name in ("ssl_ca_file", "ssl_certificate_file", "ssl_key_file"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"{name} is {path}: there is no such file")
        return self

    def connection(self) -> KafkaConnection:
        """Return the part that the clients need."""
        return KafkaConnection(
            bootstrap_servers=self.bootstrap_servers,
            security_protocol=self.security_protocol,
            sasl_mechanism=self.sasl_mechanism,
            sasl_username=self.sasl_username,
            sasl_password=_secret(self.sasl_password),
            ssl_ca_file=_text(self.ssl_ca_file),
            ssl_certificate_file=_text(self.ssl_certificate_file),
            ssl_key_file=_text(self.ssl_key_file),
            ssl_key_password=_secret(self.ssl_key_password),
            ssl_check_hostname=self.ssl_check_hostname,
        )


class Topics(_Section):
    """The names of the topics. They must differ."""

    clicks: str = Field("clicks", pattern=_TOPIC, description="Topic that the worker reads clicks from.")
    recommendations: str = Field(
        "recommendations", pattern=_TOPIC, description="Topic that the worker writes lists to."
    )
    dead_letters: str = Field(
        "",
        pattern=_TOPIC + "|^$",
        description="Topic for records that are not valid clicks. Default: `<clicks>.dead-letter`.",
    )
    releases: str = Field(
        "nextclick.releases", pattern=_TOPIC, description="Topic that the trainer publishes releases to."
    )
    quality: str = Field(
        "nextclick.quality", pattern=_TOPIC, description="Topic that the worker reports live quality to."
    )
    state: str = Field(
        "",
        pattern=_TOPIC + "|^$",
        description="Topic that user states are saved in. Default: `<group>.state`.",
    )

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if not self.dead_letters:
            # Frozen for everyone else; here the model is still being made.
            object.__setattr__(self, "dead_letters", f"{self.clicks}.dead-letter")
        self.must_differ()
        return self

    def must_differ(self) -> None:
        """Raise ValueError where two names are the same."""
        names = {name: getattr(self, name) for name in type(self).model_fields}
        for name, topic in names.items():
            same = [other for other, its in names.items() if its == topic and other != name]
            if same:
                raise ValueError(f"{name} and {same[0]} are both {topic}: they must be different topics")


class Click(_Section):
    """Where a record keeps what a click needs.

    A dotted path reaches into nested maps; `@key` is the record's key.
    """

    user_id: str = Field("user_id", min_length=1, description="Path of the user id, or `@key`.")
    item_id: str = Field("item_id", min_length=1, description="Path of the item id, or `@key`.")
    timestamp: str = Field(
        "timestamp",
        min_length=1,
        description="Path of the time of the click, in milliseconds since the epoch or as RFC 3339 with an "
        "offset. Where it is absent the record's own time counts.",
    )
    max_bytes: int = Field(
        262_144, ge=64, description="Largest value of a click, in bytes. A larger one is a dead letter."
    )

    def fields(self) -> Fields:
        """Return the part that the decoder needs."""
        return Fields(self.user_id, self.item_id, self.timestamp)


class Recommend(_Section):
    """Which lists are published, and for which clicks."""

    publish: Literal["latest", "every"] = Field(
        "latest",
        description="`latest`: one list per user and batch, for the newest click. `every`: one per click.",
    )
    publish_max_age_seconds: float = Field(
        60,
        ge=0,
        description="Oldest record that gets a list, in seconds. An older one only updates the state. "
        "0: no limit.",
    )
    top: int = Field(20, ge=1, le=1_000, description="Number of items in a list.")
    exclude_recent: int = Field(
        1, ge=0, le=RECENT_ITEMS, description="Number of the last clicked items that a list leaves out."
    )
    format: Literal["json", "msgpack"] = Field("json", description="Format of the lists.")


class State(_Section):
    """How user states are saved, for how long, and for how many users."""

    flush_interval_seconds: float = Field(
        30,
        gt=0,
        description="Interval between saving changed states, in seconds. After a crash up to one and a half "
        "times as much is replayed.",
    )
    user_ttl_seconds: float = Field(
        30 * 86_400,
        ge=0,
        description="Pause after which a user starts with an empty state, in seconds. 0: never.",
    )
    max_users: int = Field(
        2_000_000,
        ge=0,
        description="Largest number of users in one worker. Beyond it the longest idle are evicted. "
        "0: no limit.",
    )


class Http(_Section):
    """Where /metrics, /livez, /readyz and /v1/users answer; port 0 takes any free one."""

    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. On `0.0.0.0` anyone who reaches the port can ask about users.",
    )
    port: int = Field(9464, ge=0, le=65_535, description="Port to listen on. 0: any free port.")


class Log(_Section):
    """How the worker logs, on standard error."""

    format: Literal["console", "json"] = Field(
        "console", description="`console` for people, `json` for machines."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )


class Settings(_Section):
    """All settings of a worker."""

    group: str = Field(
        "nextclick",
        pattern=_TOPIC,
        description="Consumer group. The state topic and the transactional ids begin with it.",
    )
    worker_id: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[a-zA-Z0-9._-]{1,100}$",
        description="Name of this worker: different for every worker of a group, the same after a restart. "
        "Default: the host name.",
    )
    static_membership: bool = Field(
        False, description="Whether a restarted worker gets its partitions back without a rebalance."
    )
    commit_interval_seconds: float = Field(
        0.2,
        gt=0,
        description="Interval between commits, in seconds. Readers of committed records wait this long.",
    )
    kafka: Kafka = Kafka()
    topics: Topics = Topics()
    click: Click = Click()
    recommend: Recommend = Recommend()
    state: State = State()
    http: Http = Http()
    log: Log = Log()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.topics.state:
            object.__setattr__(
                self, "topics", self.topics.model_copy(update={"state": f"{self.group}.state"})
            )
            self.topics.must_differ()
        if self.commit_interval_seconds * 2_000 > self.kafka.transaction_timeout_ms:
            raise ValueError(
                f"commit_interval_seconds is {self.commit_interval_seconds:g}, kafka.transaction_timeout_ms "
                f"{self.kafka.transaction_timeout_ms}: the first must be at most half of the second"
            )
        return self

    @property
    def transactional_id(self) -> str:
        """Unique to this worker and the same after a restart, so that it aborts what it left open."""
        return f"{self.group}.{self.worker_id}"


def load(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """The settings in the file at `path` (none: the defaults), overridden by the `environment`.

    Raises SettingError with a line for each thing that is wrong.
    """
    document = _read(path)
    problems = _override(document, environment)
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        problems += [_explained(one) for one in error.errors(include_url=False)]
    else:
        if not problems:
            return settings
    source = f"{path} and the environment" if path else "the environment"
    lines = [f"the settings in {source} cannot be used:", *(f"  {problem}" for problem in problems)]
    raise SettingError("\n".join(lines))


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"the settings file {path} is not TOML: {error}") from None


def _override(document: dict[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Put the values of the environment into `document`; the problems found."""
    paths = _variables()
    problems = []
    for variable, value in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == CONFIG_VARIABLE:
            continue
        if variable not in paths:
            problems.append(f"{variable}: there is no such setting{_meant(variable, list(paths))}")
            continue
        *section, key = paths[variable]
        target = document.setdefault(section[0], {}) if section else document
        if isinstance(target, dict):
            target[key] = value
    return problems


def _variables() -> dict[str, tuple[str, ...]]:
    """Every environment variable that is read, and the path of the key it sets."""
    paths = [path for name, field in Settings.model_fields.items() for path in _paths(name, field.annotation)]
    return {ENVIRONMENT_PREFIX + "_".join(path).upper(): path for path in paths}


def _paths(name: str, annotation: Any) -> list[tuple[str, ...]]:
    if isinstance(annotation, type) and issubclass(annotation, _Section):
        return [(name, key) for key in annotation.model_fields]
    return [(name,)]


def _explained(error: Any) -> str:
    """One line of a validation error: the key, what is wrong, what was meant."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = [".".join(path) for path in _variables().values()]
        return f"{where}: there is no such setting{_meant(where, known)}"
    message = re.sub(r"^Value error, ", "", error["msg"])
    return f"{where}: {message}" if where else message


def _meant(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _text(value: Path | None) -> str | None:
    return None if value is None else str(value)
