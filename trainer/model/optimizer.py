"""Weight updates: Keras' optimizers, learning-rate schedules, gradient clipping, and averaged weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from trainer.config import FitSettings
from trainer.model.backend import keras, tf
from worker.errors import SettingError

_LONGEST_MEMORY: Final = 10.0
"""The constant c of the limit (1 + t) / (c + t) on the decay of the averaged weights after t steps. The limit
makes the average forget the initial weights soon."""

_MADE_OF_OTHERS: Final = ("LossScaleOptimizer", "MultiOptimizer")
"""Keras classes that wrap another optimizer."""


class Optimizer:
    """An optimizer of `variables`, for a training of `epochs` epochs of at most `steps` steps each.

    Raises SettingError if Keras has no optimizer named `optimizer.algorithm`.
    """

    def __init__(self, variables: Sequence[Any], settings: FitSettings, *, epochs: int, steps: int) -> None:
        self._weights, self._settings = list(variables), settings
        self._keras = _named(settings, learning_rate(settings, epochs=epochs, steps=steps))
        self._keras.build(self._weights)
        averaged = self._weights if settings.optimizer.average_decay else []
        self._averages = [tf.Variable(weight) for weight in averaged]
        # Hot path: XLA fuses the update into one pass over each weight; Adam then takes a third of the time.
        self.move = tf.function(self._move, jit_compile=True, autograph=False)

    @property
    def variables(self) -> list[Any]:
        """All state that later steps depend on, except the weights."""
        return [*self._keras.variables, *self._averages]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Set the weights to their averages, if averaging is on; restore the weights after the context."""
        if not self._averages:
            yield
            return
        moving = [weight.numpy() for weight in self._weights]
        _assign(self._weights, self._averages)
        yield
        _assign(self._weights, moving)

    def _move(self, gradients: list[tf.Tensor]) -> tf.Tensor:
        """Update the weights by one step; return the global norm of `gradients` before clipping."""
        norm = tf.linalg.global_norm(gradients)
        if self._settings.optimizer.clip_norm:
            gradients, _ = tf.clip_by_global_norm(
                gradients, self._settings.optimizer.clip_norm, use_norm=norm
            )
        if self._settings.optimizer.clip_value:
            limit = self._settings.optimizer.clip_value
            gradients = [tf.clip_by_value(one, -limit, limit) for one in gradients]
        self._keras.apply(gradients, self._weights)
        if self._averages:
            taken = tf.cast(self._keras.iterations, tf.float32)
            keep = tf.minimum(self._settings.optimizer.average_decay, (1 + taken) / (_LONGEST_MEMORY + taken))
            for average, weight in zip(self._averages, self._weights, strict=True):
                average.assign(keep * average + (1 - keep) * weight)
        return norm


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
