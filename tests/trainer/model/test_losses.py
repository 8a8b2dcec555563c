from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.model import losses
from trainer.model.backend import tf

ITEMS, PREDICTIONS, SIZE = 7, 9, 4
TARGETS = np.random.default_rng(5).integers(ITEMS, size=PREDICTIONS)
CANDIDATES = np.array([3, 0, 3, 6, 1])
EXPECTED = np.array([0.8, 0.3, 0.8, 0.1, 1.4])

Doubles = NDArray[np.float64]


@pytest.fixture
def drawn() -> tuple[Doubles, Doubles]:
    """Hidden vectors and an item table; some targets come twice, some candidates are targets."""
    random = np.random.default_rng(5)
    return random.standard_normal((PREDICTIONS, SIZE)), random.standard_normal((ITEMS, SIZE))


def scored(hidden: Doubles, table: Doubles) -> losses.Scored:
    """The targets beside `CANDIDATES`."""
    return scored_tensors(*(tf.constant(one, tf.float32) for one in (hidden, table)))


def scored_tensors(hidden: tf.Tensor, table: tf.Tensor) -> losses.Scored:
    """The same of tensors, so that there is a gradient."""
    vectors = tf.gather(table, np.append(TARGETS, CANDIDATES))
    targets, candidates = tf.constant(TARGETS), tf.constant(CANDIDATES)
    return losses.score(hidden, targets, vectors, candidates, tf.constant(np.log(EXPECTED), tf.float32))


def by_hand(one: Callable[[float, Doubles, Doubles], float], hidden: Doubles, table: Doubles) -> list[float]:
    """`one` loss of each target's score, those of the other candidates, and their expected counts."""
    found = []
    for vector, target in zip(hidden, TARGETS, strict=True):
        others = CANDIDATES != target
        found.append(one(vector @ table[target], table[CANDIDATES[others]] @ vector, EXPECTED[others]))
    return found


def softmax(scores: Doubles) -> Doubles:
    """The textbook's."""
    return np.exp(scores) / np.exp(scores).sum()


def sigmoid(scores: Doubles) -> Doubles:
    """Ditto."""
    return 1 / (1 + np.exp(-scores))


def sampled(target: float, others: Doubles, expected: Doubles) -> float:
    """Cross-entropy with the estimated sum."""
    return float(np.log(np.exp(target) + np.sum(np.exp(others) / expected)) - target)


def bpr_max(target: float, others: Doubles, expected: Doubles) -> float:
    """With a penalty of 0.3."""
    share = softmax(others)
    return float(-np.log(share @ sigmoid(target - others)) + 0.3 * share @ others**2)


def top1_max(target: float, others: Doubles, expected: Doubles) -> float:
    """As published."""
    return float(softmax(others) @ (sigmoid(others - target) + sigmoid(others**2)))


def squared(target: float, others: Doubles, expected: Doubles) -> float:
    """Half the squares, each as many times as it stands for items."""
    return float(((target - 1) ** 2 + np.sum(others**2 / expected)) / 2)


FORMULAS = [
    (losses.sampled_cross_entropy, sampled),
    (lambda scored: losses.bpr_max(scored, penalty=0.3), bpr_max),
    (losses.top1_max, top1_max),
    (losses.squared_error, squared),
]


@pytest.mark.parametrize(("ours", "formula"), FORMULAS, ids=["sampled", "bpr_max", "top1_max", "squared"])
def test_a_loss_is_its_formula(
    ours: losses.Loss,
    formula: Callable[[float, Doubles, Doubles], float],
    drawn: tuple[Doubles, Doubles],
) -> None:
    """In value and, by differences, in both gradients; a candidate that is the target counts nowhere."""
    hidden, table = drawn

    np.testing.assert_allclose(ours(scored(hidden, table)), by_hand(formula, hidden, table), rtol=1e-5)
    check_gradients(
        lambda h, t: tf.reduce_sum(ours(scored_tensors(h, t))),
        lambda h, t: sum(by_hand(formula, h, t)),
        hidden,
        table,
    )


def check_gradients(
    ours: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    formula: Callable[[Doubles, Doubles], float],
    hidden: Doubles,
    table: Doubles,
) -> None:
    """The gradients of `ours` are the central differences of `formula`."""
    variables = [tf.Variable(one, dtype=tf.float32) for one in (hidden, table)]
    with tf.GradientTape() as tape:
        loss = ours(*variables)
    for which, gradient in enumerate(tape.gradient(loss, variables)):
        found = tf.convert_to_tensor(gradient).numpy()
        for place in np.ndindex(found.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [hidden.copy(), table.copy()]
                moved[which][place] += step
                ends.append(formula(*moved))
            assert found[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-4, rel=1e-3)


def whole(smoothing: float) -> Callable[[Doubles, Doubles], Doubles]:
    """Cross-entropy over the catalogue with smoothed targets, by the textbook."""

    def formula(hidden: Doubles, table: Doubles) -> Doubles:
        wanted = (1 - smoothing) * np.eye(ITEMS)[TARGETS] + smoothing / ITEMS
        logits = hidden @ table.T
        return -np.sum(wanted * (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))), axis=1)

    return formula


@pytest.mark.parametrize("bound", [None, 10.0, 40.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_fast_cross_entropy_is_the_textbooks(
    bound: float | None, smoothing: float, drawn: tuple[Doubles, Doubles]
) -> None:
    """In value and gradients, with targets smoothed or not; the bound changes nothing."""

    def ours(hidden: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
        return losses.softmax_cross_entropy(hidden, table, tf.constant(TARGETS), bound, smoothing)

    formula = whole(smoothing)

    found = ours(*(tf.constant(one, tf.float32) for one in drawn))
    np.testing.assert_allclose(found, formula(*drawn), rtol=1e-4)
    check_gradients(lambda h, t: tf.reduce_sum(ours(h, t)), lambda h, t: float(formula(h, t).sum()), *drawn)


def test_smoothing_a_sampled_target_estimates_the_mean_of_all_scores(drawn: tuple[Doubles, Doubles]) -> None:
    """With every item drawn once as expected it is the mean itself."""
    hidden, table = drawn
    everything = np.arange(ITEMS)
    vectors = tf.constant(table[np.append(TARGETS, everything)], tf.float32)
    scored = losses.score(
        tf.constant(hidden, tf.float32),
        tf.constant(TARGETS),
        vectors,
        tf.constant(everything),
        tf.zeros(ITEMS),
    )

    found = losses.sampled_cross_entropy(scored, smoothing=0.2)

    np.testing.assert_allclose(found, whole(0.2)(hidden, table), rtol=1e-4)
