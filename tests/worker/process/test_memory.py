"""Garbage is looked for seldom, and freed memory goes back."""

from __future__ import annotations

import gc

from worker.process.memory import collect_seldom, give_back


def test_what_start_up_made_is_not_looked_at_again() -> None:
    """And what comes later seldom."""
    before = gc.get_threshold()
    try:
        collect_seldom()

        assert gc.get_threshold()[0] == 20_000
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_memory_is_given_back_from_any_thread() -> None:
    """Where the C library cannot, nothing happens."""
    give_back()
    give_back()
