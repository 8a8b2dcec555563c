"""Weight updates: Keras' optimizers, learning-rate schedules, gradient clipping, and averaged weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from trainer.config import FitSettings
from trainer.model.backend import keras, tf
from trainer.model.row_adam import RowAdam, summed
from worker.errors import SettingError

_LONGEST_MEMORY: Final = 10.0
"""The constant c of the limit (1 + t) / (c + t) on the decay of the averaged weights after t steps. The limit
makes the average forget the initial weights soon."""

_MADE_OF_OTHERS: Final = ("LossScaleOptimizer", "MultiOptimizer")
"""Keras classes that wrap another optimizer."""


class Optimizer:
    """An optimizer of `variables`, for a training of `epochs` epochs of at most `steps` steps each.

    `tables`: those of the variables of which a step reads few rows. Adam then updates only these rows, with
    the same result (`trainer.model.row_adam`). Other algorithms, weight decay and averages need all rows in
    each step. Raises SettingError if Keras has no optimizer named `optimizer.algorithm`.
    """

    def __init__(
        self,
        variables: Sequence[Any],
        settings: FitSettings,
        *,
        epochs: int,
        steps: int,
        tables: Sequence[Any] = (),
    ) -> None:
        self._weights, self._settings = list(variables), settings
        rate = learning_rate(settings, epochs=epochs, steps=steps)
        self._keras = _named(settings, rate)
        self._tables = [self._place(table) for table in tables] if _by_rows(settings) else []
        self._dense = [place for place in range(len(self._weights)) if place not in self._tables]
        self._keras.build([self._weights[place] for place in self._dense])
        count = epochs * steps
        rates = np.broadcast_to(rate(tf.range(count)), count).astype(np.float64)
        self._rows = [RowAdam(self._weights[place], rates) for place in self._tables]
        averaged = self._weights if settings.optimizer.average_decay else []
        self._averages = [tf.Variable(weight) for weight in averaged]
        # Hot path: XLA fuses the update into one pass over each weight; Adam then takes a third of the time.
        self._moved = tf.function(self._move, jit_compile=True, autograph=False)

    @property
    def variables(self) -> list[Any]:
        """All state that later steps depend on, except the weights."""
        return [
            *self._keras.variables,
            *self._averages,
            *(one for rows in self._rows for one in rows.variables),
        ]

    def reads(self, rows: tf.Tensor) -> None:
        """Bring the `rows` of the tables up to date, before a step reads them."""
        if self._rows:
            distinct, step = tf.unique(rows)[0], self._steps
            for table in self._rows:
                table.catch_up(distinct, step)

    def move(self, gradients: Sequence[Any]) -> tf.Tensor:
        """Update the weights by one step; return the global norm of `gradients` before clipping.

        The gradients of the tables may be sparse; only the rows in them are read.
        """
        step = self._steps + 1
        sparse = [summed(gradients[place]) for place in self._tables]
        dense = [tf.convert_to_tensor(gradients[place]) for place in self._dense]
        squares = tf.add_n([tf.reduce_sum(values**2) for _, values in sparse]) if sparse else 0.0
        norm = self._moved(dense, squares)
        for table, (rows, values) in zip(self._rows, sparse, strict=True):
            table.move(rows, self._clipped([values], norm)[0], step)
        return norm

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Bring all weights up to date, and set them to their averages, if averaging is on.

        Restore the weights after the context.
        """
        for table in self._rows:
            table.finish(int(self._keras.iterations))
        if not self._averages:
            yield
            return
        moving = [weight.numpy() for weight in self._weights]
        _assign(self._weights, self._averages)
        yield
        _assign(self._weights, moving)

    @property
    def _steps(self) -> tf.Tensor:
        return tf.cast(self._keras.iterations, tf.int32)

    def _place(self, table: Any) -> int:
        return next(place for place, weight in enumerate(self._weights) if weight is table)

    def _move(self, gradients: list[tf.Tensor], squares: tf.Tensor) -> tf.Tensor:
        """Update the weights that are no tables by one step; return the global norm of all gradients.

        `squares`: the sum of the squared gradients of the tables.
        """
        norm = tf.linalg.global_norm(gradients)
        if self._rows:
            norm = tf.sqrt(norm**2 + squares)
        self._keras.apply(self._clipped(gradients, norm), [self._weights[place] for place in self._dense])
        if self._averages:
            taken = tf.cast(self._keras.iterations, tf.float32)
            keep = tf.minimum(self._settings.optimizer.average_decay, (1 + taken) / (_LONGEST_MEMORY + taken))
            for average, weight in zip(self._averages, self._weights, strict=True):
                average.assign(keep * average + (1 - keep) * weight)
        return norm

    def _clipped(self, gradients: list[tf.Tensor], norm: tf.Tensor) -> list[tf.Tensor]:
        if self._settings.optimizer.clip_norm:
            gradients, _ = tf.clip_by_global_norm(
                gradients, self._settings.optimizer.clip_norm, use_norm=norm
            )
        if self._settings.optimizer.clip_value:
            limit = self._settings.optimizer.clip_value
            gradients = [tf.clip_by_value(one, -limit, limit) for one in gradients]
        return gradients


