from __future__ import annotations

import numpy as np

from tests.trainer.builders import sessions_of
from trainer.dataset.batches import Carried, InOrder, Shuffled, assemble, pieces


def test_a_batch_predicts_each_next_click_and_nothing_else() -> None:
    """`places` are the clicks that have a successor, `targets` these successors; padding is neither."""
    batch = assemble(sessions_of([5, 6, 7], [8, 9]), np.array([0, 1]))

    assert batch.items.tolist() == [[5, 6], [8, 0]]
    assert batch.places.tolist() == [0, 1, 2]
    assert batch.targets.tolist() == [6, 7, 9]


def test_context_is_seen_but_not_predicted() -> None:
    """A click that is not scored is an input only."""
    sessions = sessions_of([5, 6, 7])
    sessions.scored[1] = False

    batch = assemble(sessions, np.array([0]))

    assert batch.items.tolist() == [[5, 6]]
    assert (batch.places.tolist(), batch.targets.tolist()) == ([1], [7])


def test_a_long_session_is_cut_into_overlapping_pieces() -> None:
    """Each piece begins half a length before what it is scored for."""
    cut = pieces(sessions_of(range(10), [1, 2]), 4)

    assert [items.tolist() for items in cut] == [
        [0, 1, 2, 3],
        [2, 3, 4, 5],
        [4, 5, 6, 7],
        [6, 7, 8, 9],
        [1, 2],
    ]
    assert cut.items[cut.scored].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 2]


def test_epochs_differ_and_a_seed_repeats_them() -> None:
    """Two epochs have the same clicks in other batches; the same seed gives the same epochs."""
    sessions = sessions_of(*[[number, number + 1, number + 2] for number in range(50)])

    def targets(seed: int, *epochs: int) -> list[list[int]]:
        batches = Shuffled(sessions, predictions=8, max_length=10, seed=seed)
        return [[int(one) for batch in batches.epoch(number) for one in batch.targets] for number in epochs]

    first, second = targets(1, 0, 1)

    assert first != second
    assert sorted(first) == sorted(second)
    assert targets(1, 1, 0) == [second, first]
    assert targets(2, 0) != [first]


def test_batches_in_order_have_the_sessions_in_order() -> None:
    """Whatever their lengths, in every epoch."""
    sessions = sessions_of([0, 1, 2, 3], [4, 5], [6, 7, 8], [9, 10], [11, 12, 13])
    batches = InOrder(sessions, predictions=3, max_length=10)
    epochs = [[batch.targets.tolist() for batch in batches.epoch(number)] for number in range(2)]

    assert epochs[0] == epochs[1] == [[1, 2, 3], [5, 7, 8], [10, 12, 13]]


def test_a_carried_session_goes_on_in_its_row() -> None:
    """Pieces of at most the length, in order, in one row; what begins anew says so; idle rows are empty."""
    batches = Carried(sessions_of(range(8), [10, 11, 12]), predictions=6, length=3, seed=0)
    epoch = list(batches.epoch(0))
    long = int(np.flatnonzero(np.isin(epoch[1].items, range(3, 6)).any(axis=1))[0])

    rows = [batch.items[long].tolist() for batch in epoch]
    assert rows == [[0, 1, 2], [3, 4, 5], [6]]
    assert [bool(batch.fresh[long]) for batch in epoch] == [True, False, False]
    assert [sorted(batch.targets.tolist()) for batch in epoch] == [[1, 2, 3, 11, 12], [4, 5, 6], [7]]
    assert all(batch.fresh[1 - long] for batch in epoch)
    assert len(epoch) <= len(batches)
