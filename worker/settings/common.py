"""The sections shared by worker and trainer, besides Kafka: the schema registry, the topics, and clicks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import field_validator, model_validator

from worker.core import paths
from worker.core.envelopes import Envelope
from worker.core.event import TWO_FIELDS, Decoder, Fields
from worker.core.event_types import EventTypes
from worker.core.formats import parse_plain
from worker.core.ids import MISSING, IdRule
from worker.core.times import TimeRule, Unit
from worker.core.where import Clause, parse_where
from worker.schemas.interface import Messages
from worker.schemas.interface import Registry as SchemaRegistry
from worker.schemas.parser import FramedParser
from worker.schemas.reading import FrameReader
from worker.settings.fields import TOPIC, Moment, Section, setting
from worker.settings.secrets import Secret, reading


class Registry(Section):
    """The schema registry for framed keys and values. Not used unless `url` is set."""

    url: str = setting(
        "",
        "URL of the registry's Confluent-compatible API, such as `https://registry:8081` or, for Apicurio, "
        "`http://apicurio:8080/apis/ccompat/v7`. Empty: no registry.",
        pattern=r"^(https?://[^\s/@]+(/[^\s@]*)?)?$",
    )
    username: str | None = setting(None, "User name for basic authentication.")
    password: Secret | None = setting(None, "Password for basic authentication.")
    ca_file: Path | None = setting(
        None, "PEM file of the trusted certificate authorities. Default: those that the system trusts."
    )
    descriptors: Path | None = setting(
        None,
        "File with the descriptor set of the Protobuf messages, written by `protoc --include_imports "
        "--descriptor_set_out=FILE`.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password must be set together; set both or neither")
        for name in ("ca_file", "descriptors"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"{name} is {path}, but there is no such file")
        if not self.url and (given := sorted(self.model_fields_set - {"url"})):
            raise ValueError(f"{', '.join(given)}: no effect without url; set url as well")
        return self

    def connection(self) -> SchemaRegistry | None:
        """Return a client of the registry; None without `url`. Raises SettingError for a bad `ca_file`."""
        if not self.url:
            return None
        from worker.schemas.client import HttpRegistry  # noqa: PLC0415  # see `worker.schemas`

        return HttpRegistry(
            self.url,
            username=self.username,
            password=reading(self.password),
            ca_file=self.ca_file,
        )

    def parser(
        self, connection: SchemaRegistry | None = None, steady: Callable[[], float] = time.monotonic
    ) -> FramedParser | None:
        """Return the parser for framed records; None without a registry.

        A given `connection` is used instead of the configured registry. Raises SettingError if the file
        `descriptors` is not a descriptor set.
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
    recommendations: str = setting(
        "recommendations", "Topic that recommendation lists are written to.", pattern=TOPIC
    )
    dead_letters: str = setting(
        "",
        "Topic for records that are not valid clicks. Default: `<clicks>.dead-letter`.",
        pattern=TOPIC + "|^$",
    )
    releases: str = setting(
        "nextclick.releases", "Topic that the trainer publishes releases to.", pattern=TOPIC
    )
    quality: str = setting("nextclick.quality", "Topic for reports of live quality.", pattern=TOPIC)
    state: str = setting("", "Topic for saved user states. Default: `<group>.state`.", pattern=TOPIC + "|^$")
    items: str = setting(
        "",
        "Topic that describes the items: availability, tags, validity. Empty: all items are available.",
        pattern=TOPIC + "|^$",
    )
    rules: str = setting(
        "",
        "Topic of rules for lists. They name items by tags, so they need `topics.items`. Empty: no rules.",
        pattern=TOPIC + "|^$",
    )

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if not self.dead_letters:
            # The model is frozen, but still under construction here.
            object.__setattr__(self, "dead_letters", f"{self.clicks}.dead-letter")
        self.must_differ()
        return self

    def must_differ(self) -> None:
        """Raise ValueError if two topics have the same name."""
        names = {name: topic for name in type(self).model_fields if (topic := getattr(self, name))}
        for name, topic in names.items():
            same = [other for other, its in names.items() if its == topic and other != name]
            if same:
                raise ValueError(f"{name} and {same[0]} are both {topic}; they must be different topics")


