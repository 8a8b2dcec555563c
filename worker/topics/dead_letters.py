"""The topic of records that are not valid clicks. The worker writes it.

Operators read the topic, and may send its records again. Key, value and headers are copied from the record;
additional headers give the reason and the origin. If a value is too large, only a prefix, the size and the
SHA-256 are kept; the record itself remains in the clicks topic, at the offset in the headers. If only some
events of a record are invalid, the valid events are applied as usual; the header `nextclick.parts` lists the
invalid events, so that nobody sends the valid events again. A range of records that Kafka's client could not
decode is kept as raw bytes, with its first and last offset and the error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Final

from worker.kafka.interface import SentHeaders, Transactions
from worker.topics.clicks import Invalid

MAX_VALUE_BYTES: Final = 900_000
"""Maximum size of a value that is kept whole, in bytes: value, key and headers must fit into a request of 1
MiB.
"""

PREFIX_BYTES: Final = 64_000
"""The size of the prefix that is kept of a larger value, in bytes."""

_MAX_EXTRA_BYTES: Final = 100_000


class DeadLetterWriter:
    """Writes dead letters to `topic`; the partition is the record's own partition modulo `partitions()`."""

    def __init__(self, transactions: Transactions, *, topic: str, partitions: Callable[[], int]) -> None:
        self._transactions = transactions
        self.topic = topic
        self._partitions = partitions

    def publish(self, bad: Iterable[Invalid]) -> None:
        """Add a dead letter for each record to the transaction. Raises the errors of `Transactions.send`."""
        for one in bad:
            key, value, headers = letter(one)
            partition = one.record.partition % self._partitions()
            self._transactions.send(self.topic, partition, key=key, value=value, headers=headers)


def letter(bad: Invalid) -> tuple[bytes | None, bytes | None, SentHeaders]:
    """Return key, value and headers of the dead letter for a record."""
    record = bad.record
    ours: SentHeaders = [
        ("nextclick.reason", bad.reason.value.encode()),
        ("nextclick.topic", record.topic.encode()),
        ("nextclick.partition", b"%d" % record.partition),
        ("nextclick.offset", b"%d" % (record.unreadable.first if record.unreadable else record.offset)),
        ("nextclick.timestamp", b"%d" % record.timestamp),
    ]
    if record.unreadable is not None:
        ours += [
            ("nextclick.last_offset", b"%d" % record.offset),
            ("nextclick.error", record.unreadable.why.encode(errors="backslashreplace")),
        ]
    if bad.parts:
        ours.append(("nextclick.parts", bad.parts[:PREFIX_BYTES].encode()))
    key, value, headers = record.key, record.value, [(name, text or b"") for name, text in record.headers]
    if len(key or b"") + sum(map(_header_bytes, headers)) > _MAX_EXTRA_BYTES:
        key, headers = (key or b"")[:PREFIX_BYTES], []
        ours.append(("nextclick.headers", b"dropped: key and headers are too large"))
    if key is None and value is None:
        # Kafka's client refuses a record with neither key nor value, so the value becomes empty; the header
        # with the reason still says that the value was null.
        value = b""
    if value is not None and len(value) > MAX_VALUE_BYTES:
        ours += [
            ("nextclick.size", b"%d" % len(value)),
            ("nextclick.sha256", hashlib.sha256(value).hexdigest().encode()),
        ]
        value = value[:PREFIX_BYTES]
    return key, value, [*headers, *ours]


def _header_bytes(header: tuple[str, bytes]) -> int:
    """Return an upper bound of the bytes of a header in a record: two lengths, the name, the value."""
    name, text = header
    return 10 + len(name.encode(errors="replace")) + len(text)
