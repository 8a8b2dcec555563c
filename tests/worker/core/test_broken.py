"""Every kind of broken release is refused, each with its own reason."""

from __future__ import annotations

import pytest

from tests.broken import GOOD, POINTERS, RELEASES
from worker.core.release import from_records, parse_pointer, to_records, verify
from worker.errors import ReleaseRefused


@pytest.mark.parametrize("kind", RELEASES)
def test_what_is_broken_is_refused(kind: str) -> None:
    """Before it could serve, with one of a few words for the metric and a text that says more."""
    reason, records = RELEASES[kind]
    held = {record.key: record.value for record in records(7) if record.value is not None}

    with pytest.raises(ReleaseRefused) as refused:
        verify(*from_records(held, 7), number=7)

    assert refused.value.reason == reason
    assert len(str(refused.value)) > 20


@pytest.mark.parametrize("kind", POINTERS)
def test_a_broken_pointer_is_refused(kind: str) -> None:
    """It points nowhere."""
    with pytest.raises(ReleaseRefused) as refused:
        parse_pointer(POINTERS[kind])

    assert refused.value.reason == "pointer"


def test_the_same_release_unbroken_is_taken() -> None:
    """Or the others might be refused for what they have in common."""
    held = {record.key: record.value for record in to_records(7, *GOOD) if record.value is not None}

    assert verify(*from_records(held, 7), number=7).number == 7
