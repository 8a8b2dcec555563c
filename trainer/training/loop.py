"""The training loop: it updates the weights batch by batch, and keeps the weights of the best epoch.

`Training.tensors` and `Training.facts` hold all state that the next step depends on. A training that is
restored from this state ends with bit-identical weights to an uninterrupted training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.batches import Batch, Batches, Carried, Shuffled
from trainer.dataset.sessions import Sessions
from trainer.errors import TrainingDiverged
from trainer.model.backend import tf
from trainer.model.network import Network
from trainer.model.optimizer import Optimizer
from trainer.training.divergence import check_epoch, check_step, doubt
from worker.core.cells import Floats

Epoch = dict[str, float]
"""The metrics of one epoch: loss, gradient norms, validation results."""


@dataclass(slots=True)
class Sums:
    """Running sums over the current epoch. Gradient norms are taken before clipping."""

    batches: int = 0
    predictions: int = 0
    loss: float = 0.0
    steps: int = 0
    norm: float = 0.0
    largest_norm: float = 0.0
    clipped: int = 0

    def seen(self, predictions: int, loss: float) -> None:
        """Add a batch with its number of `predictions` and its mean `loss`."""
        self.batches += 1
        self.predictions += predictions
        self.loss += loss * predictions

    def moved(self, norm: float, limit: float) -> None:
        """Add a step with its gradient `norm`; count the step as clipped if `norm` > `limit` > 0."""
        self.steps += 1
        self.norm += norm
        self.largest_norm = max(self.largest_norm, norm)
        self.clipped += bool(limit) and norm > limit

    def means(self) -> Epoch:
        """Return the metrics of the epoch in the format of the manifest."""
        return {
            "loss": self.loss / self.predictions,
            "gradient_norm": self.norm / self.steps,
            "largest_gradient_norm": self.largest_norm,
            "clipped": self.clipped / self.steps,
        }


@dataclass(slots=True)
class Best:
    """The weights of the best epoch by validation metric, or of the last epoch if there is no validation."""

    patience: int
    value: float = -1.0
    epochs_since: int = 0
    weights: list[Floats] = field(default_factory=list)

    def note(self, network: Network, value: float | None) -> None:
        """Add an epoch with its validation metric `value`; keep its weights if it is the best epoch.

        Without validation (`value` is None), the last epoch counts as the best.
        """
        self.epochs_since += 1
        if value is None or value > self.value:
            self.value, self.epochs_since = value or 0.0, 0
            self.weights = network.get_weights()

    @property
    def is_past(self) -> bool:
        """Whether to stop early: none of the last `patience` epochs was the best."""
        return self.epochs_since >= self.patience


class Course(NamedTuple):
    """The course of a training: `epochs` of the learning-rate schedule, of which it does the first `last`."""

    epochs: int
    last: int


class Training:
    """A training of `network` on `sessions`, and its progress.

    `warm`: whether `network` has the weights of a release. `course`: by default, all epochs of `settings`.
    """

    def __init__(
        self,
        network: Network,
        sessions: Sessions,
        settings: FitSettings,
        *,
        warm: bool = False,
        course: Course | None = None,
    ) -> None:
        self._network, self._settings, self._warm = network, settings, warm
        self._batches = _batches(sessions, settings)
        epochs = settings.training.epochs_for(sessions.predictions)
        scheduled, self.epochs = course or Course(epochs, epochs)
        self._chooses = course is None
        self._predictions = sessions.predictions
        weights = network.trainable_variables
        steps = 1 if settings.training.full_batch else len(self._batches)
        tables = [] if settings.training.full_batch else network.tables
        self._optimizer = Optimizer(weights, settings, epochs=scheduled, steps=steps, tables=tables)
        self._collected = (
            [tf.Variable(tf.zeros_like(one)) for one in weights] if settings.training.full_batch else []
        )
        self._states = tf.zeros((1, network.state_size))
        self._step = compiled_step(network, self._use, self._optimizer.reads)
        self._best = Best(settings.training.patience or max(2, self.epochs // 3))
        self._sums, self.history = Sums(), list[Epoch]()
        self._first_loss: float | None = None
        self._diverged = False

    def run(
        self,
        validate: Callable[[], Epoch],
        progress: Progress,
        after_step: Callable[[Training], None] = lambda _: None,
    ) -> None:
        """Train to the end, then set `network` to the weights of its best epoch.

        `validate` returns the validation metrics of the current `network`; `after_step` is called after each
        step and each validation. If the training diverges after the first epoch, it ends early, with the best
        finished epoch. Raises TrainingDiverged if the first epoch diverges.
        """
        progress.start((self.epochs - len(self.history)) * self._predictions - self._sums.predictions)
        try:
            while len(self.history) < self.epochs and not (self._best.is_past or self._diverged):
                self._epoch(progress, after_step)
                self._finish(validate, progress)
                after_step(self)
        except TrainingDiverged as error:
            if not self.history:
                raise
            progress.say(str(error))
            self._diverged = True
        finally:
            progress.stop()
        self._network.set_weights(self._best.weights)
        if self._chooses:
            progress.say(self._outcome())
        losses = [epoch["loss"] for epoch in self.history]
        careful = doubt(losses, self._settings, first=self._first_loss or 0.0)
        if careful and not self._warm:
            progress.say(careful)

    @property
    def steps(self) -> int:
        """The maximum number of batches in all epochs."""
        return self.epochs * len(self._batches)

    @property
    def course(self) -> Course:
        """The course of this training up to its best epoch."""
        return Course(self.epochs, len(self.history) - self._best.epochs_since)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that the next step depends on, by name."""
        variables = {name: np.asarray(variable.numpy()) for name, variable in self._variables().items()}
        best = {f"best/{at}": weight for at, weight in enumerate(self._best.weights)}
        return {**variables, **best, "states": self._states.numpy()}

    def facts(self) -> dict[str, Any]:
        """Return the part of the state that is not in `tensors`, as JSON values."""
        best = {"value": self._best.value, "epochs_since": self._best.epochs_since}
        first = self._first_loss
        return {
            "history": self.history,
            "sums": asdict(self._sums),
            "best": best,
            "first_loss": first,
            "diverged": self._diverged,
        }

    @property
    def position(self) -> str:
        """The current epoch and batch, as text for display."""
        if self._diverged or self._best.is_past or len(self.history) == self.epochs:
            return f"this training was finished, after epoch {len(self.history)}"
        return f"epoch {len(self.history) + 1} of {self.epochs}, after {self._sums.batches:,} batches"

    def restore(self, tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Restore the state from the `tensors` and `facts` of a training on the same clicks and settings."""
        for name, variable in self._variables().items():
            variable.assign(tensors[name])
        self._states = tf.constant(tensors["states"])
        self.history, self._sums = list(facts["history"]), Sums(**facts["sums"])
        self._first_loss, self._diverged = facts["first_loss"], facts["diverged"]
        best = [tensors[f"best/{at}"] for at in range(len(self._network.weights))] if self.history else []
        self._best = Best(self._best.patience, **facts["best"], weights=best)

    def _variables(self) -> dict[str, Any]:
        groups = {
            "weight": self._network.trainable_variables,
            "optimizer": self._optimizer.variables,
            "collected": self._collected,
        }
        return {f"{name}/{at}": one for name, group in groups.items() for at, one in enumerate(group)}

    def _epoch(self, progress: Progress, after_step: Callable[[Training], None]) -> None:
        """Run the rest of the current epoch."""
        epoch, limit = len(self.history), self._settings.optimizer.clip_norm
        for batch in islice(self._batches.epoch(epoch), self._sums.batches, None):
            number = epoch * len(self._batches) + self._sums.batches
            drawn = self._network.negatives.draw(self._settings.training.seed, number)
            loss, norm, states = self._step(batch._replace(negatives=drawn), self._states, number)
            if self._first_loss is None:
                self._first_loss = float(loss)
            self._check(check_step, float(loss), float(norm))
            self._sums.seen(len(batch.targets), float(loss))
            if self._settings.training.carry_state:
                self._states = states
            if not self._settings.training.full_batch:
                self._sums.moved(float(norm), limit)
            progress.advance(len(batch.targets), float(loss))
            after_step(self)
        if self._settings.training.full_batch:
            self._sums.moved(float(self._optimizer.move(list(self._collected))), limit)
            for one in self._collected:
                one.assign(tf.zeros_like(one))
        self._check(check_epoch, self._sums.means()["loss"], largest_weight(self._network))

    def _check(self, check: Callable[..., None], *figures: float) -> None:
        first = 0.0 if self._first_loss is None else self._first_loss
        check(*figures, self._settings, first=first, position=self.position)

    def _outcome(self) -> str:
        """Return, as text, which epoch is kept and why the training stopped."""
        done, since = len(self.history), self._best.epochs_since
        figure = f"mrr_at_{self._settings.evaluation.top}"
        if figure not in self.history[-1]:
            last = f"the last before it diverged, {done}" if self._diverged else f"the last epoch, {done}"
            return f"kept {last}: there are no validation clicks to choose the best epoch by"
        why = f"it was the last of {self.epochs}"
        if self._diverged:
            why = f"epoch {done + 1} diverged"
        elif done < self.epochs:
            why = f"no improvement in {since} epochs (training.patience)"
        best, top = done - since, self._settings.evaluation.top
        value = self.history[best - 1][figure]
        return f"kept epoch {best}, the best by MRR@{top} ({value:.4f}); stopped after epoch {done}: {why}"

    def _finish(self, validate: Callable[[], Epoch], progress: Progress) -> None:
        with self._optimizer.averaged():
            results = validate()
            self._best.note(self._network, results.get(f"mrr_at_{self._settings.evaluation.top}"))
        self.history.append({**self._sums.means(), **results})
        self._sums = Sums()
        results_text = ", ".join(f"{name} {value:.4f}" for name, value in self.history[-1].items())
        progress.say(f"epoch {len(self.history)} of {self.epochs}: {results_text}")
        progress.epoch(len(self.history), self.history[-1])

    def _use(self, gradients: list[tf.Tensor], batch: Batch) -> tf.Tensor:
        """Apply `gradients`, or add them to the sum to apply at the end of the epoch; return their norm."""
        if not self._collected:
            return self._optimizer.move(gradients)
        gradients = [tf.convert_to_tensor(one) for one in gradients]
        share = tf.cast(tf.shape(batch.targets)[0], tf.float32) / self._predictions
        for total, gradient in zip(self._collected, gradients, strict=True):
            total.assign_add(share * gradient)
        return tf.linalg.global_norm(gradients)


def largest_weight(network: Network) -> float:
    """Return the largest absolute weight of `network`; NaN if any weight is NaN."""
    # Without a table of absolute values, which would take as much memory as the weights.
    values = (one.numpy() for one in network.trainable_variables)
    return float(np.max([max_ for one in values for max_ in (one.max(), -one.min())]))


def compiled_step(
    network: Network,
    use: Callable[[list[Any], Batch], tf.Tensor],
    reads: Callable[[tf.Tensor], None] = lambda _: None,
) -> Any:
    """Return a compiled training step: (batch, states, step number) -> (loss, gradient norm, new states).

    `use` receives the gradients of `network.trainable_variables`, some of them sparse, applies them, and
    returns their norm. Before that, `reads` receives the items whose embeddings the step reads, if it does
    not read all.
    """
    indexes = tf.TensorSpec([None], tf.int32)
    batch = Batch(
        tf.TensorSpec([None, None], tf.int32), indexes, indexes, indexes, tf.TensorSpec([None], tf.bool)
    )
    signature = [batch, tf.TensorSpec([None, network.state_size]), tf.TensorSpec([], tf.int32)]

    # With this signature, one trace serves batches of all shapes.
    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def step(batch: Batch, states: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        reads(network.rows_of(batch))
        with tf.GradientTape() as tape:
            loss, after = network.loss_of(batch, states, number)
        found = tape.gradient(loss, network.trainable_variables)
        return loss, use(found, batch), after

    return step


def _batches(sessions: Sessions, settings: FitSettings) -> Batches:
    size, length, seed = (
        settings.training.batch_clicks,
        settings.training.max_session_clicks,
        settings.training.seed,
    )
    if settings.training.carry_state:
        return Carried(sessions, predictions=size, length=length, seed=seed)
    return Shuffled(sessions, predictions=size, max_length=length, seed=seed)
