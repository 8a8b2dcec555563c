from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from tests.trainer.builders import sessions_of
from trainer.config import FitSettings, Loss
from trainer.dataset.batches import Batch, Carried, assemble
from trainer.dataset.sessions import Sessions
from trainer.model.backend import keras, tf
from trainer.model.network import Network
from trainer.model.optimizer import Optimizer
from worker.core.cells import CELLS

SETTINGS = FitSettings.of(hidden_size=6, dropout=0.0)
COUNTS = np.array([9, 8, 7, 6, 5, 4, 3, 2, 1])


def loss_of(network: Network, sessions: Sessions, *chosen: int, number: int = 0) -> float:
    """The loss of a batch of the `chosen` sessions, all of them fresh."""
    batch = assemble(sessions, np.array(chosen))
    batch = batch._replace(negatives=network.negatives.draw(number))
    loss, _ = network.loss_of(Batch(*map(tf.constant, batch)), tf.zeros((1, network.state_size)), number)
    return float(loss)


@pytest.mark.parametrize("loss", get_args(Loss.model_fields["function"].annotation))
def test_padding_and_company_change_no_loss(loss: str) -> None:
    """The loss of a batch is the mean over its predictions as if every session stood alone."""
    network = Network(COUNTS, SETTINGS.replaced(function=loss))
    sessions = sessions_of([1, 2, 3, 4], [5, 6], [7, 8, 0])

    together = loss_of(network, sessions, 0, 1, 2)
    alone = [loss_of(network, sessions, one) for one in range(3)]

    assert together == pytest.approx(np.average(alone, weights=[3, 1, 2]), rel=1e-5)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("output_bias", [True, False])
def test_many_negatives_come_to_the_loss_over_the_whole_catalogue(
    *, normalize: bool, output_bias: bool
) -> None:
    """The estimate has no bias: with 5,000 draws of 9 items it is within two hundredths."""
    settings = SETTINGS.replaced(scale=4.0, normalize=normalize, output_bias=output_bias, negatives=5000)
    sampled, sessions = Network(COUNTS, settings), sessions_of([1, 2, 3, 4], [5, 6], [7, 8, 0])
    whole = Network(COUNTS, settings.replaced(negatives=0))
    random = np.random.default_rng(3)
    whole.set_weights([random.normal(0, 0.5, weight.shape) for weight in whole.get_weights()])
    sampled.set_weights(whole.get_weights())

    assert loss_of(sampled, sessions, 0, 1, 2) == pytest.approx(loss_of(whole, sessions, 0, 1, 2), abs=0.02)


def test_targets_need_not_be_negatives_of_each_other() -> None:
    """Without, a target is compared with the drawn items alone: loss and gradient are those by hand.

    An item that was drawn twice counts twice, and a target that was drawn not at all.
    """
    free = SETTINGS.replaced(output_table="separate", normalize=False, negatives=5, batch_negatives=False)
    network, drawn = Network(COUNTS, free), np.array([3, 0, 3, 6, 2], np.int32)
    random = np.random.default_rng(3)
    network.set_weights([random.normal(0, 0.7, weight.shape) for weight in network.get_weights()])
    batch = assemble(sessions_of([1, 2, 3, 4], [5, 6], [7, 8, 0]), np.arange(3))._replace(negatives=drawn)
    tensors, states = Batch(*map(tf.constant, batch)), tf.zeros((1, network.state_size))

    with tf.GradientTape() as tape:
        loss, _ = network.loss_of(tensors, states, 0)
    gradient = tf.convert_to_tensor(tape.gradient(loss, network.outputs_of.own)).numpy()

    walked, _ = network.walk(tensors, states, 0)
    hidden = walked.numpy().reshape(-1, free.model.hidden_size)[batch.places]
    table, expected = network.tensors()["output"], network.negatives.expected
    losses, by_hand = [], np.zeros_like(table)
    for vector, target in zip(hidden, batch.targets, strict=True):
        items = np.append(target, drawn[drawn != target])
        weights = np.exp(table[items] @ vector) / np.append(1, expected[items[1:]])
        losses.append(-np.log(weights[0] / weights.sum()))
        pull = weights / weights.sum() - (np.arange(len(items)) == 0)
        np.add.at(by_hand, items, pull[:, None] * vector / len(batch.targets))
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-5)
    np.testing.assert_allclose(gradient, by_hand, atol=1e-5)


