from __future__ import annotations

import numpy as np
import pytest

from trainer.config import FitSettings
from trainer.model.backend import keras, tf
from trainer.model.optimizer import KINDS, Optimizer, learning_rate
from worker.errors import SettingError

PLAIN = FitSettings.of(algorithm="sgd", learning_rate=0.1, schedule="constant", clip_norm=0.0)


def moved(settings: FitSettings, gradient: list[float], times: int = 1) -> list[float]:
    """Weights of 1 after so many steps against `gradient`."""
    weight = tf.Variable([1.0] * len(gradient))
    optimizer = Optimizer([weight], settings, epochs=1, steps=times)
    for _ in range(times):
        optimizer.move([tf.constant(gradient)])
    return weight.numpy().tolist()


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_optimizer_of_keras_goes_downhill(name: str) -> None:
    """By its name, compiled; a matrix, as some are for matrices."""
    weight = keras.Variable(np.full((2, 2), 3.0, np.float32))
    settings = FitSettings.of(algorithm=name, learning_rate=0.1, schedule="constant")
    optimizer = Optimizer([weight], settings, epochs=1, steps=5)

    for _ in range(5):
        optimizer.move([2 * tf.convert_to_tensor(weight)])

    assert np.all(weight.numpy() < 3)


def test_an_unknown_optimizer_is_refused_with_those_there_are() -> None:
    """When it is made, as only Keras knows."""
    with pytest.raises(
        SettingError, match=r"optimizer\.algorithm is 'downhill'; it must be one of .*adam, .*sgd"
    ):
        Optimizer([], FitSettings.of(algorithm="downhill"), epochs=1, steps=1)


def test_plain_descent_is_the_textbooks() -> None:
    """`w - rate * gradient`; with momentum the last move counts again; with decay the weight shrinks."""
    with_momentum = FitSettings.of(
        algorithm="sgd", momentum=0.5, learning_rate=0.1, schedule="constant", clip_norm=0.0
    )
    decayed = FitSettings.of(
        algorithm="sgd", weight_decay=0.5, learning_rate=0.1, schedule="constant", clip_norm=0.0
    )

    np.testing.assert_allclose(moved(PLAIN, [1.0, -2.0]), [0.9, 1.2], rtol=1e-6)
    np.testing.assert_allclose(moved(with_momentum, [1.0], times=2), [1 - 0.1 - 0.15], rtol=1e-6)
    np.testing.assert_allclose(moved(decayed, [0.0]), [1 - 0.1 * 0.5], rtol=1e-6)


def test_gradients_are_clipped_by_norm_and_by_value() -> None:
    """(3, 4) has norm 5: halved by a largest norm of 2.5; a largest value of 1 cuts both."""
    by_norm = FitSettings.of(algorithm="sgd", learning_rate=0.1, schedule="constant", clip_norm=2.5)
    by_value = FitSettings.of(
        algorithm="sgd", learning_rate=0.1, schedule="constant", clip_norm=0.0, clip_value=1.0
    )

    np.testing.assert_allclose(moved(by_norm, [3.0, 4.0]), [0.85, 0.8], rtol=1e-6)
    np.testing.assert_allclose(moved(by_value, [3.0, -4.0]), [0.9, 1.1], rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1]),
        ("linear", [1, 0.5, 0]),
        ("cosine", [1, 0.5, 0]),
        ("exponential", [1, 0.25**0.5, 0.25]),
        ("step", [1, 0.5, 0.25]),
    ],
)
def test_the_learning_rate_follows_its_schedule(schedule: str, expected: list[float]) -> None:
    """At the begin, in the middle and at the end of two epochs of ten steps, with a factor of one half."""
    rate = learning_rate(FitSettings.of(schedule=schedule, learning_rate=1.0), epochs=2, steps=10)

    np.testing.assert_allclose([float(rate(step)) for step in (0, 10, 20)], expected, atol=1e-6)


def test_it_rises_first() -> None:
    """In four even steps."""
    settings = FitSettings.of(schedule="constant", learning_rate=1.0, warmup_steps=4)
    rate = learning_rate(settings, epochs=1, steps=10)

    np.testing.assert_allclose([float(rate(step)) for step in range(5)], [0.25, 0.5, 0.75, 1, 1])


def test_the_average_stands_in_for_the_weights_and_goes_again() -> None:
    """Between where the weights were and where they are."""
    weight = tf.Variable([1.0])
    settings = FitSettings.of(
        algorithm="sgd", learning_rate=0.1, schedule="constant", clip_norm=0.0, average_decay=0.9
    )
    optimizer = Optimizer([weight], settings, epochs=1, steps=1)
    optimizer.move([tf.constant([1.0])])

    with optimizer.averaged():
        np.testing.assert_allclose(weight.numpy(), [1 - 0.1 * (1 - 2 / 11)], rtol=1e-6)
    np.testing.assert_allclose(weight.numpy(), [0.9], rtol=1e-6)
