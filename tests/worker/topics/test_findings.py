"""Findings: how one reads, and that a check that ends with an error takes no other with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from worker.errors import KafkaAway, NextclickError, NotAllowed
from worker.topics.findings import Finding, tried


@pytest.mark.parametrize(
    ("finding", "line", "failed"),
    [
        (Finding("topic clicks: 4 partitions"), "ok    topic clicks: 4 partitions", False),
        (Finding("it is small", "Make it larger"), "FAIL  it is small. Make it larger", True),
        (Finding("it is odd", "Look at it", fails=False), "note  it is odd. Look at it", False),
    ],
)
def test_a_finding_is_a_line(finding: Finding, line: str, failed: bool) -> None:
    """Its first word says whether something must be done."""
    assert (finding.line, finding.failed) == (line, failed)
    assert finding.document() == {"ok": not failed, "what": finding.what, "remedy": finding.remedy}


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (NotAllowed("read topic x"), "Grant the missing ACLs, which are listed below"),
        (KafkaAway("read topic x"), "This could not be checked; fix it and run the check again"),
    ],
)
def test_an_error_is_the_last_finding_of_its_check(error: NextclickError, remedy: str) -> None:
    """What was found before it stays."""

    def look(name: str) -> Iterator[Finding]:
        yield Finding(f"topic {name}: 4 partitions")
        raise error

    assert tried(look, "x") == [Finding("topic x: 4 partitions"), Finding("read topic x", remedy)]
