"""The sections of the training settings, from clicks to evaluation.

Facts (metadata) of a field:

- `prepares`: the setting affects how sessions are built from clicks, so it is part of the cache key;
- `shape`: a training that starts from the weights of a release must use the release's value;
- `decides`: False if the result of a training does not depend on the setting;
- `online`: False if the setting has no effect on online training, which then accepts only the default;
- `online_needs`: the only value that online training supports.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from worker.core.manifest import (
    MAX_CO_OCCURRENCES,
    MAX_GAP_SECONDS,
    MAX_LAYERS,
    MAX_OWN_ITEMS,
    MAX_REPEAT_LAGS,
    MAX_TRANSITIONS,
)
from worker.settings.fields import Duration, Moment, Section, setting

MAX_TRAINED_SCALE: Final = 40.0
"""Maximum `scale`. It keeps exp(-2 * scale) a normal single-precision number (`trainer.model.losses`)."""

ACTIVE_ITEMS: Final = 2048
"""Number of items in the network in online training, which are the currently most clicked items."""

ACTIVE_HALF_LIFE: Final = 12 * 3_600.0
"""Half-life, in seconds, of the click counts by which the active items are chosen."""

_HOUR: Final = 3_600.0
_DAY: Final = 24 * _HOUR

HalfLife = Annotated[Duration, Field(gt=0)]

_PREPARES: Final = {"prepares": True}
_CLEANS: Final = {"prepares": True, "online": False}
_SHAPE: Final = {"shape": True}
_OFFLINE: Final = {"online": False}


class Dataset(Section):
    """Sessions: how they are built from clicks, cleaned, and split."""

    session_gap: Duration = setting(
        1_800.0,
        "Time without clicks that ends a session, in training and in the worker. 0: sessions never end. "
        "Unless set, `fit` uses 0 if most sessions would have one click.",
        ge=0,
        le=MAX_GAP_SECONDS,
        facts=_PREPARES,
    )
    min_item_count: int = setting(
        5,
        "Minimum number of training clicks for an item to be in the catalogue. Unless set, `fit` lowers it "
        "if over 1 % of the newest clicks, or over half of all clicks, would be on items left out.",
        ge=1,
        facts=_CLEANS,
    )
    test_fraction: float = setting(
        0.1, "Share of the clicks held out as the test split (the newest clicks).", ge=0, lt=1, facts=_CLEANS
    )
    validation_fraction: float = setting(
        0.05,
        "Share of the remaining clicks (those before the test split) to hold out as the validation split. "
        "The newest of them are held out. They serve to choose the best epoch and to learn the weights of "
        "the terms in `[blend]`. 0: no validation split. Unless set, `fit` raises it, to a third at most, "
        "to hold out 2,000 clicks.",
        ge=0,
        lt=1,
        facts=_CLEANS,
    )
    split_at: Moment | None = setting(
        None,
        "Time at which the test split starts, such as `2020-06-28`, or unix time. If set, it overrides "
        "`test_fraction`.",
        facts=_PREPARES,
    )
    leave_last: int = setting(
        0,
        "Number of clicks at the end of each session that are the test split (leave-one-out: 1). 0: the test "
        "split is chosen by time.",
        ge=0,
        facts=_CLEANS,
    )
    repeat_within: Duration = setting(
        0.0,
        "Maximum time between two clicks of a user on the same item for the second to count as a repeat. "
        "Repeats are dropped from training. 0: repeats are kept.",
        ge=0,
        facts=_CLEANS,
    )
    max_clicks_per_hour: int = setting(
        0,
        "Maximum number of clicks per user and clock hour. Users who exceed it are treated as bots: all "
        "their clicks are dropped from training. 0: no limit.",
        ge=0,
        facts=_CLEANS,
    )
    max_clicks_per_day: int = setting(
        0,
        "Maximum number of clicks per user and calendar day (UTC). Users who exceed it are treated as "
        "bots: all their clicks are dropped from training. 0: no limit.",
        ge=0,
        facts=_CLEANS,
    )
    settle: bool = setting(
        False,
        "Whether the removal of rare items and of one-click sessions is repeated until neither remains. "
        "Removing the one can create the other.",
        facts=_CLEANS,
    )
    cache: Path | None = setting(
        None,
        "Folder in which prepared sessions are cached for later trainings. Not used by `run`.",
        facts={"decides": False},
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.leave_last and self.split_at is not None:
            raise ValueError(
                f"leave_last ({self.leave_last}) and split_at both choose the test split; leave out one"
            )
        return self


class Features(Section):
    """Item features: columns that describe items."""

    file: Path | None = setting(
        None,
        "File of item features, with a column of item ids and the feature columns. Default: the feature "
        "columns are read from the files of clicks.",
    )
    categorical: tuple[str, ...] = setting(
        (),
        "Categorical feature columns, as NAME or NAME:POLICY. The policy says how to treat an item whose "
        "value is missing. `unknown` (default): it gets the value `unknown`. `drop`: it gets no value.",
        facts=_PREPARES,
    )
    numeric: tuple[str, ...] = setting(
        (),
        "Numeric feature columns, as NAME, NAME:POLICY or NAME:POLICY:log. The policy says what replaces a "
        "missing number: `mean` (default), `median` or `zero`. `log` transforms each number x to log(1 + "
        "x).",
        facts=_PREPARES,
    )
    min_value_count: int = setting(
        2,
        "Minimum number of items per categorical value. Rarer values are replaced by `other`.",
        ge=1,
        facts=_CLEANS,
    )
    value_separator: str = setting(
        "|", "Separator between an item's values in a categorical column.", min_length=1, facts=_CLEANS
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.file is not None and not self.any:
            raise ValueError(
                f"file is {self.file}, but no columns are named; name them in categorical or numeric, or "
                "leave file out"
            )
        return self

    @property
    def any(self) -> bool:
        """Whether there are any feature columns."""
        return bool(self.categorical or self.numeric)


class Model(Section):
    """The recurrent network."""

    cell: Literal["gru", "lstm", "elman"] = setting("gru", "Recurrent cell.", facts=_SHAPE)
    layers: int = setting(1, "Number of recurrent layers.", ge=1, le=MAX_LAYERS, facts=_SHAPE)
    hidden_size: int = setting(100, "Size of the hidden vector of each recurrent layer.", ge=1, facts=_SHAPE)
    embedding_size: int | None = setting(
        None,
        "Size of the input item vectors. Default: `hidden_size`. Any other size requires `output_table` to "
        "be `separate`.",
        ge=1,
        facts=_SHAPE,
    )
    output_table: Literal["tied", "separate"] = setting(
        "tied",
        "Item vectors used for scoring. `tied`: the input item vectors. `separate`: a second table.",
        facts={**_SHAPE, "online_needs": "tied"},
    )
    output_bias: bool = setting(
        False, "Whether scores include a learned bias per item.", facts={**_SHAPE, "online_needs": False}
    )
    normalize: bool = setting(
        True,
        "Whether scores are cosine similarities times `scale`. Otherwise, scores are plain dot products.",
        facts={**_SHAPE, "online_needs": True},
    )
    scale: float = setting(
        16.0,
        "Factor by which the cosine similarity is multiplied, with `normalize`.",
        gt=0,
        le=MAX_TRAINED_SCALE,
        facts=_SHAPE,
    )
    # Tallec & Ollivier, "Can recurrent neural networks warp time?", 2018.
    memory_clicks: int = setting(
        0,
        "Maximum initial memory span of a hidden unit, in clicks. Each unit's gate biases are initialised "
        "for a random span. 0: use Keras's default gate biases.",
        ge=0,
    )
    dropout: float = setting(
        0.25,
        "Dropout rate of the input item vectors. Unless set, `fit` uses 0.4 with 10 or more epochs.",
        ge=0,
        lt=1,
    )
    hidden_dropout: float = setting(0.0, "Dropout rate of the output of each recurrent layer.", ge=0, lt=1)

    @property
    def input_size(self) -> int:
        """Size of the input item vectors."""
        return self.embedding_size or self.hidden_size

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.output_table == "tied" and self.input_size != self.hidden_size:
            raise ValueError(
                f"embedding_size ({self.embedding_size}) and hidden_size ({self.hidden_size}) "
                "must be equal if output_table is tied"
            )
        if self.memory_clicks and self.cell == "elman":
            raise ValueError(
                f"memory_clicks ({self.memory_clicks}) needs gates, which the cell elman does not have"
            )
        return self


class Loss(Section):
    """The training loss and its negative items."""

    function: Literal["cross_entropy", "bpr_max", "top1_max", "squared_error"] = setting(
        "cross_entropy", "Training loss."
    )
    label_smoothing: float = setting(
        0.0,
        "Label smoothing for `cross_entropy`: the share of a target's probability spread over all items.",
        ge=0,
        lt=1,
    )
    score_penalty: float = setting(
        1.0, "Weight of the penalty on the scores of negatives, for `bpr_max`.", ge=0
    )
    class_weight_power: float = setting(
        0.0,
        "Exponent of the class weights. The loss of a prediction is weighted by n^-exponent, where n is "
        "the number of clicks on the target item. 0: all predictions weigh the same.",
        ge=0,
        facts=_OFFLINE,
    )
    # Online training samples no negatives: sampling would distort its loss.
    negatives: int = setting(
        0, "Number of negative items sampled per step. 0: all items are negatives.", ge=0, facts=_OFFLINE
    )
    negatives_power: float = setting(
        0.5, "Sampling exponent: the probability of an item is proportional to (its clicks)^exponent.", ge=0
    )
    negatives_uniform: float = setting(
        0.1, "Share of the negatives that is sampled uniformly from all items.", ge=0, lt=1
    )
    batch_negatives: bool = setting(
        True, "Whether the other targets of a step are additional negatives. No effect without `negatives`."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.label_smoothing and self.function != "cross_entropy":
            raise ValueError(
                f"label_smoothing ({self.label_smoothing:g}) cannot be combined with function "
                f"({self.function}); it requires cross_entropy"
            )
        return self


class Optimizer(Section):
    """The optimizer and its learning-rate schedule."""

    algorithm: str = setting("adam", "Name of a Keras optimizer.", min_length=1)
    learning_rate: float = setting(2e-3, "Maximum learning rate.", gt=0)
    momentum: float = setting(0.0, "Momentum, for `sgd` and `rmsprop`.", ge=0, lt=1)
    schedule: Literal["cosine", "constant", "linear", "exponential", "step"] = setting(
        "cosine", "Learning-rate schedule.", facts={"online_needs": "constant"}
    )
    warmup_steps: int = setting(
        0, "Number of steps over which the learning rate rises from 0 to its maximum.", ge=0
    )
    decay_factor: float = setting(
        0.5,
        "Factor by which the learning rate changes per `decay_epochs`, for schedule `exponential` or `step`.",
        gt=0,
    )
    decay_epochs: float = setting(
        1.0, "Number of epochs in which the learning rate is multiplied by `decay_factor` once.", gt=0
    )
    clip_norm: float = setting(5.0, "Maximum global norm of the gradients. 0: no limit.", ge=0)
    clip_value: float = setting(0.0, "Maximum absolute value of each gradient element. 0: no limit.", ge=0)
    weight_decay: float = setting(
        0.0, "Weight decay. Each step shrinks every weight by this share times the learning rate.", ge=0
    )
    average_decay: float = setting(
        0.0,
        "Decay per step of the moving average of the weights. The release contains the average. 0: no "
        "average; the release contains the weights themselves.",
        ge=0,
        lt=1,
        facts=_OFFLINE,
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.momentum and self.algorithm not in ("sgd", "rmsprop"):
            raise ValueError(
                f"momentum ({self.momentum:g}) cannot be combined with algorithm ({self.algorithm}); "
                "it requires sgd or rmsprop"
            )
        return self


class Blend(Section):
    """Terms that are added to the network's scores with learned weights."""

    popularity_half_lives: tuple[HalfLife, ...] = setting(
        (_DAY, 7 * _DAY, 30 * _DAY),
        "Half-lives of the click counts in the popularity terms, one per term. Empty: no popularity terms.",
    )
    transition_half_lives: tuple[HalfLife, ...] = setting(
        (90 * _DAY,),
        "Half-lives of the transition counts, one term per half-life. A transition is a click on one "
        "item directly after a click on another. Empty: no transition terms.",
    )
    transitions: int = setting(
        50,
        "Maximum number of successors (items clicked next) stored per item. 0: no transition terms.",
        ge=0,
        le=MAX_TRANSITIONS,
    )
    co_occurrences: int = setting(
        50,
        "Maximum number of items stored per item that are clicked near it, in either order. They gain from "
        "the last clicks of a session. 0: no co-occurrence term.",
        ge=0,
        le=MAX_CO_OCCURRENCES,
    )
    repeat_lags: int = setting(
        20,
        "Number of a session's most recent clicks with a learned repeat weight. The weight changes the score "
        "of the clicked item. 0: no repeat weights.",
        ge=0,
        le=MAX_REPEAT_LAGS,
    )

    own_items: int = setting(
        64,
        "Number of a user's last clicks, in any session, that are counted in the term for the user's own "
        "items. The term is left out if it does not help. With it, each user takes 4 bytes per click above "
        "20 in a worker's memory. 0: no such term.",
        ge=0,
        le=MAX_OWN_ITEMS,
        facts=_OFFLINE,
    )

    @property
    def any(self) -> bool:
        """Whether any terms are added."""
        followed = self.transitions and self.transition_half_lives
        counts = self.popularity_half_lives or followed or self.co_occurrences
        return bool(counts or self.repeat_lags or self.own_items)
