"""What a committed reader must find at a desk, whatever happened."""

from __future__ import annotations

from tests.builders import tiny_release_parts
from tests.verdict import Input, Verdict, judge_answers, judge_letters, judge_states
from tests.worker.desk import Desk, records
from worker.core.release import Release, verify


def problems(desk: Desk, release: Release | None = None) -> list[str]:
    """All that is not as if nothing had happened, once the workers were stopped: answers, letters, states.

    `release`: the one under which all states must be; by default the desk's own.
    """
    verdict = Verdict()
    given = Input.of(desk.topics.clicks, records(desk.cluster.read(desk.topics.clicks)))
    judge_answers(verdict, given, records(desk.answers()))
    judge_letters(verdict, given, records(desk.letters()))
    under = release or verify(*tiny_release_parts(), number=1)
    judge_states(verdict, given, under, records(desk.states()))
    return verdict.problems


def assert_sound(desk: Desk) -> None:
    """Stop all workers: each click has one answer, each bad record one letter, each state all its clicks."""
    for name in [*desk.workers]:
        desk.stop(name)

    found = problems(desk)

    assert not found, "\n".join(found)
