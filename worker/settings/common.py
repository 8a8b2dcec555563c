"""The sections that worker and trainer share: how to reach Kafka, the topics, and what a click is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import SecretStr, field_validator, model_validator

from worker.core import paths
from worker.core.envelopes import Envelope
from worker.core.event import TWO_FIELDS, Decoder, Fields
from worker.core.formats import parse_plain
from worker.core.ids import MISSING, IdRule
from worker.core.times import TimeRule, Unit
from worker.core.where import Clause, parse_where
from worker.kafka.connection import KafkaConnection
from worker.kafka.interface import FETCH_MAX_WAIT_MS
from worker.schemas.interface import Messages
from worker.schemas.interface import Registry as SchemaRegistry
from worker.schemas.parser import FramedParser
from worker.schemas.reading import FrameReader
from worker.settings.fields import TOPIC, Addresses, Moment, Section, setting


class Kafka(Section):
    """Brokers and credentials. The `sasl_` and `ssl_` keys are passed to the client as they are."""

    bootstrap_servers: Addresses = setting(
        "localhost:9092", "Addresses of one or more brokers, as `host:port`, separated by commas."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = setting(
        "PLAINTEXT", "Protocol of the connection."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = setting(
        None, "SASL mechanism. Required by the two SASL protocols, as are name and password."
    )
    sasl_username: str | None = setting(None, "SASL user name.")
    sasl_password: SecretStr | None = setting(
        None, "SASL password. Prefer the environment variable to the file."
    )
    ssl_ca_file: Path | None = setting(
        None, "PEM file with the authorities to trust. Without it those of the system are used."
    )
    ssl_certificate_file: Path | None = setting(None, "PEM file with the client certificate, for mutual TLS.")
    ssl_key_file: Path | None = setting(None, "PEM file with the key of the client certificate.")
    ssl_key_password: SecretStr | None = setting(None, "Password of the key file.")
    ssl_check_hostname: bool = setting(
        True, "Whether the name in the broker's certificate must match its host name."
    )
    session_timeout_ms: int = setting(
        10_000,
        "Silence after which the group gives a worker's partitions to others, in milliseconds.",
        ge=1_000,
    )
    heartbeat_interval_ms: int = setting(
        1_000,
        "Interval between heartbeats, in milliseconds. At most a third of `session_timeout_ms`.",
        ge=100,
    )
    transaction_timeout_ms: int = setting(
        10_000,
        "Time after which the broker aborts an open transaction, in milliseconds. At least twice "
        "`commit_interval`.",
        ge=1_000,
    )
    fetch_max_wait_ms: int = setting(
        FETCH_MAX_WAIT_MS,
        "Longest time that the broker may wait for a record before it answers a fetch, in "
        "milliseconds. Kafka answers at the first record; some compatible brokers always wait this long.",
        ge=1,
        le=5_000,
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

    def connection(self, origin: str = "") -> KafkaConnection:
        """Return the part that the clients need. `origin` says from where the address comes."""
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
            origin=origin,
        )


class Registry(Section):
    """The schema registry whose schemas frame values and keys. Without `url` none is asked."""

    url: str = setting(
        "",
        "Address of the registry's Confluent interface, such as `https://registry:8081` or, of Apicurio, "
        "`http://apicurio:8080/apis/ccompat/v7`.",
        pattern=r"^(https?://[^\s/@]+(/[^\s@]*)?)?$",
    )
    username: str | None = setting(None, "User name, for basic authentication.")
    password: SecretStr | None = setting(
        None, "Password of that user. Prefer the environment variable to the file."
    )
    ca_file: Path | None = setting(
        None, "PEM file with the authorities to trust. Without it those of the system are used."
    )
    descriptors: Path | None = setting(
        None,
        "Descriptor set of Protobuf messages, made by `protoc --include_imports --descriptor_set_out=FILE`.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together: set both or none")
        for name in ("ca_file", "descriptors"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"{name} is {path}: there is no such file")
        if not self.url and (given := sorted(self.model_fields_set - {"url"})):
            raise ValueError(f"{', '.join(given)}: without effect where url is not set")
        return self

    def connection(self) -> SchemaRegistry | None:
        """Return the registry; None where none is named. Raises SettingError if `ca_file` is of no use."""
        if not self.url:
            return None
        from worker.schemas.client import HttpRegistry  # noqa: PLC0415  # see `worker.schemas`

        return HttpRegistry(
            self.url, username=self.username, password=_secret(self.password), ca_file=self.ca_file
        )

    def parser(
        self, connection: SchemaRegistry | None = None, steady: Callable[[], float] = time.monotonic
    ) -> FramedParser | None:
        """Return the parser for records in frames; None without a registry.

        `connection` takes the place of the one that is named here. Raises SettingError if `descriptors` is no
        descriptor set.
        """
        connection = connection or self.connection()
        if connection is None:
            return None
        return FramedParser(FrameReader(connection, messages=self._messages(), steady=steady))

    def _messages(self) -> Messages | None:
        if self.descriptors is None:
            return None
        from worker.schemas.protobuf import DescribedMessages  # noqa: PLC0415  # see `worker.schemas`

        return DescribedMessages(self.descriptors)


class Topics(Section):
    """The names of the topics. They must differ."""

    clicks: str = setting("clicks", "Topic that clicks are read from.", pattern=TOPIC)
    recommendations: str = setting("recommendations", "Topic that the worker writes lists to.", pattern=TOPIC)
    dead_letters: str = setting(
        "",
        "Topic for records that are not valid clicks. Default: `<clicks>.dead-letter`.",
        pattern=TOPIC + "|^$",
    )
    releases: str = setting(
        "nextclick.releases", "Topic that the trainer publishes releases to.", pattern=TOPIC
    )
    quality: str = setting(
        "nextclick.quality", "Topic that the worker reports live quality to.", pattern=TOPIC
    )
    state: str = setting(
        "", "Topic that user states are saved in. Default: `<group>.state`.", pattern=TOPIC + "|^$"
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


class Click(Section):
    r"""Where a record keeps what a click needs, how it is read, and which events count.

    A dotted path reaches into nested maps, or is the name of a field with dots; `\.` is a dot of a name.
    `items[].id` takes a click from every element of a list. `@key` is the record's key (`@key.id`: a field
    of its JSON; `@key:int`: 4 or 8 bytes), `@header.name` a header, `@envelope.name` what the envelope
    says. In files of clicks these are names of columns; there a name that is not given is recognised.
    """

    user_id: str = setting("user_id", "Path of the user id.", min_length=1)
    item_id: str = setting("item_id", "Path of the item id.", min_length=1)
    timestamp: str = setting(
        "timestamp",
        "Path of the time of the click: a number, or a date and time as text. `day + time` takes them from "
        "two fields. Where it is absent the record's own time counts.",
        min_length=1,
    )
    timestamp_unit: Literal["auto", "s", "ms", "us", "ns"] = setting(
        "auto", "Unit of times that are numbers. `auto`: each by its own size."
    )
    time_zone: str = setting("UTC", "Time zone of times without an offset, such as Europe/Lisbon.")
    earliest: Moment = setting(
        "2000-01-01",
        "Earliest plausible time. A click before it is a dead letter. Before 1973-03-04 `timestamp_unit` "
        "must be set.",
        validate_default=True,
    )
    missing: tuple[str, ...] = setting(
        MISSING, "Texts that stand for a missing value in ids and times. Empty text always does."
    )
    where: str = setting(
        "",
        "Clauses that an event must fulfil to count, such as `type = view, cart; country != XX`. Others are "
        "skipped. Default: all count.",
    )
    envelope: Envelope = setting("none", "Envelope of the events.")
    max_bytes: int = setting(
        262_144, "Largest value of a click, in bytes. A larger one is a dead letter.", ge=64
    )

    @field_validator("user_id", "item_id", "timestamp")
    @classmethod
    def _are_paths(cls, value: str) -> str:
        for one in value.split(TWO_FIELDS):
            paths.parse(one)
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            return ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("must be a time zone like UTC or Europe/Lisbon") from None

    @field_validator("where")
    @classmethod
    def _are_clauses(cls, value: str) -> str:
        parse_where(value)
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.decoder()
        return self

    def fields(self) -> Fields:
        """Return where the decoder finds what a click needs."""
        return Fields(self.user_id, self.item_id, self.timestamp)

    def ids(self) -> IdRule:
        """Return the rule for ids."""
        return IdRule(self.missing)

    def times(self) -> TimeRule:
        """Return the rule for times. Raises ValueError if `earliest` needs a unit."""
        unit: Unit | None = None if self.timestamp_unit == "auto" else self.timestamp_unit
        return TimeRule(
            unit=unit, earliest_ms=self.earliest, zone=ZoneInfo(self.time_zone), missing=self.missing
        )

    def clauses(self) -> tuple[Clause, ...]:
        """Return the clauses of `where`."""
        return parse_where(self.where)

    def decoder(self, parser: FramedParser | None = None) -> Decoder:
        """Return the decoder for records; with `parser`, for those in the frames of a registry, too."""
        return Decoder(
            self.fields(),
            ids=self.ids(),
            times=self.times(),
            where=self.clauses(),
            envelope=self.envelope,
            max_bytes=self.max_bytes,
            parse=parser or parse_plain,
            parse_key=parser and parser.key,
        )

    def named(self, name: str) -> str | None:
        """Return the column that a file of clicks is said to have; None: it is to be recognised."""
        if name not in self.model_fields_set:
            return None
        value: str = getattr(self, name)
        of_value = all(paths.parse(one).root == "value" for one in value.split(TWO_FIELDS))
        return value if of_value else None


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _text(value: Path | None) -> str | None:
    return None if value is None else str(value)
