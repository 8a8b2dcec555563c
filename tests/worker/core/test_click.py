"""The results of decoding."""

from __future__ import annotations

from worker.core.click import Click, Part, Request, Several
from worker.core.event_types import STEP
from worker.core.reasons import Reason, Skipped


def test_a_click_is_a_step_unless_it_says_otherwise() -> None:
    """So nothing changes where types are not set."""
    assert Click("a", "b", 1) == Click("a", "b", 1, STEP)


def test_the_total_counts_what_a_record_holds() -> None:
    """Everything that takes part of its limit."""
    part = Part(Click("a", "b", 1), 0, ends_event=True)
    found = Several(
        [part, part], [("[1]", Reason.EMPTY_ID)], [Skipped.TYPE] * 3, [Request("a", 1, {}, element=7)]
    )

    assert found.total == 7
