"""The sections of what decides a training, from clicks to measures.

Facts of a field, which code asks for instead of keeping lists of its own:

- `prepares`: the setting decides how clicks become sessions, so it is part of the cache's key;
- `shape`: a release decides it for every network that is trained from it;
- `decides`: False where the result of a training does not depend on it;
- `online`: False where online training would pass it over; `online_needs`: the only value it can work with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from worker.core.manifest import MAX_GAP_SECONDS, MAX_LAYERS, MAX_REPEAT_LAGS, MAX_TRANSITIONS
from worker.settings.fields import Duration, Moment, Section, setting

MAX_TRAINED_SCALE: Final = 40.0
"""exp(-2 * scale) must be a single-precision number (`trainer.model.losses`)."""

POPULAR_ITEMS: Final = 100
"""Number of items in the popularity list of a release."""

ACTIVE_ITEMS: Final = 2048
"""Number of items in the network of an online training: those most clicked at present."""

ACTIVE_HALF_LIFE: Final = 12 * 3_600.0
"""Half-life in seconds with which clicks fade where these are chosen."""

_HOUR: Final = 3_600.0
_DAY: Final = 24 * _HOUR

HalfLife = Annotated[Duration, Field(gt=0)]

_PREPARES: Final = {"prepares": True}
_CLEANS: Final = {"prepares": True, "online": False}
_SHAPE: Final = {"shape": True}
_OFFLINE: Final = {"online": False}


class Dataset(Section):
    """Sessions of a training: how they are made of clicks."""

    session_gap: Duration = setting(
        1_800.0,
        "Pause that ends a session, in training and in the worker. 0: sessions never end.",
        ge=0,
        le=MAX_GAP_SECONDS,
        facts=_PREPARES,
    )
    min_item_count: int = setting(
        5, "Training clicks that an item needs to be in the catalogue.", ge=1, facts=_CLEANS
    )
    test_fraction: float = setting(
        0.1, "Share of the clicks, the newest, held out as the test split.", ge=0, lt=1, facts=_CLEANS
    )
    validation_fraction: float = setting(
        0.05,
        "Share of the clicks before them, held out to choose the epoch and to learn the blend. 0: neither.",
        ge=0,
        lt=1,
        facts=_CLEANS,
    )
    split_at: Moment | None = setting(
        None,
        "Time at which the test split begins, such as 2020-06-28, instead of `test_fraction`.",
        facts=_PREPARES,
    )
    repeat_within: Duration = setting(
        0.0,
        "Time within which a second click of a user on the same item is dropped from training. 0: none is.",
        ge=0,
        facts=_CLEANS,
    )
    max_clicks_per_hour: int = setting(
        0,
        "Largest number of clicks in an hour. A user with more is a bot, left out of training. 0: no limit.",
        ge=0,
        facts=_CLEANS,
    )
    max_clicks_per_day: int = setting(
        0,
        "Largest number of clicks in a day (UTC). A user with more is a bot, left out of training. "
        "0: no limit.",
        ge=0,
        facts=_CLEANS,
    )
    settle: bool = setting(
        False,
        "Whether rare items and short sessions are dropped again and again until neither is left.",
        facts=_CLEANS,
    )
    cache: Path | None = setting(
        None,
        "Folder that keeps prepared sessions for the next training. `run` does not use it.",
        facts={"decides": False},
    )


class Features(Section):
    """Features of items: columns that describe them."""

    file: Path | None = setting(
        None,
        "File of item features: a column of item ids and the columns named below. "
        "Without it these are columns of the clicks.",
    )
    categorical: tuple[str, ...] = setting(
        (),
        "Columns with values, as NAME or NAME:POLICY. A missing value is the value `unknown`, or none by "
        "policy `drop`.",
        facts=_PREPARES,
    )
    numeric: tuple[str, ...] = setting(
        (),
        "Columns with numbers, as NAME, NAME:POLICY or NAME:POLICY:log. A missing number is the mean, or by "
        "policy the `median` or `zero`; `log`: take log(1 + x).",
        facts=_PREPARES,
    )
    min_value_count: int = setting(
        2, "Items that a categorical value needs; rarer values become `other`.", ge=1, facts=_CLEANS
    )
    value_separator: str = setting(
        "|", "Separator between several values of one item.", min_length=1, facts=_CLEANS
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.file is not None and not self.any:
            raise ValueError(
                f"file is {self.file}: categorical or numeric must name columns of it, or leave it out"
            )
        return self

    @property
    def any(self) -> bool:
        """Whether there is a column of features."""
        return bool(self.categorical or self.numeric)


class Model(Section):
    """The network."""

    cell: Literal["gru", "lstm", "elman"] = setting("gru", "Recurrent cell.", facts=_SHAPE)
    layers: int = setting(1, "Number of recurrent layers.", ge=1, le=MAX_LAYERS, facts=_SHAPE)
    hidden_size: int = setting(100, "Size of the hidden vector.", ge=1, facts=_SHAPE)
    embedding_size: int | None = setting(
        None,
        "Size of the item vectors, with a `separate` output table. Default: `hidden_size`.",
        ge=1,
        facts=_SHAPE,
    )
    output_table: Literal["tied", "separate"] = setting(
        "tied",
        "Item vectors to score with: those that the cell reads (`tied`), or a table of their own.",
        facts={**_SHAPE, "online_needs": "tied"},
    )
    output_bias: bool = setting(
        False,
        "Whether the score has a learned bias per item.",
        facts={**_SHAPE, "online_needs": False},
    )
    normalize: bool = setting(
        True,
        "Whether the score is the cosine times `scale`; otherwise it is the plain product.",
        facts={**_SHAPE, "online_needs": True},
    )
    scale: float = setting(
        16.0, "Factor of the cosine before the softmax.", gt=0, le=MAX_TRAINED_SCALE, facts=_SHAPE
    )
    # Tallec & Ollivier, "Can recurrent neural networks warp time?", 2018.
    memory_clicks: int = setting(
        0,
        "Number of clicks that the gates of a new network remember. 0: the initial biases of Keras.",
        ge=0,
    )
    dropout: float = setting(0.25, "Dropout of the item vector that the cell reads.", ge=0, lt=1)
    hidden_dropout: float = setting(
        0.0, "Dropout of the hidden vector that the next layer and the scores read.", ge=0, lt=1
    )

    @property
    def input_size(self) -> int:
        """Numbers in the item vector that the cell reads."""
        return self.embedding_size or self.hidden_size

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.output_table == "tied" and self.input_size != self.hidden_size:
            raise ValueError(
                f"embedding_size ({self.embedding_size}) and hidden_size ({self.hidden_size}) "
                "must be equal where output_table is tied"
            )
        if self.memory_clicks and self.cell == "elman":
            raise ValueError(
                f"memory_clicks ({self.memory_clicks}) and cell (elman) do not go together: it has no gates"
            )
        return self


class Loss(Section):
    """The loss that the training minimizes, and its negatives."""

    function: Literal["cross_entropy", "bpr_max", "top1_max", "squared_error"] = setting(
        "cross_entropy", "Training loss."
    )
    label_smoothing: float = setting(
        0.0, "Share of the target spread over all items, with `cross_entropy`.", ge=0, lt=1
    )
    score_penalty: float = setting(
        1.0, "Weight of the penalty on large negative scores, with `bpr_max`.", ge=0
    )
    class_weight_power: float = setting(
        0.0,
        "Weight of a target: the clicks of its item to minus this power. 0: equal.",
        ge=0,
        facts=_OFFLINE,
    )
    # Online training draws none: its loss would be wrong with some.
    negatives: int = setting(
        0, "Negative items drawn per step. 0: the whole catalogue.", ge=0, facts=_OFFLINE
    )
    negatives_power: float = setting(
        0.5, "Negatives are drawn in proportion to their clicks to this power.", ge=0
    )
    negatives_uniform: float = setting(
        0.1, "Share of the negatives drawn from all items with equal probability.", ge=0, lt=1
    )
    batch_negatives: bool = setting(
        True, "Whether the other targets of a step are negatives, too, with `negatives`."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.label_smoothing and self.function != "cross_entropy":
            raise ValueError(
                f"label_smoothing ({self.label_smoothing:g}) and function ({self.function}) "
                "do not go together: smoothing is for cross_entropy"
            )
        return self


class Optimizer(Section):
    """Steps of the weights."""

    algorithm: str = setting("adam", "Name of a Keras optimizer.", min_length=1)
    learning_rate: float = setting(2e-3, "Highest learning rate.", gt=0)
    momentum: float = setting(0.0, "Momentum, for sgd and rmsprop.", ge=0, lt=1)
    schedule: Literal["cosine", "constant", "linear", "exponential", "step"] = setting(
        "cosine", "Learning-rate schedule.", facts={"online_needs": "constant"}
    )
    warmup_steps: int = setting(0, "Steps over which the learning rate rises from 0.", ge=0)
    decay_factor: float = setting(
        0.5, "Factor by which the schedules `exponential` and `step` lower the learning rate.", gt=0
    )
    decay_epochs: float = setting(1.0, "Interval in epochs at which they apply it.", gt=0)
    clip_norm: float = setting(5.0, "Largest norm of all gradients together. 0: no limit.", ge=0)
    clip_value: float = setting(0.0, "Largest absolute value in a gradient. 0: no limit.", ge=0)
    weight_decay: float = setting(
        0.0, "Weight decay, as a share of a weight per step, times the learning rate.", ge=0
    )
    average_decay: float = setting(
        0.0,
        "Decay of the moving average of the weights that is released. 0: the last weights.",
        ge=0,
        lt=1,
        facts=_OFFLINE,
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.momentum and self.algorithm not in ("sgd", "rmsprop"):
            raise ValueError(
                f"momentum ({self.momentum:g}) and algorithm ({self.algorithm}) do not go together: "
                "momentum is for sgd and rmsprop"
            )
        return self


class Blend(Section):
    """Terms added to the network's scores, by learned weights."""

    popularity_half_lives: tuple[HalfLife, ...] = setting(
        (_DAY, 7 * _DAY, 30 * _DAY), "Half-lives of the clicks that make an item popular; empty: none count."
    )
    transition_half_lives: tuple[HalfLife, ...] = setting(
        (30 * _DAY,), "Half-lives of the transitions from one item to another; empty: none count."
    )
    transitions: int = setting(
        50, "Followers kept per item for the transitions. 0: none.", ge=0, le=MAX_TRANSITIONS
    )
    repeat_lags: int = setting(
        20,
        "Clicks back in the session for which repeats have a learned weight. 0: none.",
        ge=0,
        le=MAX_REPEAT_LAGS,
    )

    @property
    def any(self) -> bool:
        """Whether anything is added."""
        followed = self.transitions and self.transition_half_lives
        return bool(self.popularity_half_lives or followed or self.repeat_lags)


