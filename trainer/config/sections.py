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

from worker.core.manifest import MAX_GAP_SECONDS, MAX_LAYERS, MAX_REPEAT_LAGS, MAX_TRANSITIONS
from worker.settings.fields import Duration, Moment, Section, setting

MAX_TRAINED_SCALE: Final = 40.0
"""Maximum `scale`: exp(-2 * scale) must be a normal single-precision number (`trainer.model.losses`)."""

POPULAR_ITEMS: Final = 100
"""Number of items in the popularity list of a release."""

ACTIVE_ITEMS: Final = 2048
"""Number of items in the network of an online training: the currently most clicked items."""

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
        "Inactivity that ends a session, in training and in the worker. 0: sessions never end.",
        ge=0,
        le=MAX_GAP_SECONDS,
        facts=_PREPARES,
    )
    min_item_count: int = setting(
        5, "Minimum number of training clicks for an item to be in the catalogue.", ge=1, facts=_CLEANS
    )
    test_fraction: float = setting(
        0.1,
        "Share of the clicks to hold out as the test split; the newest clicks are held out.",
        ge=0,
        lt=1,
        facts=_CLEANS,
    )
    validation_fraction: float = setting(
        0.05,
        "Share of the clicks before the test split that is held out as the validation split: the newest of "
        "these clicks. The validation split serves to choose the best epoch and to learn the "
        "blend weights. 0: no validation.",
        ge=0,
        lt=1,
        facts=_CLEANS,
    )
    split_at: Moment | None = setting(
        None,
        "Start of the test split, such as `2020-06-28`; replaces `test_fraction`.",
        facts=_PREPARES,
    )
    repeat_within: Duration = setting(
        0.0,
        "Interval within which repeated clicks of a user on the same item are dropped from training. 0: none "
        "are dropped.",
        ge=0,
        facts=_CLEANS,
    )
    max_clicks_per_hour: int = setting(
        0,
        "Maximum clicks of one user in an hour; users who exceed it are treated as bots and left out of "
        "training. 0: no limit.",
        ge=0,
        facts=_CLEANS,
    )
    max_clicks_per_day: int = setting(
        0,
        "Maximum clicks of one user in a day (UTC); users who exceed it are treated as bots and left out of "
        "training. 0: no limit.",
        ge=0,
        facts=_CLEANS,
    )
    settle: bool = setting(
        False,
        "Whether to repeat the removal of rare items and short sessions until neither remains, since "
        "removing one can create the other.",
        facts=_CLEANS,
    )
    cache: Path | None = setting(
        None,
        "Folder that caches prepared sessions between trainings. Not used by `run`.",
        facts={"decides": False},
    )


