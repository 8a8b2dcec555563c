"""A frozen broker, for a shorter time than `make chaos ARGS="--freeze 60"`, and the table that it prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from deploy.kafka.local import LocalKafka
from tests.broker.freeze import Moment, run_freeze, table
from tests.broker.rounds import BROKER_PROPERTIES
from tests.deploy.tools import tool

SECONDS: Final = 20.0


@pytest.mark.timeout(300)
def test_a_frozen_broker_leaves_no_old_lag_behind(
    kafka_node: Callable[..., LocalKafka], tmp_path: Path
) -> None:
    """Unread records are absent, the lag in seconds grows; afterwards no click is missing.

    Whether /readyz says no after 20 s depends on when the last request was sent: that is for longer freezes.
    """
    tool("prometheus")  # or the test is skipped after it has started everything else
    node = kafka_node(**{name.replace(".", "_"): value for name, value in BROKER_PROPERTIES.items()})

    found = run_freeze(node, tmp_path, seconds=SECONDS, before=10, after=10)

    print(table(found.moments))
    (last,) = (one for one in found.moments if one.seconds == SECONDS)
    assert last.lag_records is None
    assert SECONDS <= (last.lag_seconds or 0)
    assert SECONDS <= (last.commit_age or 0) + 1
    assert {one.live for one in found.moments} == {200}
    assert found.verdict.good, found.verdict.problems[:10]


def test_the_table_says_what_is_absent() -> None:
    """And which alerts there are."""
    moment = Moment(20.0, None, 23.4, None, (503, "no | answer\n"), 200, {"NextclickSlow": "pending"})

    assert table([moment]).splitlines()[2:] == [
        "| 20 | absent | 23 | absent | 503 no / answer | 200 | NextclickSlow (pending) |"
    ]
