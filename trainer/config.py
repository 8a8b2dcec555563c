"""The settings of a training. Frozen, checked at once, and written into the manifest as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from worker.core.cells import CELLS
from worker.errors import SettingError
from worker.topics.client import Connection

MAX_SCALE: Final = 40.0
"""exp(-2 * scale) must be a single-precision number (`trainer.losses`)."""

KAFKA_PREFIX: Final = "NEXTCLICK_KAFKA_"
"""The trainer takes its rights and credentials from the variables that the worker takes them from."""

POPULAR_ITEMS: Final = 100
"""How many items the popularity list of a release has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """What decides what `fit` makes of the same clicks. Raises SettingError where it makes no sense."""

    cell: str = "gru"
    """The recurrent cell: elman, gru or lstm."""
    hidden_size: int = 100
    """Numbers in a hidden vector, and in an item's embedding, which is also its output vector."""
    dropout: float = 0.25
    """The share of an item vector's numbers that is hidden from the cell in training."""
    scale: float = 16.0
    """What the cosine of hidden and item vector is multiplied with before the softmax."""
    learning_rate: float = 2e-3
    """Adam's, at the start; it falls to 0 along a cosine."""
    epochs: int | None = None
    """How often all training sessions are seen, at most; None: as often as `epochs_for` says."""
    patience: int | None = None
    """Training ends after that many epochs without a better validation result; None: a third of all."""
    batch_clicks: int = 512
    """Predictions in one training step."""
    clip_norm: float = 5.0
    """The largest norm of all gradients together."""
    session_gap_seconds: float = 1800.0
    """A pause longer than that ends a session, here and in the worker; 0: sessions never end."""
    max_session_clicks: int = 200
    """Longer sessions are trained in overlapping pieces of this length."""
    min_item_count: int = 5
    """Items with fewer training clicks are left out of the catalogue."""
    test_fraction: float = 0.1
    """The last part of the clicks, held out to measure the release."""
    validation_fraction: float = 0.05
    """The last part of what is before that, held out to choose the best epoch; 0: the last is taken."""
    split_at_ms: int | None = None
    """Where the test part begins (ms since the epoch), instead of `test_fraction`."""
    repeat_seconds: float = 0.0
    """A training click on the item that the same user clicked so shortly before is dropped; 0: none."""
    max_clicks_per_hour: int = 0
    """Users with more clicks than that in an hour are bots, and not trained on; 0: nobody is."""
    max_clicks_per_day: int = 0
    """As `max_clicks_per_hour`, in a day (UTC)."""
    settle: bool = False
    """Rare items and short sessions are dropped over and over until neither is left, not once each."""
    item_features: str | None = None
    """The file with what is known of items; None: the named columns are taken from the clicks."""
    categorical: tuple[str, ...] = ()
    """Columns of item features with values to tell apart: NAME or NAME:POLICY (`trainer.features`)."""
    numeric: tuple[str, ...] = ()
    """Columns of item features with numbers: NAME, NAME:POLICY or NAME:POLICY:log (`trainer.features`)."""
    min_value_count: int = 2
    """Values of a categorical column that fewer items have are one value, `other`."""
    value_separator: str = "|"
    """What stands between the values where an item has several in one text."""
    cache: str | None = None
    """The folder that keeps prepared sessions, so that the same clicks are not prepared twice; None: none."""
    top: int = 20
    """The K of Recall@K and MRR@K."""
    exclude_recent: int = 1
    """How many of the last clicked items are not recommended back while measuring, as in the worker."""
    seed: int = 0
    """The same clicks, settings and seed give the same release on the same machine."""

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise SettingError(f"cell is {self.cell!r}, it must be one of {', '.join(CELLS)}")
        for name in ("hidden_size", "epochs", "patience", "batch_clicks", "min_item_count", "top"):
            self._require(getattr(self, name) is None or getattr(self, name) >= 1, name, "1 or more")
        for name in ("scale", "learning_rate", "clip_norm"):
            self._require(getattr(self, name) > 0, name, "greater than 0")
        for name in ("session_gap_seconds", "exclude_recent", "seed"):
            self._require(getattr(self, name) >= 0, name, "0 or more")
        for name in ("dropout", "test_fraction", "validation_fraction"):
            self._require(0 <= getattr(self, name) < 1, name, "at least 0 and less than 1")
        self._require(self.scale <= MAX_SCALE, "scale", f"at most {MAX_SCALE:g}")
        self._require(self.max_session_clicks >= 2, "max_session_clicks", "2 or more")
        for name in ("repeat_seconds", "max_clicks_per_hour", "max_clicks_per_day"):
            self._require(getattr(self, name) >= 0, name, "0 or more")
        self._require(self.min_value_count >= 1, "min_value_count", "1 or more")
        self._require(self.value_separator != "", "value_separator", "at least one character")
        self._check_relations()

    def epochs_for(self, predictions: int) -> int:
        """How many epochs over so many clicks: 5, or more where half a million would not be seen in them."""
        return self.epochs or min(100, max(5, round(500_000 / predictions)))

    def to_json(self) -> dict[str, Any]:
        """The settings as they stand in a manifest."""
        return asdict(self)

    def _check_relations(self) -> None:
        if self.top + self.exclude_recent > POPULAR_ITEMS:
            raise SettingError(
                f"top ({self.top}) and exclude_recent ({self.exclude_recent}) together must not exceed "
                f"{POPULAR_ITEMS}: the popularity list to compare with has no more items"
            )

    def _require(self, holds: bool, name: str, must_be: str) -> None:
        if not holds:
            raise SettingError(f"{name} is {getattr(self, name)!r}, it must be {must_be}")


def connection(bootstrap_servers: str, environment: Mapping[str, str]) -> Connection:
    """How to reach Kafka: TLS and SASL from the same variables that the worker reads. Raises SettingError."""
    given: dict[str, Any] = {"bootstrap_servers": bootstrap_servers}
    for field in fields(Connection):
        value = environment.get(KAFKA_PREFIX + field.name.upper())
        if value is not None and field.name not in given:
            given[field.name] = _flag(field.name, value) if type(field.default) is bool else value
    return Connection(**given)


def _flag(name: str, value: str) -> bool:
    flags = {"1": True, "true": True, "0": False, "false": False}
    if value.lower() not in flags:
        raise SettingError(f"{KAFKA_PREFIX}{name.upper()} is {value!r}, it must be true or false")
    return flags[value.lower()]
