"""The sections of the training settings about its course: its length, its batches, and its measurement.

`trainer.config.sections` explains the facts of a field.
"""

from __future__ import annotations

from typing import Final, Self

from pydantic import model_validator

from worker.settings.fields import Duration, Section, setting

POPULAR_ITEMS: Final = 100
"""Number of items in the popularity list of a release."""

_OFFLINE: Final = {"online": False}


class Training(Section):
    """The length of a training, and its batches."""

    epochs: int | None = setting(
        None,
        "Maximum number of epochs. Default: 5, or up to 100 if there are few clicks in all or per item.",
        ge=1,
    )
    patience: int | None = setting(
        None,
        "Number of epochs without a better validation result after which the training ends. Default: a third "
        "of `epochs`, at least 2.",
        ge=1,
        facts=_OFFLINE,
    )
    final_training: bool = setting(
        True,
        "Whether `fit` trains once more, on all clicks before the test split, after the validation split has "
        "served to choose the number of epochs and the weights in `[blend]`. Otherwise, the release never "
        "learns the validation split, which has the newest clicks.",
        facts=_OFFLINE,
    )
    batch_clicks: int = setting(512, "Number of predicted clicks per training step.", ge=1)
    full_batch: bool = setting(
        False,
        "Whether each epoch is a single training step, with the gradient over all clicks.",
        facts=_OFFLINE,
    )
    max_session_clicks: int = setting(
        200, "Maximum session length, in clicks; longer sessions are split.", ge=2
    )
    carry_state: bool = setting(
        False,
        "Whether each part of a split session starts with the hidden state after the previous part. "
        "Otherwise, each part repeats clicks of the previous part as context.",
        facts=_OFFLINE,
    )
    checkpoint_interval: Duration = setting(
        60.0, "Interval between training checkpoints.", gt=0, facts={"decides": False, "online": False}
    )
    seed: int = setting(0, "Random seed. The same clicks, settings and seed produce the same release.", ge=0)

    def epochs_for(self, predictions: int) -> int:
        """Return `epochs`; if unset, 5 to 100 epochs, for about a million predictions in total.

        `predictions`: the number of predictions in an epoch.
        """
        return self.epochs or min(100, max(5, round(1_000_000 / predictions)))


class Evaluation(Section):
    """The evaluation of releases."""

    top: int = setting(20, "K in Recall@K and MRR@K: the length of the evaluated lists.", ge=1)
    exclude_recent: int = setting(
        1,
        "Number of a user's most recently clicked items that are left out of the evaluated lists. Unless "
        "set, `fit` uses 20 if users hardly ever return to one of their last items, and 0 if they often "
        "click the same item twice in a row.",
        ge=0,
    )
    min_context: int = setting(
        1,
        "Minimum number of clicks in the session before a click of the test split for it to be predicted.",
        ge=1,
        facts={"prepares": True},
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.top + self.exclude_recent > POPULAR_ITEMS:
            raise ValueError(
                f"top ({self.top}) and exclude_recent ({self.exclude_recent}) together must not exceed "
                f"{POPULAR_ITEMS}, the length of the popularity list that is the baseline"
            )
        return self
