"""The blend: popularity, transitions, co-occurrences, repeats and own items, added to the network's scores.

    logit of item o = n * network                               a scalar factor
        + sum_k p_k log(floor + popularity_k[o])                the same for all users: `output_bias`
        + sum_k t_k log(1 + transitions_k[last, o] / unit)      a sparse row per item: `transition_scores`
        + c sum_l 1 / (1 + l) log(1 + near[item_l, o] / unit)   the same for a few last clicks, l clicks ago
        + sum_l r_l [o was clicked l clicks ago]                within the session: `repeat_bias`
        + b [own[o] > 0] + w log(1 + own[o] / unit)             the user's clicks in any session: `own_items`

`r_l` is a sum of three curves, `sum_j r_j 2^(-l / h_j)`: with a weight for each lag, far lags would fit the
noise of a few thousand clicks.

`own` counts a user's last clicks, with a half-life of `OWN_HALF_LIFE` clicks. Its weights b and w are
negative where nobody clicks the same item again.

The few weights n, p, t, c, r, b and w minimise cross-entropy on held-out clicks. These clicks are neither
in the network's training data nor in the counts: the network fits its training clicks so well that the
other terms would seem useless. `choose` leaves out the terms that do not help.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from trainer.config import FitSettings
from trainer.model.backend import tf
from trainer.model.compared import Compared, Lessons, Part, compared_over
from trainer.model.negatives import Negatives
from trainer.model.terms import CO_OCCURRENCE_DECAY, OWN_HALF_LIFE, RECENT, Priors, Terms
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM, Indexes, OwnItems
from worker.settings.fields import duration_text

RATE: Final = 0.3
"""Default initial learning rate of the weights. With a third of it, the network's factor does not fall far
enough in a hundred steps where the other terms say more."""

_REPEAT_HALF_LIVES: Final = (0.5, 4.0, math.inf)
"""Half-lives, in clicks, of the curves whose sum the repeat weights are."""

_BATCH: Final = 256
_TESTED: Final = 8192
"""Maximum number of lessons on which `choose` compares two blends, for each half of the lessons."""

_WORTH: Final = 1e-3
"""The cross-entropy, in nats, that a term must gain to be worth its place in the release."""

_OWN_WORTH: Final = 1e-2
"""The same of own items, for which a worker keeps more of each user."""

_SURE: Final = 1.645
"""The number of standard errors that a term must gain: less may be chance (one-sided test, 5 %)."""

_FEWEST: Final = 10
"""Minimum number of lessons in each half to compare two blends on."""

_NEVER: Final = -1e9
"""Added to the logit of an item that may not be recommended."""


class Blend:
    """The weights of the blend. Initially the network's factor is 1 and all other weights are 0."""

    def __init__(self, settings: FitSettings) -> None:
        self._seed, self._settings = settings.training.seed, settings.blend
        lags = np.arange(settings.blend.repeat_lags)[:, None]
        # With fewer lags than curves, each lag has a weight of its own.
        half_lives = np.array(_REPEAT_HALF_LIVES[: len(lags)])
        self._curves = (0.5 ** (lags / half_lives)).astype(np.float32)
        """`[lags, curves]`: the curves of which the repeat weights are a sum."""
        sizes = {
            "popularity": len(settings.blend.popularity_half_lives),
            "transitions": len(settings.blend.transition_half_lives),
            "co_occurrences": 1 if settings.blend.co_occurrences else 0,
            "repeats": len(half_lives),
            "own_items": 2 if settings.blend.own_items else 0,
        }
        # The logarithm of the network's factor, so that the factor stays positive.
        self._network = tf.Variable(0.0)
        self._weights = {name: tf.Variable(tf.zeros(size)) for name, size in sizes.items()}
        self._variables = [self._network, *self._weights.values()]
        self._used = [name for name, size in sizes.items() if size]
        # Hot path: the windows of an online training differ in size, and a trace takes as long as a hundred
        # steps. `reduce_retracing` avoids a trace for each size.
        self._downhill = tf.function(self._gradients, reduce_retracing=True, autograph=False)
        self._measured = tf.function(self._losses, reduce_retracing=True, autograph=False)

    @classmethod
    def of(cls, settings: FitSettings, weights: Mapping[str, Any]) -> Self:
        """Return a blend with the `weights` in a manifest."""
        blend = cls(settings)
        blend._network.assign(math.log(weights["network"]))
        blend._used = [name for name in blend._used if weights.get(name)]
        for name in blend._used:
            known = np.array(weights[name], np.float32)
            if name == "repeats":
                # The manifest has a weight per lag.
                known = np.linalg.lstsq(blend._curves, known)[0]
            blend._weights[name].assign(known)
        return blend

    @property
    def used(self) -> tuple[str, ...]:
        """The names of the terms that are in the blend, as in `weights`."""
        return tuple(self._used)

    @property
    def weights(self) -> dict[str, Any]:
        """The weights in the format of the manifest; those of a term that is left out are empty.

        `repeats` has one weight per lag.
        """
        found = {name: weight.numpy() for name, weight in self._weights.items()}
        found["repeats"] = self._curves @ found["repeats"]
        used = {
            name: np.round(weight.astype(np.float64), 4).tolist() if name in self._used else []
            for name, weight in found.items()
        }
        return {"network": round(self._factor, 4), **used}

    def in_words(self) -> str:
        """Return the weights as one line of text for display.

        Of the repeat weights, only the weight of the last item and the mean over all lags are included.
        """
        weights, parts = self.weights, [f"{self._factor:.2f} x network"]
        for title, name, spans in (
            ("popularity", "popularity", self._settings.popularity_half_lives),
            ("followers of the last item", "transitions", self._settings.transition_half_lives),
        ):
            if weights[name]:
                named = (
                    f"{weight:.2f} over {duration_text(span)}"
                    for weight, span in zip(weights[name], spans, strict=True)
                )
                parts.append(f"{title} ({', '.join(named)})")
        if near := weights["co_occurrences"]:
            parts.append(f"items clicked near the last ones ({near[0]:.2f})")
        if repeats := weights["repeats"]:
            parts.append(f"repeats ({repeats[0]:.2f} for the last item, {np.mean(repeats):.2f} on average)")
        if own := weights["own_items"]:
            parts.append(f"the user's own items ({own[0]:.2f} + {own[1]:.2f} by their number of clicks)")
        return "score = " + " + ".join(parts)

    def terms(self, priors: Priors) -> Terms:
        """Return the terms of a release: `priors` multiplied by the weights."""
        popular, following, near, repeats, own = (weight.numpy() for weight in self._weights.values())
        counted = self._settings.own_items if "own_items" in self._used else 0
        return Terms(
            self._factor,
            priors.popularity @ popular,
            priors.following,
            priors.transitions @ following,
            priors.near,
            priors.co_occurrences * near.sum(),
            self._curves @ repeats,
            OwnItems(counted, float(own[1]), OWN_HALF_LIFE, float(own[0])) if counted else OwnItems(),
        )

    def choose(
        self,
        lessons: Lessons,
        half: NDArray[np.bool_],
        tensors: Mapping[str, Floats],
        priors: Priors,
        *,
        steps: int,
        negatives: Negatives | None = None,
    ) -> None:
        """Leave out the terms that do not help, one by one, and train the weights of the others.

        A term is left out if the cross-entropy without it is hardly higher, or if that may be chance; all
        are, if a half has fewer than `_FEWEST` usable lessons. To compare, the weights are trained on one
        `half` `[P]` of the lessons and measured on the other, and the reverse, each time from the start
        with half of the `steps`. The final weights are trained on all lessons. The other arguments are
        those of `learn`.
        """
        compared = compared_over(tensors, priors, negatives)
        halves = lessons.only(half).usable(), lessons.only(~half).usable()
        if min(len(one.targets) for one in halves) < _FEWEST:
            self._used = []
        else:
            lowest = self._held_out(halves, compared, steps)
            asked = self.used
            # From the last: of two terms that say the same, the one that `asked` names first stays.
            for name in reversed(asked):
                self._used.remove(name)
                without = self._held_out(halves, compared, steps)
                gained = without - lowest
                chance = _SURE * gained.std() / math.sqrt(len(gained))
                if gained.mean() < max(chance, _OWN_WORTH if name == "own_items" else _WORTH):
                    lowest = without
                else:
                    self._used = [one for one in asked if one in {name, *self._used}]
        self._begin()
        self._learn(lessons, compared, steps)

    def learn(
        self,
        lessons: Lessons,
        tensors: Mapping[str, Floats],
        priors: Priors,
        *,
        steps: int,
        rate: float = RATE,
        negatives: Negatives | None = None,
    ) -> None:
        """Train the weights on `lessons`, using the item vectors and the bias in `tensors`.

        The learning rate falls from `rate` to 0 along a cosine over `steps` steps. With `negatives` of the
        whole catalogue, lessons are compared over candidates (`trainer.model.compared`).
        """
        if len(lessons.usable().targets):
            self._learn(lessons, compared_over(tensors, priors, negatives), steps, rate)

    def _learn(self, lessons: Lessons, compared: Compared, steps: int, rate: float = RATE) -> None:
        lessons = lessons.usable()
        if not len(lessons.targets):
            return
        adam = _Adam(len(self._variables))
        moving = [True, *(name in self._used for name in self._weights)]
        for step, chosen in enumerate(self._drawn(len(lessons.targets), steps)):
            parts = compared.parts(lessons.only(chosen), self._seed, step)
            found = [[one.numpy() for one in self._downhill(part)] for part in parts]
            gradients = [np.sum(one, axis=0) / len(chosen) for one in zip(*found, strict=True)]
            moves = adam.moves(gradients, rate * (1 + math.cos(math.pi * step / steps)) / 2)
            for variable, move, moves_it in zip(self._variables, moves, moving, strict=True):
                if moves_it:
                    variable.assign_sub(move)

    @property
    def _factor(self) -> float:
        return math.exp(float(self._network.numpy()))

    def _begin(self) -> None:
        for variable in self._variables:
            variable.assign(tf.zeros_like(variable))

    def _held_out(self, halves: tuple[Lessons, Lessons], compared: Compared, steps: int) -> Floats:
        """Return the cross-entropy of each measured lesson, with weights trained on the half without it."""
        losses = list[float]()
        for taught, tested in (halves, halves[::-1]):
            self._begin()
            self._learn(taught, compared, max(1, steps // 2))
            count = len(tested.targets)
            measured = np.random.default_rng(self._seed).permutation(count)[:_TESTED].astype(np.int32)
            for number, chosen in enumerate(np.array_split(measured, -(-len(measured) // _BATCH))):
                for part in compared.parts(tested.only(chosen), self._seed, number):
                    losses += self._measured(part).numpy().tolist()
        return np.array(losses, np.float32)

    def _drawn(self, count: int, steps: int) -> Iterator[Indexes]:
        random = np.random.default_rng(self._seed)
        for _ in range(steps):
            yield random.choice(count, min(_BATCH, count), replace=False).astype(np.int32)

    def _gradients(self, part: Part) -> Any:
        """Return the gradients of the sum of the losses."""
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(self._losses(part))
        return tape.gradient(loss, self._variables, unconnected_gradients="zero")

    def _losses(self, part: Part) -> Any:
        lessons, gains, table, bias, priors, correction = part
        weights, last = self._weights, lessons.recent[:, 0]
        logits = tf.exp(self._network) * (tf.matmul(lessons.hidden, table, transpose_b=True) + bias)
        logits += tf.linalg.matvec(priors.popularity, weights["popularity"]) + correction
        followers = tf.linalg.matvec(tf.gather(priors.transitions, last), weights["transitions"])
        logits = _added(logits, tf.gather(priors.following, last), followers)
        if self._settings.co_occurrences:
            logits = _added(logits, *self._near(lessons.recent, priors))
        curves = tf.linalg.matvec(tf.constant(self._curves), weights["repeats"])
        repeated = tf.broadcast_to(curves, (tf.shape(last)[0], len(self._curves)))
        logits = _added(logits, lessons.recent[:, : len(self._curves)], repeated)
        if self._settings.own_items:
            places = tf.stack([gains.rows, tf.cast(gains.items, tf.int64)], axis=1)
            bonus, weight = tf.unstack(weights["own_items"])
            logits = tf.tensor_scatter_nd_add(logits, places, bonus + weight * gains.gains)
        logits = _added(logits, lessons.excluded, tf.fill(tf.shape(lessons.excluded), _NEVER))
        return tf.nn.sparse_softmax_cross_entropy_with_logits(lessons.targets, logits)

    def _near(self, recent: Any, priors: Priors) -> tuple[Any, Any]:
        """Return the items near the clicks `recent` and what each click gives them, both `[P, L * E]`."""
        clicked = recent[:, :RECENT]
        known = tf.maximum(clicked, 0)
        items = tf.where((clicked == NO_ITEM)[..., None], NO_ITEM, tf.gather(priors.near, known))
        decay = tf.constant(CO_OCCURRENCE_DECAY)[: tf.shape(clicked)[1], None]
        gains = tf.gather(priors.co_occurrences, known) * decay * self._weights["co_occurrences"]
        return tuple(tf.reshape(one, (tf.shape(recent)[0], -1)) for one in (items, gains))


class _Adam:
    """The Adam optimizer (Kingma & Ba, 2015). With few weights, Keras' Adam takes most of the time."""

    def __init__(self, count: int) -> None:
        self._means: list[Any] = [0.0] * count
        self._squares: list[Any] = [0.0] * count
        self._steps = 0

    def moves(self, gradients: list[Any], rate: float) -> list[Any]:
        """Return the step to subtract from each variable."""
        self._steps += 1
        self._means = [0.9 * m + 0.1 * g for m, g in zip(self._means, gradients, strict=True)]
        self._squares = [0.999 * s + 0.001 * g * g for s, g in zip(self._squares, gradients, strict=True)]
        rate *= math.sqrt(1 - 0.999**self._steps) / (1 - 0.9**self._steps)
        return [rate * m / (np.sqrt(s) + 1e-7) for m, s in zip(self._means, self._squares, strict=True)]


def _added(logits: Any, items: Any, values: Any) -> Any:
    """Return `logits` `[P, N]` with `values` `[P, X]` added at `items` `[P, X]`; `NO_ITEM` is skipped."""
    used = tf.where(items != NO_ITEM)
    places = tf.stack([used[:, 0], tf.cast(tf.gather_nd(items, used), tf.int64)], axis=1)
    return tf.tensor_scatter_nd_add(logits, places, tf.gather_nd(values, used))
