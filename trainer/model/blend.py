"""The blend: terms for current popularity, transitions and repeats, added to the network's scores.

    logit of item o = n * network                           a scalar factor
        + sum_k p_k log(floor + popularity_k[o])            the same for all users: `output_bias`
        + sum_k t_k log(1 + transitions_k[last, o] / unit)  a sparse row per item: `transition_scores`
        + sum_l r_l [o was clicked l clicks ago]            within the session: `repeat_bias`
        + w log(1 + decayed count of o / unit)              the user's own clicks, in any session: `own_items`

The few weights n, p, t, r and w minimise cross-entropy on held-out clicks. These clicks are neither in the
network's training data nor in the counts: the network fits its training clicks so well that the other terms
would seem useless.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from trainer.config import FitSettings
from trainer.dataset.decayed_counts import Past, popularity, transitions
from trainer.model.backend import tf
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM, Indexes, OwnGains, OwnItems, own_gains
from worker.settings.fields import duration_text

_FLOOR: Final = 0.1
"""Added to all popularity counts, so that items without clicks have a finite logarithm."""

UNPOPULAR: Final = math.log(_FLOOR)
"""The log popularity of an item without clicks."""

_UNIT: Final = 0.3
"""Unit of transition counts; counts far below it add almost nothing."""

RATE: Final = 0.1
"""Default initial learning rate of the weights."""

_BATCH: Final = 256
_NEVER: Final = -1e9
"""Added to the logit of an item that may not be recommended."""


class Priors(NamedTuple):
    """Logarithms of decayed counts at a given time.

    `popularity` `[N, K]`: per item and half-life. `following` `[N, E]`: the successors of each item, padded
    with `NO_ITEM`. `transitions` `[N, E, K]`: per item, successor and half-life.
    """

    popularity: Floats
    following: Indexes
    transitions: Floats


class Terms(NamedTuple):
    """The terms that a release adds to its scores; `network` is the factor of the network's scores."""

    network: float
    output_bias: Floats
    transition_items: Indexes
    transition_scores: Floats
    repeat_bias: Floats
    own_items: OwnItems = OwnItems()

    def added_to(self, tensors: Mapping[str, Floats]) -> dict[str, Any]:
        """Return the `tensors` of a release with the bias and the transitions of the blend added.

        The other terms, `network`, `repeat_bias` and `own_items`, belong in the manifest.
        """
        added: dict[str, Any] = dict(tensors)
        if self.output_bias.any() or "output_bias" in tensors:
            own = tensors.get("output_bias", np.zeros_like(self.output_bias))
            added["output_bias"] = own * np.float32(self.network) + self.output_bias
        if self.transition_items.shape[1]:
            added["transition_items"] = self.transition_items
            added["transition_scores"] = self.transition_scores
        return added

    def added_to_scores(self, network: Floats, clicked: Indexes) -> Floats:
        """Return the blended scores `[N]` after the session `clicked`, given the `network` scores `[N]`.

        The user has no earlier clicks.
        """
        scores = network * np.float32(self.network) + self.output_bias
        if not len(clicked):
            return scores
        last = clicked[-1]
        used = self.transition_items[last] != NO_ITEM
        np.add.at(scores, self.transition_items[last][used], self.transition_scores[last][used])
        recent = clicked[::-1][: len(self.repeat_bias)]
        np.add.at(scores, recent, self.repeat_bias[: len(recent)])
        if self.own_items.clicks:
            _, items, gains = own_gains(clicked[None, ::-1][:, : self.own_items.clicks], self.own_items)
            scores[items] += gains
        return scores


class Lessons(NamedTuple):
    """P training examples for the weights of the blend."""

    hidden: Floats
    """`[P, H]`: hidden vectors; the product with an item's output vector is the network's score."""
    recent: Indexes
    """`[P, R]`: the preceding clicks in the session, newest first, padded with `NO_ITEM`."""
    excluded: Indexes
    """`[P, X]`: the items that may not be recommended, padded with `NO_ITEM`."""
    targets: Indexes
    """`[P]`: the items that were clicked next."""
    own: Indexes
    """`[P, M]`: the user's preceding clicks in any session, newest first, padded with `NO_ITEM`."""

    def usable(self) -> Lessons:
        """Return the examples whose last clicked item is known and whose target is known and not excluded."""
        shown = ~(self.excluded == self.targets[:, None]).any(axis=1)
        return self.only(shown & (self.targets != NO_ITEM) & (self.recent[:, 0] != NO_ITEM))

    def only(self, chosen: Any) -> Lessons:
        """Return the examples that `chosen` selects, an array of indexes or a mask."""
        return Lessons(*(column[chosen] for column in self))


