"""All settings of the trainer: those of a training, those it shares with the worker, and what is around."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Literal, Self

from pydantic import field_validator, model_validator

from trainer.config.fitting import FitSettings
from trainer.config.sections import ACTIVE_HALF_LIFE, ACTIVE_ITEMS
from worker.core.release import CANDIDATE_SHARE
from worker.settings.common import Click, Kafka, Registry, Topics
from worker.settings.fields import Duration, Section, duration_text, setting
from worker.topics.releases import KEPT

_HOUR = 3_600.0
_DAY = 24 * _HOUR


class Files(Section):
    """Reading of files of clicks. Ids, times and their columns are settings in `[click]`."""

    encoding: str = setting(
        "utf-8", "Encoding of text, such as cp1252. Files with a byte order mark are read by that."
    )
    columns: tuple[str, ...] = setting(
        (),
        "Names of the columns of files without a header, in order, such as user_id,item_id,rating,timestamp. "
        "Default: the first line is the header, unless it has a time.",
    )

    @field_validator("encoding")
    @classmethod
    def _is_encoding(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError(
                "must be an encoding that Python knows, such as utf-8, cp1252 or utf-16"
            ) from None


class Baselines(Section):
    """Methods that releases are compared with."""

    recent: Duration = setting(_DAY, "Age of the oldest click that the recently popular items count.", gt=0)
    knn_sample: int | None = setting(
        None, "Past sessions that kNN compares with. Default: each its own (500, 1000, 5000).", ge=1
    )
    knn_neighbours: int | None = setting(
        None, "Past sessions that vote in kNN. Default: each its own (100, 100, 500).", ge=1
    )


class Archive(Section):
    """The clicks of a topic, kept as Parquet files."""

    folder: Path = setting(Path("clicks"), "Folder of the click archive.")
    keep: Duration | None = setting(
        None, "Age from which on files are deleted. Default: nothing is deleted.", gt=0
    )
    file_records: int = setting(1_000_000, "Largest number of offsets in a file, about.", ge=1)
    write_interval: Duration = setting(
        300.0, "Longest time before new clicks are written, with `collect --follow`.", ge=0
    )


class Run(Section):
    """Retraining and publishing by `run`."""

    every: Duration = setting(_HOUR, "Interval between the starts of two retraining runs.", gt=0)
    window: Duration = setting(7 * _DAY, "Age of the oldest click that a run learns from.", gt=0)
    held_out: Duration | None = setting(
        None, "Length of the newest part, held out to compare with the champion. Default: `every`.", gt=0
    )
    strategy: Literal["retrain", "online"] = setting(
        "retrain",
        "`retrain`: each run trains on the whole window. `online`: one training goes on and learns what is "
        "new.",
    )
    warm: bool = setting(True, "Whether a retraining run begins with the champion's weights.")
    warm_epochs: int = setting(
        2, "Epochs of a run that begins with the champion's weights, or goes on.", ge=1
    )
    by: Literal["recall", "mrr", "ndcg"] = setting("recall", "Metric that a release is accepted by.")
    policy: Literal["champion", "candidate"] = setting(
        "champion", "Pointer that a new release gets. Without a champion it becomes the champion."
    )
    share: float = setting(CANDIDATE_SHARE, "Share of the users that a candidate serves.", gt=0, le=1)
    replace_candidate: bool = setting(
        False, "Whether a newer candidate takes the place of one that is still in an A/B test."
    )
    keep: int = setting(
        KEPT,
        "Number of newest releases kept in the topic, besides those that a pointer names or just named.",
        ge=1,
    )
    active_items: int = setting(
        ACTIVE_ITEMS, "Items in the network of an online training: those most clicked at present.", ge=2
    )
    active_half_life: Duration = setting(
        ACTIVE_HALF_LIFE, "Half-life with which clicks fade where these are chosen.", gt=0
    )
    session_timeout: Duration = setting(
        30.0, "Silence after which another trainer takes over from the one that leads.", gt=0
    )

    @property
    def hold_out_seconds(self) -> float:
        """Length of the newest part, which is held out, in seconds."""
        return self.held_out or self.every

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.hold_out_seconds >= self.window:
            name = "held_out" if self.held_out else "every, which is held out,"
            raise ValueError(
                f"{name} ({duration_text(self.hold_out_seconds)}) must be shorter than window "
                f"({duration_text(self.window)}): what is held out is not learned from"
            )
        idle = {"retrain": {"active_items", "active_half_life"}, "online": {"warm"}}[self.strategy]
        if found := sorted(idle & self.model_fields_set):
            raise ValueError(f"{', '.join(found)}: without effect where strategy is {self.strategy}")
        return self


class Watch(Section):
    """Decisions of `watch` on an A/B test."""

    alpha: float = setting(0.05, "Probability of deciding on a candidate that is no different.", gt=0, lt=1)
    min_clicks: int = setting(1_000, "Judged clicks that candidate and champion need, each.", ge=1)
    give_up_after: Duration = setting(
        _DAY, "Time after which an undecided candidate is dropped. 0: never.", ge=0
    )
    every: Duration = setting(10.0, "Interval between two looks.", gt=0)


class Metrics(Section):
    """Where `run` and `watch` answer /metrics."""

    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int | None = setting(None, "Port to listen on. Default: /metrics is not served.", ge=0, le=65_535)


class TrainerSettings(FitSettings):
    """All settings of the trainer."""

    kafka: Kafka = Kafka()
    topics: Topics = Topics()
    registry: Registry = Registry()
    click: Click = Click()
    files: Files = Files()
    baselines: Baselines = Baselines()
    archive: Archive = Archive()
    run: Run = Run()
    watch: Watch = Watch()
    metrics: Metrics = Metrics()

    @property
    def fitting(self) -> FitSettings:
        """The part that decides a training, and that a manifest records."""
        return FitSettings.model_validate(
            {name: getattr(self, name) for name in FitSettings.model_fields if name in self.model_fields_set}
        )
