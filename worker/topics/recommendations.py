"""The output topic. The worker writes it; the application that shows recommendations reads it.

Key: the user id. Partition: the partition of the click. Value: one list, as JSON or MessagePack, or framed by
a schema registry (`worker.schemas.output`). The header `id` identifies the click (`topic/partition/offset`).
A click that is answered again after a crash has the same id, so a reader of uncommitted records can drop the
second answer. If a record is a list of events, each event has its own answer, and the id ends with the
event's number in the list, from 1. An answer to a request also has its `request_id`, and its id ends with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

import msgpack
import numpy as np
import orjson

from worker.core.batch import Clicks
from worker.core.recommender import Recommendations
from worker.kafka.interface import NewRecord, Transactions

Encode = Callable[[Clicks, Sequence[Recommendations], int], list[bytes]]
"""Encodes lists, the answers to clicks, at a time in milliseconds; returns one value for each list."""

EncodeOne = Callable[[dict[str, Any]], bytes]
"""Encodes one list, given its fields. A format with a schema may leave out fields that are not in it."""


class RecommendationWriter:
    """Writes lists in one encoding. `clicks_topic` is part of the ids."""

    def __init__(
        self,
        transactions: Transactions,
        *,
        topic: str,
        clicks_topic: str,
        encode: Encode,
        encode_one: EncodeOne | None = None,
    ) -> None:
        self._transactions = transactions
        self._topic = topic
        self._clicks_topic = clicks_topic
        self._encode = encode
        self._encode_one = encode_one or ENCODERS_OF_ONE["json"]

    def publish(self, clicks: Clicks, lists: Sequence[Recommendations], *, now_ms: int) -> None:
        """Add `lists`, the answers to `clicks`, to the transaction. Raises errors of `Transactions.send`.

        The lists of a partition keep their order.
        """
        self._send(clicks, lists, self._encode(clicks, lists, now_ms))

    def reply(
        self,
        requests: Clicks,
        lists: Sequence[Recommendations],
        more: Sequence[Mapping[str, str]],
        *,
        now_ms: int,
    ) -> None:
        """Add `lists`, the answers to `requests`, to the transaction. Raises errors of `Transactions.send`.

        `more`: for each list, further fields of its value, which formats with a schema may leave out. Its
        `request_id` is also a header, and ends the header `id`, because an event may have several requests.
        """
        values = [
            self._encode_one(document | {**fields})
            for document, fields in zip(documents(requests, lists, now_ms), more, strict=True)
        ]
        self._send(requests, lists, values, [fields["request_id"] for fields in more])

    def _send(
        self,
        clicks: Clicks,
        lists: Sequence[Recommendations],
        values: Sequence[bytes],
        request_ids: Iterable[str] = repeat(""),
    ) -> None:
        partitions, offsets = clicks.partitions.tolist(), clicks.offsets.tolist()
        elements, user_ids = clicks.elements.tolist(), clicks.user_ids
        records: dict[int, list[NewRecord]] = defaultdict(list)
        # Hot path: the loop runs once for every list.
        for one, value, request_id in zip(lists, values, request_ids):  # noqa: B905  # the ids may have no end
            at = one.click
            partition = partitions[at]
            click_id = f"{self._clicks_topic}/{partition}/{offsets[at]}"
            if elements[at]:
                click_id += f"/{elements[at]}"
            headers = [("id", click_id.encode())]
            if request_id:
                headers = [("id", f"{click_id}/{request_id}".encode()), ("request_id", request_id.encode())]
            records[partition].append((user_ids[at].encode(), value, headers))
        for partition, ours in records.items():
            self._transactions.send_many(self._topic, partition, ours)


def _json(clicks: Clicks, lists: Sequence[Recommendations], now_ms: int) -> list[bytes]:
    """Encode lists as JSON: the same bytes as orjson's for `documents`.

    Hot path: the loop runs once for every list. Without the dictionaries, it takes half the time.
    """
    partitions, offsets = clicks.partitions.tolist(), clicks.offsets.tolist()
    times, user_ids, item_ids = clicks.timestamps_ms.tolist(), clicks.user_ids, clicks.item_ids
    dumps = orjson.dumps
    values = []
    for (at, items, _, reason, release), scores in zip(lists, _json_scores(lists), strict=True):
        value = (
            b'{"user_id":%b,"items":%b,"scores":%b,"release":%d,"reason":%b,'
            b'"event":{"partition":%d,"offset":%d,"item_id":%b,"timestamp":%d},"produced_at":%d}'
        ) % (
            dumps(user_ids[at]),
            dumps(items),
            scores,
            release,
            dumps(reason),
            partitions[at],
            offsets[at],
            dumps(item_ids[at]),
            times[at],
            now_ms,
        )
        values.append(value)
    return values


def _json_scores(lists: Sequence[Recommendations]) -> list[bytes]:
    """Return the scores of each list as JSON. The scores of all lists of one length are encoded together."""
    texts = [b"[]"] * len(lists)
    by_length: dict[int, list[int]] = defaultdict(list)
    for place, one in enumerate(lists):
        by_length[len(one.scores)].append(place)
    by_length.pop(0, None)
    for length, places in by_length.items():
        scores = np.concatenate([lists[place].scores for place in places]).reshape(-1, length)
        rows = orjson.dumps(scores, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],[")
        for place, row in zip(places, rows, strict=True):
            texts[place] = b"[%b]" % row
    return texts


def documents(clicks: Clicks, lists: Iterable[Recommendations], now_ms: int) -> Iterator[dict[str, Any]]:
    """Yield the fields of each list; the scores are an array."""
    for one in lists:
        at = one.click
        yield {
            "user_id": clicks.user_ids[at],
            "items": one.items,
            "scores": one.scores,
            "release": one.release,
            "reason": one.reason,
            "event": {
                "partition": int(clicks.partitions[at]),
                "offset": int(clicks.offsets[at]),
                "item_id": clicks.item_ids[at],
                "timestamp": int(clicks.timestamps_ms[at]),
            },
            "produced_at": now_ms,
        }


def encoder(encode: Callable[[dict[str, Any]], bytes]) -> Encode:
    """Return the encoder of lists that calls `encode` with the fields of each list."""
    return lambda clicks, lists, now_ms: [encode(one) for one in documents(clicks, lists, now_ms)]


def _msgpack(document: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(document | {"scores": document["scores"].tolist()}, use_single_float=True)
    return packed


def _plain(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


ENCODERS_OF_ONE: Final[dict[str, EncodeOne]] = {"json": _plain, "msgpack": _msgpack}
"""The encoders of a single list by format; those of formats with a schema are `FramedLists`."""

ENCODERS: Final[dict[str, Encode]] = {"json": _json, "msgpack": encoder(_msgpack)}
"""The encoders of lists by format. Scores are in single precision in all formats."""
