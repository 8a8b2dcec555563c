"""What a command of the trainer takes from the clicks topic."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson

from trainer.clicks.files import scan_files
from trainer.clicks.topic import read_topic
from trainer.commands.kafka import decoder
from trainer.commands.options import rules_of
from trainer.config import TrainerSettings
from worker.kafka.memory import MemoryCluster
from worker.settings.loading import checked

TYPES: Final = ["view", "purchase", "cart", "request", "search"]
CHOSEN: Final = checked(
    TrainerSettings,
    {"events": {"type": "type", "step": ["view", "cart"], "exclude": ["purchase", "cart"]}},
    source="test",
)


def test_a_network_learns_from_what_will_move_it() -> None:
    """Events that only exclude an item, requests and others are left out, and counted."""
    cluster = MemoryCluster()
    cluster.create("clicks")
    for number, kind in enumerate(TYPES):
        document = {"user_id": 1, "item_id": f"item-{number}", "type": kind, "timestamp": cluster.now_ms}
        cluster.produce("clicks", orjson.dumps(document))

    table, removals = read_topic(cluster.connect(), "clicks", decoder(CHOSEN))

    assert table.clicks["item_id"].to_list() == ["item-0", "item-2"]
    assert [(one.removed, one.why) for one in removals] == [(3, "skipped (where)")]


def test_files_are_read_by_the_same_types(tmp_path: Path) -> None:
    """The type is a column, and what is left out is counted under its setting."""
    path = tmp_path / "clicks.csv"
    lines = [f"1,item-{number},{1_700_000_000 + number},{kind}" for number, kind in enumerate(TYPES)]
    path.write_text("\n".join(["user_id,item_id,timestamp,type", *lines]))
    rules = rules_of(CHOSEN, datetime.now(UTC))

    scan = scan_files([path], rules=rules)

    assert scan.clicks.collect()["item_id"].to_list() == ["item-0", "item-2"]
    assert [one.why for one in scan.counts.removals(rules)] == ["skipped by events.type"]