class Features(Section):
    """Item features: columns that describe items."""

    file: Path | None = setting(
        None,
        "File of item features: a column of item ids and the feature columns. "
        "Default: the feature columns are in the files of clicks.",
    )
    categorical: tuple[str, ...] = setting(
        (),
        "Categorical columns, as NAME or NAME:POLICY. The policy for missing values: `unknown` (default) "
        "makes them the value `unknown`; `drop` gives the item no value.",
        facts=_PREPARES,
    )
    numeric: tuple[str, ...] = setting(
        (),
        "Numeric columns, as NAME, NAME:POLICY or NAME:POLICY:log. The policy replaces missing numbers: "
        "`mean` (default), `median` or `zero`. `log` transforms numbers to log(1 + x).",
        facts=_PREPARES,
    )
    min_value_count: int = setting(
        2,
        "Minimum number of items with a categorical value; rarer values become `other`.",
        ge=1,
        facts=_CLEANS,
    )
    value_separator: str = setting(
        "|", "Separator between multiple categorical values of an item.", min_length=1, facts=_CLEANS
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
    hidden_size: int = setting(100, "Size of the hidden vector.", ge=1, facts=_SHAPE)
    embedding_size: int | None = setting(
        None,
        "Size of the input item vectors. Default: `hidden_size`; another size requires a `separate` output "
        "table.",
        ge=1,
        facts=_SHAPE,
    )
    output_table: Literal["tied", "separate"] = setting(
        "tied",
        "Item vectors for scoring: the input item vectors (`tied`), or a second table (`separate`).",
        facts={**_SHAPE, "online_needs": "tied"},
    )
    output_bias: bool = setting(
        False,
        "Whether scores include a learned bias per item.",
        facts={**_SHAPE, "online_needs": False},
    )
    normalize: bool = setting(
        True,
        "Whether scores are the cosine similarity times `scale`; otherwise the plain dot product.",
        facts={**_SHAPE, "online_needs": True},
    )
    scale: float = setting(
        16.0,
        "Factor of the cosine similarity, with `normalize`.",
        gt=0,
        le=MAX_TRAINED_SCALE,
        facts=_SHAPE,
    )
    # Tallec & Ollivier, "Can recurrent neural networks warp time?", 2018.
    memory_clicks: int = setting(
        0,
        "Maximum initial memory of a hidden unit, in clicks. 0: Keras's default gate biases.",
        ge=0,
    )
    dropout: float = setting(0.25, "Dropout rate of the input item vectors.", ge=0, lt=1)
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
        "Label smoothing for `cross_entropy`: share of the target probability spread over all items.",
        ge=0,
        lt=1,
    )
    score_penalty: float = setting(
        1.0, "Weight of the penalty on the scores of negatives, for `bpr_max`.", ge=0
    )
    class_weight_power: float = setting(
        0.0,
        "Exponent of the class weights: a target weighs (clicks of its item)^-exponent. 0: all targets "
        "weigh the same.",
        ge=0,
        facts=_OFFLINE,
    )
    # Online training samples no negatives: sampling would distort its loss.
    negatives: int = setting(
        0, "Number of negative items sampled per step. 0: all items are negatives.", ge=0, facts=_OFFLINE
    )
    negatives_power: float = setting(
        0.5, "Exponent of the sampling: an item is drawn in proportion to (its clicks)^exponent.", ge=0
    )
    negatives_uniform: float = setting(
        0.1, "Share of the negatives that are sampled uniformly from all items.", ge=0, lt=1
    )
    batch_negatives: bool = setting(
        True, "Whether the other targets of the step serve as additional negatives; only with `negatives`."
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
        0.5, "Decay factor of the learning rate, for the schedules `exponential` and `step`.", gt=0
    )
    decay_epochs: float = setting(
        1.0, "Number of epochs over which the learning rate falls to `decay_factor` times its value.", gt=0
    )
    clip_norm: float = setting(5.0, "Maximum global norm of the gradients. 0: no limit.", ge=0)
    clip_value: float = setting(0.0, "Maximum absolute value of each gradient element. 0: no limit.", ge=0)
    weight_decay: float = setting(
        0.0, "Weight decay: each step shrinks a weight by this share times the learning rate.", ge=0
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
        (_DAY, 7 * _DAY, 30 * _DAY), "Half-lives of the popularity terms. Empty: no popularity terms."
    )
    transition_half_lives: tuple[HalfLife, ...] = setting(
        (30 * _DAY,),
        "Half-lives of the transition terms (clicks that follow an item). Empty: no transition terms.",
    )
    transitions: int = setting(
        50,
        "Maximum number of successors stored per item. 0: no transition terms.",
        ge=0,
        le=MAX_TRANSITIONS,
    )
    repeat_lags: int = setting(
        20,
        "Number of most recent clicks in the session whose items get a learned repeat weight. 0: no repeat "
        "terms.",
        ge=0,
        le=MAX_REPEAT_LAGS,
    )

    @property
    def any(self) -> bool:
        """Whether any terms are added."""
        followed = self.transitions and self.transition_half_lives
        return bool(self.popularity_half_lives or followed or self.repeat_lags)


class Training(Section):
    """The length of a training, and its batches."""

    epochs: int | None = setting(
        None, "Maximum number of epochs. Default: 5; more if there are few clicks.", ge=1
    )
    patience: int | None = setting(
        None,
        "Number of epochs without a better validation result after which the training ends. Default: a third "
        "of `epochs`, at least 2.",
        ge=1,
        facts=_OFFLINE,
    )
    batch_clicks: int = setting(512, "Number of predicted clicks per training step.", ge=1)
    full_batch: bool = setting(
        False,
        "Whether each epoch is a single step with the gradient over all clicks.",
        facts=_OFFLINE,
    )
    max_session_clicks: int = setting(
        200, "Maximum session length, in clicks; longer sessions are split.", ge=2
    )
    carry_state: bool = setting(
        False,
        "Whether the hidden state is carried over between the parts of a split session; otherwise each part "
        "repeats clicks of the previous part as context.",
        facts=_OFFLINE,
    )
    checkpoint_interval: Duration = setting(
        60.0, "Interval between training checkpoints.", gt=0, facts={"decides": False, "online": False}
    )
    seed: int = setting(0, "Random seed. The same clicks, settings and seed produce the same release.", ge=0)

    def epochs_for(self, predictions: int) -> int:
        """Return `epochs`; if unset, 5 to 100 epochs, for about half a million predictions in total.

        `predictions`: the number of predictions in an epoch.
        """
        return self.epochs or min(100, max(5, round(500_000 / predictions)))


class Evaluation(Section):
    """The evaluation of releases."""

    top: int = setting(20, "K in Recall@K and MRR@K: the length of the evaluated lists.", ge=1)
    exclude_recent: int = setting(
        1, "Number of a user's most recently clicked items that are left out of the evaluated lists.", ge=0
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.top + self.exclude_recent > POPULAR_ITEMS:
            raise ValueError(
                f"top ({self.top}) and exclude_recent ({self.exclude_recent}) together must not exceed "
                f"{POPULAR_ITEMS}, the length of the popularity list that is the baseline"
            )
        return self
