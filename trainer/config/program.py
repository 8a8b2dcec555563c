"""All settings of the trainer: of a training, of the commands, and those shared with the worker."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Literal, Self

from pydantic import field_validator, model_validator

from trainer.config.fitting import FitSettings
from trainer.config.sections import ACTIVE_HALF_LIFE, ACTIVE_ITEMS
from worker.core.release import CANDIDATE_SHARE
from worker.settings.common import Click, Registry, Topics
from worker.settings.events import Events
from worker.settings.fields import Duration, Section, duration_text, setting
from worker.settings.items import Item
from worker.settings.kafka import Kafka
from worker.topics.releases import KEPT

_HOUR = 3_600.0
_DAY = 24 * _HOUR


class Files(Section):
    """The format of files of clicks. The columns of ids and times are set in `[click]`."""

    encoding: str = setting(
        "utf-8", "Text encoding of the files, such as `cp1252`. A byte order mark in a file overrides it."
    )
    columns: tuple[str, ...] = setting(
        (),
        "Column names, in order, for files without a header, such as `user_id,item_id,rating,timestamp`. "
        "Default: the first line is taken as the header, unless it contains a time.",
    )

    @field_validator("encoding")
    @classmethod
    def _is_encoding(cls, value: str) -> str:
        try:
            # Python also knows codecs that are not for text, such as hex and rot13.
            text = "a\n".encode(value)
            codecs.getincrementaldecoder(value)(errors="replace").decode(text)
            return codecs.lookup(value).name
        except (LookupError, ValueError):
            raise ValueError("must be an encoding known to Python, such as utf-8, cp1252 or utf-16") from None


class Baselines(Section):
    """Baseline methods that releases are compared with."""

    recent: Duration = setting(
        _DAY, "Length of the time window whose clicks count for the baseline of recently popular items.", gt=0
    )
    knn_sample: int | None = setting(
        None,
        "Number of past sessions that a kNN method compares the current session with. Default: 500 for "
        "`s-knn`, 1000 for `vs-knn`, 5000 for `vmis-knn`.",
        ge=1,
    )
    knn_neighbours: int | None = setting(
        None,
        "Number of nearest sessions that vote in a kNN method. Default: 100; 500 for `vmis-knn`.",
        ge=1,
    )


class Archive(Section):
    """The click archive: the clicks of a topic, kept as Parquet files."""

    folder: Path = setting(Path("clicks"), "Folder of the click archive.")
    keep: Duration | None = setting(
        None, "Age at which archive files are deleted. Default: they are never deleted.", gt=0
    )
    file_records: int = setting(
        1_000_000, "Approximate maximum number of Kafka offsets that a file covers.", ge=1
    )
    write_interval: Duration = setting(
        300.0, "Maximum time before `collect --follow` writes new clicks to a file.", ge=0
    )


class Run(Section):
    """Continuous retraining and publishing by `run`."""

    every: Duration = setting(_HOUR, "Interval between the starts of retraining runs.", gt=0)
    window: Duration = setting(
        7 * _DAY,
        "Length of the time window from which a run takes its clicks. The window ends with the newest click.",
        gt=0,
    )
    held_out: Duration | None = setting(
        None,
        "Length of the hold-out, the newest part of the window. It is used to compare the new release with "
        "the champion. Default: `every`.",
        gt=0,
    )
    strategy: Literal["retrain", "online"] = setting(
        "retrain",
        "`retrain`: each run trains a network on the whole window. `online`: each run continues the training "
        "of the previous run with the new clicks.",
    )
    warm: bool = setting(
        True, "With the strategy `retrain`: whether a run starts from the champion's weights."
    )
    warm_epochs: int = setting(
        2,
        "Number of epochs of a run that starts from the champion's weights. With the strategy `online`: "
        "number of epochs over the new sessions.",
        ge=1,
    )
    by: Literal["recall", "mrr", "ndcg"] = setting(
        "recall", "Metric by which a new release is compared with the champion."
    )
    policy: Literal["champion", "candidate"] = setting(
        "champion",
        "Pointer that is set to a new release: `champion` or `candidate`. Without a champion, it is "
        "always `champion`.",
    )
    share: float = setting(CANDIDATE_SHARE, "Share of users served by a candidate.", gt=0, le=1)
    replace_candidate: bool = setting(
        False,
        "Whether a new candidate replaces a candidate that is still in its A/B test. If not, no release is "
        "trained during the test.",
    )
    keep: int = setting(
        KEPT,
        "Number of newest releases kept in the topic, in addition to the current and the previous release of "
        "each pointer.",
        ge=1,
    )
    active_items: int = setting(
        ACTIVE_ITEMS,
        "With the strategy `online`: number of items in the network. It contains the currently most "
        "clicked items.",
        ge=2,
    )
    active_half_life: Duration = setting(
        ACTIVE_HALF_LIFE,
        "With the strategy `online`: half-life of the click counts by which the `active_items` are chosen.",
        gt=0,
    )
    session_timeout: Duration = setting(
        30.0, "Time without heartbeats from the leader after which another trainer takes over.", gt=0
    )

    @property
    def hold_out_seconds(self) -> float:
        """Length of the held-out newest part of the window, in seconds."""
        return self.held_out or self.every

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.hold_out_seconds >= self.window:
            name = "held_out" if self.held_out else "every, the default of held_out,"
            raise ValueError(
                f"{name} ({duration_text(self.hold_out_seconds)}) must be shorter than window "
                f"({duration_text(self.window)}); held-out clicks are not used for training"
            )
        idle = {"retrain": {"active_items", "active_half_life"}, "online": {"warm"}}[self.strategy]
        if found := sorted(idle & self.model_fields_set):
            raise ValueError(f"{', '.join(found)}: no effect with the strategy {self.strategy}; leave it out")
        return self


class Watch(Section):
    """The rules by which `watch` decides an A/B test."""

    alpha: float = setting(
        0.05,
        "Significance level. If candidate and champion do not differ, this is the maximum probability "
        "that the test decides for one of them.",
        gt=0,
        lt=1,
    )
    min_clicks: int = setting(
        1_000,
        "Minimum number of clicks on which the candidate and the champion must each be measured before a "
        "decision.",
        ge=1,
    )
    give_up_after: Duration = setting(
        _DAY, "Time after which a candidate is dropped if its A/B test is still undecided. 0: never.", ge=0
    )
    every: Duration = setting(10.0, "Interval between analyses of the A/B test.", gt=0)


class Metrics(Section):
    """The HTTP server of `run` and `watch` for /metrics."""

    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int | None = setting(None, "Port to listen on. Default: /metrics is not served.", ge=0, le=65_535)


class TrainerSettings(FitSettings):
    """All settings of the trainer."""

    kafka: Kafka = Kafka()
    topics: Topics = Topics()
    registry: Registry = Registry()
    click: Click = Click()
    item: Item = Item()
    events: Events = Events()
    files: Files = Files()
    baselines: Baselines = Baselines()
    archive: Archive = Archive()
    run: Run = Run()
    watch: Watch = Watch()
    metrics: Metrics = Metrics()

    @model_validator(mode="after")
    def _reads_types(self) -> Self:
        self.events.decoder(self.click)
        return self

    @property
    def fitting(self) -> FitSettings:
        """The settings of a training; those that the user did not set stay marked as defaults."""
        return FitSettings.model_validate(
            {name: getattr(self, name) for name in FitSettings.model_fields if name in self.model_fields_set}
        )
