"""The output topic. The worker writes it; the application that shows recommendations reads it.

Key: the user id. Partition: the partition of the click. Value: one list, as JSON or MessagePack, or framed by
a schema registry (`worker.schemas.output`). The header `id` identifies the click (`topic/partition/offset`).
A click that is answered again after a crash has the same id, so a reader of uncommitted records can drop the
second answer. If a record is a list of events, each event has its own answer, and the id ends with the
event's number in the list, from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgpack
import orjson

from worker.core.batch import Clicks
from worker.core.recommender import Recommendations
from worker.kafka.interface import Transactions

Encode = Callable[[dict[str, Any]], bytes]


class RecommendationWriter:
    """Writes lists in one encoding. `clicks_topic` is part of the ids."""

    def __init__(self, transactions: Transactions, *, topic: str, clicks_topic: str, encode: Encode) -> None:
        self._transactions = transactions
        self._topic = topic
        self._clicks_topic = clicks_topic
        self._encode = encode

    def publish(self, clicks: Clicks, lists: Iterable[Recommendations], *, now_ms: int) -> None:
        """Add `lists`, the answers to `clicks`, to the transaction. Raises errors of `Transactions.send`."""
        partitions, offsets = clicks.partitions.tolist(), clicks.offsets.tolist()
        elements = clicks.elements.tolist()
        for one in lists:
            at, user_id = one.click, clicks.user_ids[one.click]
            value = self._encode(
                {
                    "user_id": user_id,
                    "items": one.items,
                    "scores": one.scores,
                    "release": one.release,
                    "reason": one.reason,
                    "event": {
                        "partition": partitions[at],
                        "offset": offsets[at],
                        "item_id": clicks.item_ids[at],
                        "timestamp": int(clicks.timestamps_ms[at]),
                    },
                    "produced_at": now_ms,
                }
            )
            click_id = f"{self._clicks_topic}/{partitions[at]}/{offsets[at]}"
            if elements[at]:
                click_id += f"/{elements[at]}"
            headers = [("id", click_id.encode())]
            self._transactions.send(
                self._topic, partitions[at], key=user_id.encode(), value=value, headers=headers
            )


def _json(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _msgpack(document: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(document | {"scores": document["scores"].tolist()}, use_single_float=True)
    return packed


ENCODERS: Final[dict[str, Encode]] = {"json": _json, "msgpack": _msgpack}
"""The encoders of lists by format. Scores are in single precision in all formats."""
