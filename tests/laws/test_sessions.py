"""Laws of cutting clicks into sessions and of putting sessions into batches."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.builders import sessions_of, table
from trainer.dataset.batches import Shuffled, pieces
from trainer.dataset.sessions import cut

click_rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 50_000)), min_size=1, max_size=40
)
sequences = st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=30), min_size=1, max_size=20)


def sessions_by_rule(rows: list[tuple[str, str, int]], gap_ms: int) -> list[list[tuple[str, str, int]]]:
    """The sessions as the worker would see them, one click after the other."""
    latest: dict[str, int] = {}
    current: dict[str, list[tuple[str, str, int]]] = {}
    sessions = []
    for user, item, time in rows:
        if user not in latest or (gap_ms and time - latest[user] > gap_ms):
            current[user] = []
            sessions.append(current[user])
        current[user].append((user, item, time))
        latest[user] = max(time, latest.get(user, time))
    return sessions


@given(rows=click_rows, gap_seconds=st.integers(0, 20))
def test_clicks_are_cut_as_the_worker_cuts_them(rows: list[tuple[str, str, int]], gap_seconds: int) -> None:
    """Every click is in one session, in order of arrival, and a session ends where the worker ends it."""
    clicks = cut(table(rows), gap_seconds=gap_seconds)

    found = [part.drop("session").rows() for part in clicks.partition_by("session", maintain_order=True)]

    assert sorted(found) == sorted(sessions_by_rule(rows, gap_seconds * 1000))


@given(rows=click_rows, gap_seconds=st.integers(1, 20))
def test_a_longer_gap_only_joins_sessions(rows: list[tuple[str, str, int]], gap_seconds: int) -> None:
    """What one session holds under a gap, one session holds under a longer one."""
    clicks = table(rows)
    shorter = cut(clicks, gap_seconds=gap_seconds)["session"]
    longer = cut(clicks, gap_seconds=gap_seconds + 3)["session"]

    together = pl.DataFrame({"shorter": shorter, "longer": longer}).group_by("shorter").n_unique()

    assert together["longer"].max() == 1


@given(sequences=sequences, max_length=st.integers(2, 12))
def test_pieces_score_every_click_once(sequences: list[list[int]], max_length: int) -> None:
    """However long sessions are cut, no piece is longer than allowed, and each target is there once."""
    sessions = sessions_of(*sequences)

    cut_up = pieces(sessions, max_length)

    assert cut_up.lengths.max() <= max_length
    np.testing.assert_array_equal(cut_up.items[cut_up.scored], sessions.items[sessions.scored])


@given(sequences=sequences, predictions=st.integers(1, 40), seed=st.integers(0, 99))
def test_an_epoch_predicts_every_click_from_its_own_past(
    sequences: list[list[int]], predictions: int, seed: int
) -> None:
    """The pairs of a click and its next are those of the sessions, in as few batches as promised."""
    batches = Shuffled(sessions_of(*sequences), predictions=predictions, max_length=1000, seed=seed)

    epoch = list(batches.epoch(0))
    pairs = Counter(
        pair
        for batch in epoch
        for pair in zip(batch.items.reshape(-1)[batch.places].tolist(), batch.targets.tolist(), strict=True)
    )

    assert pairs == Counter(pair for sequence in sequences for pair in pairwise(sequence))
    assert len(epoch) <= len(batches)
