"""Laws of the saved states: whatever crashes, moves, is compacted or forgotten, no user state is lost.

The state topic and the offsets are modelled as what a transaction leaves of them: all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given

from tests.examples import examples
from tests.laws.histories import Rules, forgets, frees, histories, rules
from tests.laws.world import lived
from worker.core import blocks, flush


@contextmanager
def block_limits(rules: Rules) -> Iterator[None]:
    """Blocks so small that a handful of users fill several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "MAX_ROWS", rules.max_rows)
        patch.setattr(blocks, "MAX_BYTES", rules.max_bytes)
        patch.setattr(flush, "SMALL_BLOCKS", rules.small_blocks)
        yield


@given(histories(), rules)
@examples(1.5)
def test_no_crash_is_seen_in_the_states(history: list[Any], rules: Rules) -> None:
    """After any crashes, moves and compactions: the same users, offsets, items, sessions; hidden to rounding.

    Before another crash and after it.
    """
    with block_limits(rules):
        world = lived(history, rules)
        world.check()
        for number in range(2):
            world.kill(number)

        world.check()


@given(histories(frees), rules)
@examples(0.6)
def test_freeing_users_harms_no_others(history: list[Any], rules: Rules) -> None:
    """Whoever was not freed is as if nothing had happened; those who were may come back older."""
    with block_limits(rules):
        world = lived(history, rules)
        world.check()
        for number in range(2):
            world.kill(number)

        world.check()


@given(histories(forgets, forgets), rules)
def test_who_is_forgotten_is_as_if_they_had_not_clicked(history: list[Any], rules: Rules) -> None:
    """Wherever the limit falls within a batch, a replay or the blocks, and once the request is gone."""
    with block_limits(rules):
        world = lived(history, rules)
        world.check()
        for number in range(2):
            world.kill(number)

        world.check()