@pytest.mark.slow
def test_the_rest_of_a_session_counts_once_among_the_targets_of_a_batch() -> None:
    """On average over the company it is in, a session has about the loss over the whole catalogue.

    Of 300 items, each clicked in one session of six alone, a batch of 20 sessions has a third by chance, but
    those of the session itself for certain. Here these have high scores: they are all alike, and the hidden
    vector is the last item's.
    """
    random, sessions = np.random.default_rng(3), sessions_of(*np.arange(300).reshape(-1, 6).tolist())
    settings = SETTINGS.replaced(scale=4.0)
    whole, sampled = (
        Network(np.ones(300, np.int64), settings.replaced(negatives=count)) for count in (0, 300)
    )
    kernel, forgetful = np.hstack([np.zeros((6, 12)), np.eye(6)]), np.zeros((2, 18))
    forgetful[:, :6] = -20
    vectors = np.repeat(random.standard_normal((50, 6)), 6, axis=0)
    for network in (whole, sampled):
        network.cells[0].set_weights([kernel, np.zeros((6, 18)), forgetful])
        network.inputs_of.own.assign(vectors)
    everyone = np.arange(len(sessions))

    found = [
        loss_of(sampled, sessions, *random.choice(everyone, 20, replace=False), number=number)
        for number in range(50)
    ]

    assert np.mean(found) == pytest.approx(loss_of(whole, sessions, *everyone), abs=0.05)


def test_rare_targets_can_count_more() -> None:
    """With a power of 1 a target whose item has 1 click counts 9 times one whose item has 9."""
    even, tilted = (Network(COUNTS, SETTINGS.replaced(class_weight_power=power)) for power in (0.0, 1.0))
    tilted.set_weights(even.get_weights())

    ratios = [
        loss_of(tilted, sessions_of([4, one]), 0) / loss_of(even, sessions_of([4, one]), 0) for one in (8, 0)
    ]

    assert ratios[0] / ratios[1] == pytest.approx(9, rel=1e-4)


@pytest.mark.parametrize("place", ["dropout", "hidden_dropout"])
def test_dropout_is_on_in_training_and_off_in_answers(place: str) -> None:
    """Steps of a training hide different numbers, the same step always the same ones, an answer none."""
    network = Network(
        COUNTS,
        SETTINGS.replaced(dropout=0.5 * (place == "dropout"), hidden_dropout=0.5 * (place != "dropout")),
    )
    sessions, items = sessions_of([1, 2, 3]), np.array([1, 2], np.int32)

    first, again, other = (loss_of(network, sessions, 0, number=number) for number in (1, 1, 2))
    assert first == again
    assert first != other
    np.testing.assert_array_equal(network.answer(items)[1], network.answer(items)[1])


@pytest.mark.parametrize("cell", CELLS)
def test_a_session_in_pieces_is_the_session(cell: str) -> None:
    """With the state handed on, two pieces predict as the whole; a fresh row ignores what is handed on."""
    network = Network(COUNTS, SETTINGS.replaced(cell=cell, layers=2))
    sessions = sessions_of([1, 2, 3, 4, 5])
    whole = loss_of(network, sessions, 0)

    states, found = tf.fill((1, network.state_size), 0.7), []
    for batch in Carried(sessions, predictions=2, length=2, seed=0).epoch(0):
        loss, states = network.loss_of(Batch(*map(tf.constant, batch)), states, 0)
        found.append(float(loss))

    assert np.mean(found) == pytest.approx(whole, rel=1e-5)


def test_the_textbooks_network_can_be_said() -> None:
    """`h = tanh(Whh h + Wxh x + b)`, `y = Why h + b`, `L = 1/2 sum (y - y*)^2`, each number of it."""
    settings = SETTINGS.replaced(
        cell="elman",
        embedding_size=4,
        output_table="separate",
        normalize=False,
        output_bias=True,
        function="squared_error",
    )
    network = Network(COUNTS, settings)
    random = np.random.default_rng(3)
    network.set_weights([random.normal(0, 0.5, weight.shape) for weight in network.get_weights()])
    t = network.tensors()

    h = np.tanh(t["embedding"][1] @ t["kernel"] + t["bias"])
    h = np.tanh(h @ t["recurrent_kernel"] + t["embedding"][2] @ t["kernel"] + t["bias"])
    y = t["output"] @ h + t["output_bias"]

    np.testing.assert_allclose(network.answer(np.array([1, 2], np.int32))[1], y, rtol=1e-4)
    sessions = sessions_of([1, 2, 3])
    sessions.scored[1] = False
    expected = np.sum((y - np.eye(9)[3]) ** 2) / 2
    assert loss_of(network, sessions, 0) == pytest.approx(expected, rel=1e-4)