def priors_at(past: Past, now_ms: int, settings: FitSettings, *, items: int) -> Priors:
    """Return the log counts of `past` at `now_ms`, for the half-lives in `settings`."""
    counts = popularity(past, now_ms, _hours(settings.blend.popularity_half_lives), items=items)
    following = transitions(
        past,
        now_ms,
        _hours(settings.blend.transition_half_lives),
        items=items,
        entries=settings.blend.transitions if settings.blend.transition_half_lives else 0,
    )
    return Priors(np.log(counts + np.float32(_FLOOR)), following.items, np.log1p(following.counts / _UNIT))


def _hours(durations: Iterable[float]) -> list[float]:
    return [seconds / 3_600 for seconds in durations]


class Blend:
    """The weights of the blend. Initially the network's factor is 1 and all other weights are 0.

    `own_half_life`: the half-life of a user's own items, in clicks; 0: no such term.
    """

    def __init__(self, settings: FitSettings, own_half_life: float = 0.0) -> None:
        sizes = {
            "popularity": len(settings.blend.popularity_half_lives),
            "transitions": len(settings.blend.transition_half_lives),
            "repeats": settings.blend.repeat_lags,
            "own_items": 1 if own_half_life else 0,
        }
        self._own_half_life = own_half_life
        self._seed, self._settings = settings.training.seed, settings.blend
        # The logarithm of the network's factor, so that the factor stays positive.
        self._network = tf.Variable(0.0)
        self._weights = {name: tf.Variable(tf.zeros(size)) for name, size in sizes.items()}
        self._variables = [self._network, *self._weights.values()]
        # Hot path: the windows of an online training differ in size, and a trace takes as long as a hundred
        # steps. `reduce_retracing` avoids a trace for each size.
        self._downhill = tf.function(self._gradients, reduce_retracing=True, autograph=False)

    @property
    def weights(self) -> dict[str, Any]:
        """The weights in the format of the manifest."""
        found = {name: np.round(weight.numpy(), 4).tolist() for name, weight in self._weights.items()}
        own = {"own_half_life": self._own_half_life} if found["own_items"] else {}
        return {"network": round(self._factor, 4), **found, **own}

    def in_words(self) -> str:
        """Return the weights as one line of text for display.

        Of the repeat weights, only the weight of the last item and the mean over all lags are included.
        """
        popular, following, repeats, own = (weight.numpy() for weight in self._weights.values())
        parts = [f"{self._factor:.2f} x network"]
        for title, weights, spans in (
            ("popularity", popular, self._settings.popularity_half_lives),
            ("followers of the last item", following, self._settings.transition_half_lives),
        ):
            if len(weights):
                named = (
                    f"{weight:.2f} over {duration_text(span)}"
                    for weight, span in zip(weights, spans, strict=True)
                )
                parts.append(f"{title} ({', '.join(named)})")
        if len(repeats):
            parts.append(f"repeats ({repeats[0]:.2f} for the last item, {np.mean(repeats):.2f} on average)")
        if len(own):
            parts.append(f"the user's own items ({own[0]:.2f}, halved after {self._own_half_life:g} clicks)")
        return "score = " + " + ".join(parts)

    def terms(self, priors: Priors) -> Terms:
        """Return the terms of a release: `priors` multiplied by the weights."""
        popular, following, repeats, own = (weight.numpy() for weight in self._weights.values())
        return Terms(
            self._factor,
            priors.popularity @ popular,
            priors.following,
            priors.transitions @ following,
            repeats,
            OwnItems(self._settings.own_items, float(own[0]), self._own_half_life)
            if len(own)
            else OwnItems(),
        )

    def learn(
        self,
        lessons: Lessons,
        tensors: Mapping[str, Floats],
        priors: Priors,
        *,
        steps: int,
        rate: float = RATE,
    ) -> None:
        """Train the weights on `lessons`, using the item vectors and the bias in `tensors`.

        The learning rate falls from `rate` to 0 along a cosine over `steps` steps.
        """
        lessons = lessons.usable()
        if not len(lessons.targets):
            return
        adam, fixed = _Adam(len(self._variables)), _constants(tensors, priors)
        for step, chosen in enumerate(self._drawn(len(lessons.targets), steps)):
            gradients = [one.numpy() for one in self._downhill(*self._asked(lessons.only(chosen)), *fixed)]
            moves = adam.moves(gradients, rate * (1 + math.cos(math.pi * step / steps)) / 2)
            for variable, move in zip(self._variables, moves, strict=True):
                variable.assign_sub(move)

    def losses(self, lessons: Lessons, tensors: Mapping[str, Floats], priors: Priors) -> Floats:
        """Return the cross-entropy of each of the `lessons`, all of which must be usable, `[P]`."""
        fixed, losses = _constants(tensors, priors), []
        for begin in range(0, len(lessons.targets), _BATCH):
            some = self._asked(lessons.only(slice(begin, begin + _BATCH)))
            losses.append(self._losses(*some, *fixed).numpy())
        return np.concatenate(losses)

    def _asked(self, lessons: Lessons) -> tuple[Any, Any]:
        """Return `lessons` as tensors, and the gains of own items at a weight of 1."""
        gains = None
        if self._own_half_life:
            gains = own_gains(lessons.own, OwnItems(lessons.own.shape[1], 1.0, self._own_half_life))
            gains = OwnGains(*map(tf.constant, gains))
        return Lessons(*map(tf.constant, lessons)), gains

    @property
    def _factor(self) -> float:
        return math.exp(float(self._network.numpy()))

    def _drawn(self, count: int, steps: int) -> Iterator[Indexes]:
        random = np.random.default_rng(self._seed)
        for _ in range(steps):
            yield random.choice(count, min(_BATCH, count), replace=False).astype(np.int32)

    def _gradients(self, lessons: Lessons, gains: Any, table: Any, bias: Any, priors: Priors) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self._losses(lessons, gains, table, bias, priors))
        return tape.gradient(loss, self._variables, unconnected_gradients="zero")

    def _losses(self, lessons: Lessons, gains: Any, table: Any, bias: Any, priors: Priors) -> Any:
        weights, last = self._weights, lessons.recent[:, 0]
        logits = tf.exp(self._network) * (tf.matmul(lessons.hidden, table, transpose_b=True) + bias)
        logits += tf.linalg.matvec(priors.popularity, weights["popularity"])
        followers = tf.linalg.matvec(tf.gather(priors.transitions, last), weights["transitions"])
        logits = _added(logits, tf.gather(priors.following, last), followers)
        lags = weights["repeats"].shape[0]
        repeated = tf.broadcast_to(weights["repeats"], (tf.shape(last)[0], lags))
        logits = _added(logits, lessons.recent[:, :lags], repeated)
        if gains is not None:
            places = tf.stack([gains.rows, tf.cast(gains.items, tf.int64)], axis=1)
            logits = tf.tensor_scatter_nd_add(logits, places, weights["own_items"] * gains.gains)
        logits = _added(logits, lessons.excluded, tf.fill(tf.shape(lessons.excluded), _NEVER))
        return tf.nn.sparse_softmax_cross_entropy_with_logits(lessons.targets, logits)


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


def _constants(tensors: Mapping[str, Floats], priors: Priors) -> tuple[Any, Any, Any]:
    """Return the item vectors, their bias and the priors as tensors."""
    table = tensors.get("output", tensors["embedding"])
    bias = tensors.get("output_bias", np.zeros(len(table), np.float32))
    return tf.constant(table), tf.constant(bias), Priors(*map(tf.constant, priors))


def _added(logits: Any, items: Any, values: Any) -> Any:
    """Return `logits` `[P, N]` with `values` `[P, X]` added at `items` `[P, X]`; `NO_ITEM` is skipped."""
    used = tf.where(items != NO_ITEM)
    places = tf.stack([used[:, 0], tf.cast(tf.gather_nd(items, used), tf.int64)], axis=1)
    return tf.tensor_scatter_nd_add(logits, places, tf.gather_nd(values, used))