class Training(Section):
    """Length of the training, and its batches."""

    epochs: int | None = setting(None, "Largest number of epochs. Default: 5, more for few clicks.", ge=1)
    patience: int | None = setting(
        None,
        "Epochs without a better validation result that end the training. Default: a third, at least 2.",
        ge=1,
        facts=_OFFLINE,
    )
    batch_clicks: int = setting(512, "Predictions per training step.", ge=1)
    full_batch: bool = setting(
        False,
        "Whether there is one step per epoch, along the gradient over all clicks.",
        facts=_OFFLINE,
    )
    max_session_clicks: int = setting(200, "Longest session that is trained in one piece, in clicks.", ge=2)
    carry_state: bool = setting(
        False,
        "Whether the hidden state is handed from piece to piece of a long session; otherwise pieces overlap.",
        facts=_OFFLINE,
    )
    checkpoint_interval: Duration = setting(
        60.0, "Interval between saving the progress.", gt=0, facts={"decides": False, "online": False}
    )
    seed: int = setting(0, "Random seed: the same clicks, settings and seed give the same release.", ge=0)

    def epochs_for(self, predictions: int) -> int:
        """Return the number of epochs: 5, or more where these would show fewer than half a million clicks."""
        return self.epochs or min(100, max(5, round(500_000 / predictions)))


class Evaluation(Section):
    """Measuring of releases."""

    top: int = setting(20, "Length K of the lists that Recall@K and MRR@K measure.", ge=1)
    exclude_recent: int = setting(
        1, "Number of the last clicked items that a list leaves out while measuring.", ge=0
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.top + self.exclude_recent > POPULAR_ITEMS:
            raise ValueError(
                f"top ({self.top}) and exclude_recent ({self.exclude_recent}) together must not exceed "
                f"{POPULAR_ITEMS}: the popularity list to compare with has no more"
            )
        return self