def gradients_over(steps: int, network: Network, variables: list[Any]) -> list[tf.Tensor]:
    """How the loss on a target after so many steps moves with each of `variables`."""
    items = np.append(0, np.random.default_rng(0).integers(1, 8, steps))
    sessions = sessions_of([*items.tolist(), 8])
    sessions.scored[:-1] = False
    batch = Batch(*map(tf.constant, assemble(sessions, np.array([0]))))
    with tf.GradientTape() as tape:
        loss, _ = network.loss_of(batch, tf.zeros((1, network.state_size)), 0)
    return [tf.convert_to_tensor(one) for one in tape.gradient(loss, variables)]


def first_items_share(steps: int, settings: FitSettings) -> float:
    """How much the loss after so many steps moves with the first item."""
    keras.utils.set_random_seed(2)
    network = Network(COUNTS, settings)
    (own,) = gradients_over(steps, network, [network.inputs_of.own])
    return float(tf.linalg.norm(own[0]))


@pytest.mark.slow
def test_gates_keep_gradients_alive_where_elman_loses_them() -> None:
    """After 200 steps the first item does not move an Elman cell's loss; gates that remember keep it."""
    plain = SETTINGS.replaced(hidden_size=16, output_table="separate")
    lost = first_items_share(200, plain.replaced(cell="elman"))
    kept = [first_items_share(200, plain.replaced(cell=cell, memory_clicks=400)) for cell in ("gru", "lstm")]

    assert lost < 1e-8
    assert min(kept) > 1e-5


@pytest.mark.slow
def test_clipping_keeps_a_step_small_where_gradients_explode() -> None:
    """After 200 steps of an Elman cell that amplifies a step is wild, unless gradients are clipped."""
    settings = SETTINGS.replaced(cell="elman", hidden_size=16, algorithm="sgd", learning_rate=0.1)
    norms, moved = list[float](), dict[float, float]()
    for limit in (1.0, 0.0):
        keras.utils.set_random_seed(2)
        network = Network(COUNTS, settings.replaced(clip_norm=limit))
        cell = network.cells[0]
        kernel, recurrent, bias = cell.get_weights()
        # Small inputs and a gain of 1.15 keep tanh in its straight part: gradients grow step by step.
        cell.set_weights([kernel * 1e-12, recurrent * 1.15, bias])
        weights = network.trainable_variables
        before = [one.numpy() for one in weights]
        optimizer = Optimizer(weights, network.settings, epochs=1, steps=10)
        norms.append(float(optimizer.move(gradients_over(200, network, weights))))
        after = [one.numpy() for one in weights]
        moved[limit] = float(np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(after, before, strict=True))))

    assert min(norms) > 100
    assert moved[1.0] == pytest.approx(0.1, rel=0.01)
    assert moved[0.0] > 10


@pytest.mark.parametrize("cell", CELLS)
def test_the_tensors_have_the_shapes_of_a_release(cell: str) -> None:
    """What a release of each cell needs, with unit item vectors."""
    tensors = Network(COUNTS, FitSettings.of(cell=cell, hidden_size=6)).tensors()

    width = CELLS[cell].gates * 6
    assert tensors["kernel"].shape == tensors["recurrent_kernel"].shape == (6, width)
    assert tensors["bias"].shape == CELLS[cell].bias_shape(6)
    np.testing.assert_allclose(np.linalg.norm(tensors["embedding"], axis=1), np.ones(9), rtol=1e-5)


def test_a_seed_gives_the_same_weights() -> None:
    """Fresh weights come from Keras' global seed alone."""
    drawn = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        drawn.append(Network(COUNTS, SETTINGS).tensors())

    for name, tensor in drawn[0].items():
        np.testing.assert_array_equal(tensor, drawn[1][name])