class Click(Section):
    r"""Where a record holds the fields of a click, how the fields are read, and which events are clicks.

    A dotted path reaches into nested maps, or names a field with dots; `\.` is a literal dot in a name.
    `items[].id` yields one click per element of a list. `@key` is the record's key (`@key.id`: a field of a
    JSON key; `@key:int`: a 4- or 8-byte integer), `@header.name` a header, `@envelope.name` an attribute of
    the envelope. In files of clicks, these settings name columns; without a setting, a column is recognised
    by its name.
    """

    user_id: str = setting(
        "user_id", "Path of the user id in a record, or its column in a file.", min_length=1
    )
    item_id: str = setting(
        "item_id", "Path of the item id in a record, or its column in a file.", min_length=1
    )
    timestamp: str = setting(
        "timestamp",
        "Path of the click's time in a record, or its column in a file. The time is a number, or a date "
        "and time as text. `day + time` joins two fields. If a record lacks the field, the record's own "
        "timestamp is used.",
        min_length=1,
    )
    timestamp_unit: Literal["auto", "s", "ms", "us", "ns"] = setting(
        "auto",
        "Unit of numeric times: `s`, `ms`, `us`, `ns`, or `auto`, which recognises the unit by the "
        "size of each number.",
    )
    time_zone: str = setting(
        "UTC", "Time zone of times that do not state their UTC offset, such as `Europe/Lisbon`."
    )
    earliest: Moment = setting(
        "2000-01-01",
        "Earliest plausible time; earlier clicks are dead letters. A value before 1973-03-04 requires a "
        "`timestamp_unit` other than `auto`.",
        validate_default=True,
    )
    missing: tuple[str, ...] = setting(
        MISSING, "Texts that stand for a missing id or time, in addition to the empty text."
    )
    where: str = setting(
        "",
        "Conditions for an event to count as a click, such as `type = view, cart; country != XX`. "
        "Other events are skipped. Empty: all events are clicks.",
    )
    envelope: Envelope = setting("none", "Format of the envelope around each event.")
    max_bytes: int = setting(
        262_144, "Maximum size of a record's value, in bytes; larger records are dead letters.", ge=64
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
        if self.user_id == self.item_id or self.timestamp in (self.user_id, self.item_id):
            raise ValueError(
                f"user_id, item_id and timestamp must be three fields, but they are {self.user_id!r}, "
                f"{self.item_id!r} and {self.timestamp!r}"
            )
        self.decoder()
        return self

    def fields(self) -> Fields:
        """Return the paths of the fields of a click, for the decoder."""
        return Fields(self.user_id, self.item_id, self.timestamp)

    def ids(self) -> IdRule:
        """Return the rule by which ids are read."""
        return IdRule(self.missing)

    def times(self) -> TimeRule:
        """Return the rule by which times are read. Raises ValueError if `earliest` requires a unit."""
        unit: Unit | None = None if self.timestamp_unit == "auto" else self.timestamp_unit
        return TimeRule(
            unit=unit, earliest_ms=self.earliest, zone=ZoneInfo(self.time_zone), missing=self.missing
        )

    def clauses(self) -> tuple[Clause, ...]:
        """Return the conditions in `where`, parsed."""
        return parse_where(self.where)

    def decoder(
        self,
        parser: FramedParser | None = None,
        *,
        types: EventTypes | None = None,
        where: Sequence[Clause] = (),
    ) -> Decoder:
        """Return the decoder for records; with `parser`, it also decodes records framed by a registry.

        `types`: the types of events. `where`: clauses that must hold, too. Raises ValueError if paths lead
        through different lists.
        """
        return Decoder(
            self.fields(),
            ids=self.ids(),
            times=self.times(),
            where=(*self.clauses(), *where),
            types=types,
            envelope=self.envelope,
            max_bytes=self.max_bytes,
            parse=parser or parse_plain,
            parse_key=parser and parser.key,
        )

    def named(self, name: str) -> str | None:
        """Return the column that the setting `name` gives for files of clicks.

        Return None if the setting is not set or does not name a column: the column must then be recognised
        by its name.
        """
        if name not in self.model_fields_set:
            return None
        value: str = getattr(self, name)
        of_value = all(paths.parse(one).root == "value" for one in value.split(TWO_FIELDS))
        return value if of_value else None
