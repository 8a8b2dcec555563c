from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.trainer.simulated import tally
from worker.errors import NextclickError
from worker.topics.quality import Report, parse_report


@pytest.mark.parametrize("candidate", [2, None])
def test_a_report_is_read_as_it_was_written(candidate: int | None) -> None:
    """With or without a candidate."""
    found = parse_report(Report("g", "a", 5, 1, candidate, {1: tally(100, 40)}).value())

    assert found[:5] == ("g", "a", 5, 1, candidate)
    assert found.tallies[1].document() == tally(100, 40).document()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group", None),
        ("worker", 1),
        ("at", "now"),
        ("champion", None),
        ("candidate", "2"),
        ("candidate", True),
    ],
)
def test_a_field_of_another_kind_is_refused(name: str, value: Any) -> None:
    """Whoever reads the topic leaves such a record out, and never compares a text with a number."""
    document = orjson.loads(Report("g", "a", 5, 1, 2, {}).value()) | {name: value}

    with pytest.raises(NextclickError, match=f"its {name} is {value!r}"):
        parse_report(orjson.dumps(document))
