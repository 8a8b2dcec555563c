"""The settings of a worker. `worker.settings` reads and checks them.

The reference tables are generated from the `description` of each field.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from worker.core.recent import RECENT_ITEMS
from worker.core.rule_record import RuleDecoder
from worker.schemas.output import SCHEMAS
from worker.settings import loading
from worker.settings.common import Click, Registry, Topics
from worker.settings.events import Events
from worker.settings.fields import TOPIC, Duration, Section, duration_text, setting
from worker.settings.items import Item
from worker.settings.kafka import Kafka
from worker.settings.secrets import Secret

MIN_TOKEN: Final = 16
"""The minimum length of `http.token`, in characters."""


class Recommend(Section):
    """The published lists: their content, their format, and which clicks get a list."""

    publish: Literal["latest", "every"] = setting(
        "latest",
        "`latest`: one list per user in each batch of records, for the user's newest click. `every`: "
        "one list per click.",
    )
    publish_max_age: Duration = setting(
        60.0,
        "Maximum age of a record that gets a list. Older records only update the state. 0: no limit.",
        ge=0,
    )
    top: int = setting(20, "Number of items in a list.", ge=1, le=1_000)
    exclude_recent: int | None = setting(
        None,
        "Number of the user's most recently clicked items that are left out of the list. Default: as the "
        "release says.",
        ge=0,
        le=RECENT_ITEMS,
    )
    ranking: Literal["auto", "exact", "approximate"] = setting(
        "auto",
        "`exact`: score all items. `approximate`: score the lists of similar items that a release of a large "
        "catalogue has. `auto`: approximate if exact ranking would take over 100 us per list.",
    )
    format: Literal["json", "msgpack", "avro", "json_schema"] = setting(
        "json",
        "Format of the lists: `json`, `msgpack`, `avro` or `json_schema`. The last two need the schema "
        "registry at `registry.url`; `nextclick-worker topics` registers the schema.",
    )


class State(Section):
    """Saving and eviction of user states."""

    flush_interval: Duration = setting(
        30.0,
        "Interval at which changed states are saved. After a crash, the clicks of up to 1.5 times this "
        "interval are replayed.",
        gt=0,
    )
    user_ttl: Duration = setting(
        30 * 86_400.0,
        "Time without clicks after which a user's state expires. The user's next click then starts "
        "with an empty state. 0: states never expire.",
        ge=0,
    )
    max_users: int = setting(
        2_000_000,
        "Maximum number of users in the memory of one worker. Above it, the users who have been idle for "
        "the longest time are evicted. 0: no limit.",
        ge=0,
    )
    max_bytes: int = setting(
        0,
        "Maximum memory of the user states in one worker, in bytes, by the worker's own estimate. Above "
        "it, users are evicted as above `max_users`. 0: no limit.",
        ge=0,
    )


class Http(Section):
    """The HTTP server for /metrics, /livez, /readyz and /v1/users."""

    host: str = setting(
        "127.0.0.1",
        "Address to listen on. `0.0.0.0`: all IPv4 addresses of the machine; `::`: all IPv6 addresses.",
        min_length=1,
    )
    port: int = setting(9464, "Port to listen on. 0: any free port.", ge=0, le=65_535)
    token: Secret | None = setting(
        None,
        "Bearer token for `/v1`, of at least 16 characters. Without a token, `/v1` is served only if `host` "
        "is a loopback address.",
    )

    @field_validator("token")
    @classmethod
    def _is_long(cls, value: Secret | None) -> Secret | None:
        if value is not None and len(value.read()) < MIN_TOKEN:
            raise ValueError(f"must have at least {MIN_TOKEN} characters")
        return value


class Log(Section):
    """Logs, on standard error."""

    format: Literal["console", "json"] = setting(
        "console", "`console`: human-readable lines; `json`: one JSON object per line."
    )
    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "Minimum level of the messages that are logged."
    )


class Settings(Section):
    """All settings of a worker."""

    group: str = setting(
        "nextclick",
        "Name of the consumer group. The transactional ids and, by default, the name of the state topic "
        "start with it.",
        pattern=TOPIC,
    )
    worker_id: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[a-zA-Z0-9._-]{1,100}$",
        description="Name of this worker. It must be unique within the group and stay the same after a "
        "restart. Default: the host name.",
    )
    static_membership: bool = setting(
        False, "Whether a restarted worker gets its partitions back without a rebalance."
    )
    commit_interval: Duration = setting(
        0.2,
        "Interval between commits. It delays each list by up to this time for readers with `read_committed`.",
        gt=0,
    )
    kafka: Kafka = Kafka()
    topics: Topics = Topics()
    registry: Registry = Registry()
    click: Click = Click()
    events: Events = Events()
    item: Item = Item()
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
        if self.topics.rules and not self.topics.items:
            raise ValueError(
                f"topics.rules is {self.topics.rules}, but rules name items by tags; set topics.items as well"
            )
        if not self.topics.items and (given := sorted(self.item.model_fields_set)):
            raise ValueError(f"item.{given[0]}: no effect without topics.items; set topics.items as well")
        self.events.decoder(self.click)
        exclude_seconds, ttl = self.events.exclude_days * 86_400, self.state.user_ttl
        if self.events.exclude and 0 < ttl < exclude_seconds:
            raise ValueError(
                f"state.user_ttl is {duration_text(ttl)} and events.exclude_days is "
                f"{self.events.exclude_days}; a state must not expire before its exclusions do"
            )
        if self.recommend.format in SCHEMAS and not self.registry.url:
            raise ValueError(f"recommend.format is {self.recommend.format}; it requires registry.url")
        if self.commit_interval * 2_000 > self.kafka.transaction_timeout_ms:
            raise ValueError(
                f"commit_interval is {self.commit_interval:g} s and kafka.transaction_timeout_ms is "
                f"{self.kafka.transaction_timeout_ms}; the first must be at most half of the second"
            )
        return self

    def rule_decoder(self) -> RuleDecoder:
        """Return the decoder for the records of the rules topic, with the rules of `click`."""
        return RuleDecoder(ids=self.click.ids(), times=self.click.times(), max_bytes=self.click.max_bytes)

    @property
    def transactional_id(self) -> str:
        """The worker's transactional id. A restart keeps the id, and aborts the transaction left open.

        Neither a group nor a topic has a slash in its name: see `worker.topics.rights`.
        """
        return f"{self.group}/{self.worker_id}"


def load(
    path: Path | None, environment: Mapping[str, str], assignments: Collection[tuple[str, str]] = ()
) -> Settings:
    """Return the settings of a worker (see `worker.settings.loading.load`). Raises SettingError."""
    return loading.load(Settings, path, environment, assignments)
