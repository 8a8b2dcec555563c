"""The settings of a worker. `worker.settings` reads and checks them.

The `description` of each field is the only text about it: the reference tables are made of that.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from worker.core.recent import RECENT_ITEMS
from worker.schemas.output import SCHEMAS
from worker.settings import loading
from worker.settings.common import Click, Kafka, Registry, Topics
from worker.settings.fields import TOPIC, Duration, Section, setting


class Recommend(Section):
    """Which lists are published, and for which clicks."""

    publish: Literal["latest", "every"] = setting(
        "latest",
        "`latest`: one list per user and batch, for the newest click. `every`: one per click.",
    )
    publish_max_age: Duration = setting(
        60.0,
        "Age of the oldest record that gets a list. An older one only updates the state. 0: no limit.",
        ge=0,
    )
    top: int = setting(20, "Number of items in a list.", ge=1, le=1_000)
    exclude_recent: int = setting(
        1, "Number of the last clicked items that a list leaves out.", ge=0, le=RECENT_ITEMS
    )
    format: Literal["json", "msgpack", "avro", "json_schema"] = setting(
        "json",
        "Format of the lists. `avro` and `json_schema` frame them with a schema of `registry.url`, which "
        "`nextclick-worker topics` registers.",
    )


class State(Section):
    """Saving of user states: how often, how long, and for how many users."""

    flush_interval: Duration = setting(
        30.0,
        "Interval between saving changed states. After a crash up to 1.5 times as much is replayed.",
        gt=0,
    )
    user_ttl: Duration = setting(
        30 * 86_400.0, "Pause after which a user starts with an empty state. 0: never.", ge=0
    )
    max_users: int = setting(
        2_000_000,
        "Largest number of users in one worker. Beyond it the longest idle are evicted. 0: no limit.",
        ge=0,
    )


class Http(Section):
    """Where /metrics, /livez, /readyz and /v1/users answer."""

    host: str = setting(
        "127.0.0.1",
        "Address to listen on. `0.0.0.0` is every IPv4 address of the machine, `::` every IPv6 address.",
    )
    port: int = setting(9464, "Port to listen on. 0: any free port.", ge=0, le=65_535)
    token: SecretStr | None = setting(
        None,
        "Bearer token for `/v1`. Without one `/v1` answers only where `host` is a loopback address.",
        min_length=16,
    )


class Log(Section):
    """Logs, on standard error."""

    format: Literal["console", "json"] = setting("console", "`console` for people, `json` for machines.")
    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "Least severe level that is logged."
    )


class Settings(Section):
    """All settings of a worker."""

    group: str = setting(
        "nextclick",
        "Consumer group. The state topic and the transactional ids begin with it.",
        pattern=TOPIC,
    )
    worker_id: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[a-zA-Z0-9._-]{1,100}$",
        description="Name of this worker: different for every worker of a group, the same after a restart. "
        "Default: the host name.",
    )
    static_membership: bool = setting(
        False, "Whether a restarted worker gets its partitions back without a rebalance."
    )
    commit_interval: Duration = setting(
        0.2, "Interval between commits. Readers of committed records wait this long.", gt=0
    )
    kafka: Kafka = Kafka()
    topics: Topics = Topics()
    registry: Registry = Registry()
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
        if self.recommend.format in SCHEMAS and not self.registry.url:
            raise ValueError(f"recommend.format is {self.recommend.format}: it needs registry.url")
        if self.commit_interval * 2_000 > self.kafka.transaction_timeout_ms:
            raise ValueError(
                f"commit_interval is {self.commit_interval:g} s, kafka.transaction_timeout_ms "
                f"{self.kafka.transaction_timeout_ms}: the first must be at most half of the second"
            )
        return self

    @property
    def transactional_id(self) -> str:
        """Unique to this worker and the same after a restart, so that it aborts what it left open."""
        return f"{self.group}.{self.worker_id}"


def load(
    path: Path | None, environment: Mapping[str, str], assignments: Collection[tuple[str, str]] = ()
) -> Settings:
    """Return the settings of a worker (see `worker.settings.loading.load`). Raises SettingError."""
    return loading.load(Settings, path, environment, assignments)
