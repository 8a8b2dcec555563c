from __future__ import annotations

from typing import Any

import pytest

from worker.kafka.admin import _member


@pytest.mark.parametrize(
    ("assignment", "partitions"),
    [
        (None, set()),
        (b"", set()),
        (b"what the client cannot decode", set()),
        ({"assigned_partitions": []}, set()),
        ({"assigned_partitions": [{"topic": "clicks", "partitions": [1, 3]}]}, {1, 3}),
        ({"assigned_partitions": [{"topic": "another", "partitions": [2]}]}, set()),
    ],
)
def test_what_a_member_has_of_the_clicks(assignment: Any, partitions: set[int]) -> None:
    """Nothing where the group is in the midst of a round, or where it cannot be told."""
    told = {"client_id": "a", "client_host": "/127.0.0.1", "member_id": "a-1"}

    assert _member(told | {"member_assignment": assignment}, "clicks").partitions == partitions