def _by_rows(settings: FitSettings) -> bool:
    """Return whether the algorithm has a form that updates only the rows that a step reads."""
    asked = settings.optimizer
    return asked.algorithm == "adam" and not (asked.weight_decay or asked.average_decay)


def learning_rate(settings: FitSettings, *, epochs: int, steps: int) -> Any:
    """Return the learning-rate schedule: `optimizer.schedule`, with a linear warm-up if set."""
    top, total = settings.optimizer.learning_rate, epochs * steps
    schedules = keras.optimizers.schedules
    match settings.optimizer.schedule:
        case "cosine":
            later = schedules.CosineDecay(top, total)
        case "linear":
            later = schedules.PolynomialDecay(top, total, end_learning_rate=0.0)
        case "exponential" | "step":
            often, sudden = (
                round(settings.optimizer.decay_epochs * steps),
                settings.optimizer.schedule == "step",
            )
            later = schedules.ExponentialDecay(
                top, max(1, often), settings.optimizer.decay_factor, staircase=sudden
            )
        case _:
            later = schedules.ExponentialDecay(top, total, 1.0)
    return _WarmUp(later, settings.optimizer.warmup_steps) if settings.optimizer.warmup_steps else later


class _WarmUp(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras has no types
    """The schedule `later`, multiplied by a factor that grows linearly to 1 over `steps` steps."""

    def __init__(self, later: Any, steps: int) -> None:
        super().__init__()
        self._later, self._steps = later, steps

    def __call__(self, step: Any) -> Any:
        return self._later(step) * tf.minimum(1.0, (tf.cast(step, tf.float32) + 1) / self._steps)


def _named(settings: FitSettings, rate: Any) -> Any:
    kind = KINDS.get(settings.optimizer.algorithm)
    if kind is None:
        raise SettingError(
            f"optimizer.algorithm is {settings.optimizer.algorithm!r}; "
            f"it must be one of {', '.join(sorted(KINDS))}"
        )
    asked = {name: getattr(settings.optimizer, name) for name in ("momentum", "weight_decay")}
    return kind(rate, **{name: value for name, value in asked.items() if value})


def _kinds() -> dict[str, Any]:
    """Return Keras' optimizers by lower-case name, without those that wrap another optimizer."""
    base = keras.optimizers.Optimizer
    found = (one for one in vars(keras.optimizers).values() if isinstance(one, type))
    kinds = (one for one in found if issubclass(one, base) and one is not base)
    return {one.__name__.lower(): one for one in kinds if one.__name__ not in _MADE_OF_OTHERS}


KINDS: Final = _kinds()
"""The optimizers by the names that `optimizer.algorithm` accepts."""


def _assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
