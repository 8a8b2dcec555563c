from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.kafka.ports import answers
from tests.conftest import require_kafka
from tests.shared_servers import shared_kafka


@pytest.mark.broker
def test_whoever_started_the_node_leaves_last(tmp_path: Path) -> None:
    """All use the same one; it answers until the last of them is gone, and not after that."""
    require_kafka()
    with ThreadPoolExecutor(1) as pool, ExitStack() as first, ExitStack() as second:
        address = first.enter_context(shared_kafka(tmp_path))
        port = int(address.rpartition(":")[2])
        assert second.enter_context(shared_kafka(tmp_path)) == address

        leaving = pool.submit(first.close)
        with pytest.raises(TimeoutError):
            leaving.result(0.5)
        assert answers(port)
        second.close()
        leaving.result(60)

    assert not answers(port)
