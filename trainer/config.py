"""The settings of a training. Frozen, checked at once, and written into the manifest as they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from worker.core.cells import CELLS
from worker.core.manifest import MAX_GAP_SECONDS, MAX_LAYERS, MAX_REPEAT_LAGS, MAX_TRANSITIONS
from worker.errors import SettingError
from worker.kafka.connection import KafkaConnection

MAX_TRAINED_SCALE: Final = 40.0
"""exp(-2 * scale) must be a single-precision number (`trainer.model.losses`)."""

KAFKA_PREFIX: Final = "NEXTCLICK_KAFKA_"
"""The trainer takes its rights and credentials from the variables that the worker takes them from."""

POPULAR_ITEMS: Final = 100
"""How many items the popularity list of a release has."""

ACTIVE_ITEMS: Final = 2048
"""How many items the network of a stream holds: those most clicked at present."""

ACTIVE_HALF_LIFE_HOURS: Final = 12.0
"""The half-life with which a click fades where it is told what is most clicked at present."""

CHOICES: Final = {
    "cell": tuple(CELLS),
    "output_table": ("tied", "separate"),
    "loss": ("cross_entropy", "bpr_max", "top1_max", "squared_error"),
    "schedule": ("cosine", "constant", "linear", "exponential", "step"),
}
"""The values that the settings of these names may have."""

_AT_LEAST: Final = {
    ("hidden_size", "embedding_size", "layers", "epochs", "patience", "batch_clicks"): 1,
    ("min_item_count", "top", "min_value_count"): 1,
    ("max_session_clicks",): 2,
    ("repeat_seconds", "max_clicks_per_hour", "max_clicks_per_day"): 0,
    ("session_gap_seconds", "exclude_recent", "seed", "negatives", "negatives_power", "warmup_steps"): 0,
    ("memory_clicks", "score_penalty", "class_weight_power", "clip_norm", "clip_value", "weight_decay"): 0,
}

_SHARES: Final = (
    *("dropout", "hidden_dropout", "label_smoothing", "negatives_uniform", "momentum", "average_decay"),
    *("test_fraction", "validation_fraction"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """What decides what `fit` makes of the same clicks. Raises SettingError where it makes no sense."""

    cell: str = "gru"
    """The recurrent cell: elman, gru or lstm."""
    layers: int = 1
    """Recurrent layers of the same cell and size, one above the other."""
    hidden_size: int = 100
    """Numbers in a hidden vector, and, unless `embedding_size` says otherwise, in an item's."""
    embedding_size: int | None = None
    """Numbers in the item vector that the cell sees, with a separate `output_table`; None: `hidden_size`."""
    output_table: str = "tied"
    """What hidden vectors are scored with: the item vectors that the cell sees (tied), or a table of
    their own (separate)."""
    output_bias: bool = False
    """Whether a number per item is added to its logit."""
    normalize: bool = True
    """Whether a logit is a cosine times `scale`; else it is the plain product of hidden and item vector."""
    scale: float = 16.0
    """What the cosine is multiplied with before the softmax, where `normalize` is set."""
    memory_clicks: int = 0
    """A fresh gated cell keeps what it saw for up to so many clicks (Tallec & Ollivier, "Can recurrent
    neural networks warp time?", 2018); 0: Keras' own biases. An Elman cell has no gates to set."""
    dropout: float = 0.25
    """The share of an item vector's numbers that is hidden from the cell in training."""
    hidden_dropout: float = 0.0
    """The share of a hidden vector's numbers that is hidden, in training, from the layer above and from
    the scores."""
    loss: str = "cross_entropy"
    """What is made small: cross_entropy, bpr_max, top1_max or squared_error (`trainer.model.losses`)."""
    label_smoothing: float = 0.0
    """The share of a target that is spread evenly over the catalogue (cross_entropy)."""
    score_penalty: float = 1.0
    """How much large scores of negatives count in bpr_max."""
    class_weight_power: float = 0.0
    """A target counts as its item's clicks to the power of minus this; 0: all alike."""
    negatives: int = 0
    """Items drawn for each step, that all its targets are compared with; 0: the whole catalogue."""
    negatives_power: float = 0.5
    """Negatives are drawn by clicks to this power: 1 by popularity, 0 all alike."""
    negatives_uniform: float = 0.1
    """The share of negatives that is drawn from all items alike, so that none is never seen."""
    batch_negatives: bool = True
    """Whether the targets of a step are negatives for each other as well (where `negatives` is not 0)."""
    optimizer: str = "adam"
    """Any optimizer of Keras by its name: adam, sgd, rmsprop, adagrad, ..."""
    learning_rate: float = 2e-3
    """The optimizer's, at its highest."""
    momentum: float = 0.0
    """For sgd and rmsprop."""
    schedule: str = "cosine"
    """How the learning rate goes: cosine and linear fall to 0 at the end, exponential and step by
    `decay_factor` every `decay_epochs`, smoothly or at once, constant stays."""
    warmup_steps: int = 0
    """The learning rate rises from 0 over so many steps."""
    decay_factor: float = 0.5
    """What exponential and step multiply the learning rate with."""
    decay_epochs: float = 1.0
    """And after how many epochs."""
    clip_norm: float = 5.0
    """The largest norm of all gradients together; 0: any."""
    clip_value: float = 0.0
    """The largest single number in a gradient; 0: any."""
    weight_decay: float = 0.0
    """The share of every weight, times the learning rate, that each step takes away."""
    average_decay: float = 0.0
    """The release gets the weights' moving average, which keeps this share at each step; 0: the last."""
    full_batch: bool = False
    """One step an epoch, along the gradient over all clicks; `batch_clicks` are then a matter of memory."""
    epochs: int | None = None
    """How often all training sessions are seen, at most; None: as often as `epochs_for` says."""
    patience: int | None = None
    """Training ends after that many epochs without a better validation result; None: a third of all,
    at least 2."""
    batch_clicks: int = 512
    """Predictions in one training step."""
    session_gap_seconds: float = 1800.0
    """A pause longer than that ends a session, here and in the worker; 0: sessions never end."""
    max_session_clicks: int = 200
    """Longer sessions are trained in pieces of this length, which overlap unless `carry_state` is set."""
    carry_state: bool = False
    """Long sessions are trained piece after piece, the hidden state handed on (truncated backpropagation)."""
    popularity_half_lives_hours: tuple[float, ...] = (24.0, 168.0, 720.0)
    """Clicks on an item, each fading with this half-life, are added to its score by learned weights
    (`trainer.model.blend`); with a million hours they do not fade; empty: none are."""
    transition_half_lives_hours: tuple[float, ...] = (720.0,)
    """The same of clicks on one item right after another; empty: none are."""
    transitions: int = 50
    """Of so many items, the most frequent, it is known how often they follow an item."""
    repeat_lags: int = 20
    """An item clicked up to so many clicks ago in the session has a number for it added to its score."""
    checkpoint_seconds: float = 60.0
    """How often `fit` saves how far it is, so that it goes on there after a crash."""
    min_item_count: int = 5
    """Items with fewer training clicks are left out of the catalogue."""
    test_fraction: float = 0.1
    """The last part of the clicks, held out to measure the release."""
    validation_fraction: float = 0.05
    """The last part of what is before that, held out to choose the best epoch and to learn the weights of
    the blend with; 0: the last epoch is taken, and nothing is added to its scores."""
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
    """Columns of item features with values to tell apart: NAME or NAME:POLICY (`features`)."""
    numeric: tuple[str, ...] = ()
    """Columns of item features with numbers: NAME, NAME:POLICY or NAME:POLICY:log (`features`)."""
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
        # A manifest is JSON, which has no word for what is not finite.
        for name, value in asdict(self).items():
            numbers = value if isinstance(value, tuple) else (value,)
            finite = all(math.isfinite(one) for one in numbers if isinstance(one, float))
            self._require(finite, name, "finite")
        for name, choices in CHOICES.items():
            self._require(getattr(self, name) in choices, name, f"one of {', '.join(choices)}")
        for names, least in _AT_LEAST.items():
            for name in names:
                value = getattr(self, name)
                self._require(value is None or value >= least, name, f"{least} or more")
        for name in ("scale", "learning_rate", "decay_factor", "decay_epochs", "checkpoint_seconds"):
            self._require(getattr(self, name) > 0, name, "greater than 0")
        for name in _SHARES:
            self._require(0 <= getattr(self, name) < 1, name, "at least 0 and less than 1")
        for name in ("popularity_half_lives_hours", "transition_half_lives_hours"):
            self._require(all(one > 0 for one in getattr(self, name)), name, "greater than 0")
        for name, most in (("transitions", MAX_TRANSITIONS), ("repeat_lags", MAX_REPEAT_LAGS)):
            self._require(0 <= getattr(self, name) <= most, name, f"between 0 and {most}")
        self._require(self.scale <= MAX_TRAINED_SCALE, "scale", f"at most {MAX_TRAINED_SCALE:g}")
        gap = self.session_gap_seconds
        self._require(gap <= MAX_GAP_SECONDS, "session_gap_seconds", f"at most {MAX_GAP_SECONDS:g}")
        self._require(self.value_separator != "", "value_separator", "at least one character")
        self._require(self.layers <= MAX_LAYERS, "layers", f"at most {MAX_LAYERS}")
        has_columns = bool(self.categorical or self.numeric)
        self._require(
            self.item_features is None or has_columns,
            "item_features",
            "left out, or come with categorical or numeric, which name columns of it",
        )
        self._check_relations()

    @property
    def blended(self) -> bool:
        """Whether anything is to be added to the network's scores."""
        followed = self.transitions and self.transition_half_lives_hours
        return bool(self.popularity_half_lives_hours or followed or self.repeat_lags)

    @property
    def input_size(self) -> int:
        """Numbers in the item vector that the cell sees."""
        return self.embedding_size or self.hidden_size

    def epochs_for(self, predictions: int) -> int:
        """How many epochs over so many clicks: 5, or more where half a million would not be seen in them."""
        return self.epochs or min(100, max(5, round(500_000 / predictions)))

    def to_json(self) -> dict[str, Any]:
        """The settings as they stand in a manifest."""
        return {name: [*value] if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def _check_relations(self) -> None:
        self._together(
            self.output_table == "separate" or self.input_size == self.hidden_size,
            ("embedding_size", "hidden_size"),
            "must be equal where output_table is tied",
        )
        self._together(
            not self.label_smoothing or self.loss == "cross_entropy",
            ("label_smoothing", "loss"),
            "do not go together: smoothing is for cross_entropy",
        )
        self._together(
            not self.momentum or self.optimizer in ("sgd", "rmsprop"),
            ("momentum", "optimizer"),
            "do not go together: momentum is for sgd and rmsprop",
        )
        self._together(
            not self.memory_clicks or self.cell != "elman",
            ("memory_clicks", "cell"),
            "do not go together: it has no gates",
        )
        self._together(
            self.top + self.exclude_recent <= POPULAR_ITEMS,
            ("top", "exclude_recent"),
            f"together must not exceed {POPULAR_ITEMS}: the popularity list to compare with has no more",
        )

    def _together(self, holds: bool, names: tuple[str, str], problem: str) -> None:
        if not holds:
            told = " and ".join(f"{name} ({getattr(self, name)})" for name in names)
            raise SettingError(f"{told} {problem}")

    def _require(self, holds: bool, name: str, must_be: str) -> None:
        if not holds:
            raise SettingError(f"{name} is {getattr(self, name)!r}, it must be {must_be}")


def connection(bootstrap_servers: str, environment: Mapping[str, str]) -> KafkaConnection:
    """How to reach Kafka: TLS and SASL from the same variables that the worker reads. Raises SettingError."""
    given: dict[str, Any] = {"bootstrap_servers": bootstrap_servers}
    for field in fields(KafkaConnection):
        value = environment.get(KAFKA_PREFIX + field.name.upper())
        if value is not None and field.name not in given:
            given[field.name] = _flag(field.name, value) if type(field.default) is bool else value
    return KafkaConnection(**given)


def _flag(name: str, value: str) -> bool:
    flags = {"1": True, "true": True, "0": False, "false": False}
    if value.lower() not in flags:
        raise SettingError(f"{KAFKA_PREFIX}{name.upper()} is {value!r}, it must be true or false")
    return flags[value.lower()]
