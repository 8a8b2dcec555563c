"""The topic of live quality. Every worker adds what it counted since it last did, the trainer sums it.

One record per worker and ten seconds in which something was counted, inside the transaction of the clicks
that it counts: `{"format": 1, "group", "worker", "at" (ms), "champion", "candidate" (a number or null),
"releases"}`; the last has a `worker.core.quality.Tally` for each number. Key: group and worker. Nothing is
compacted: what counts is the sum.

Clicks and hits are also counted in 64 groups of users. Rejected: sums of squares per interval. The clicks
of one user are not independent over any interval, and groups add up over time and workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final, NamedTuple, Self

import orjson

from worker.core.quality import Tally
from worker.errors import NextclickError
from worker.kafka.interface import Connection, TopicPartition, Transactions
from worker.topics import needs

FORMAT: Final = 1
"""The version of the records."""

_POLL_MS: Final = 500

_KINDS: Final = {
    "group": (str,),
    "worker": (str,),
    "at": (int,),
    "champion": (int,),
    "candidate": (int, type(None)),
}
"""The types that each field of a record may have; a bool is not a number."""


class Report(NamedTuple):
    """The counts of one worker since its last report, by the number of the release."""

    group: str
    worker: str
    at_ms: int
    champion: int
    candidate: int | None
    tallies: dict[int, Tally]

    def value(self) -> bytes:
        """Return the report as a record's value."""
        document = {
            "format": FORMAT,
            "group": self.group,
            "worker": self.worker,
            "at": self.at_ms,
            "champion": self.champion,
            "candidate": self.candidate,
            "releases": {str(number): tally.document() for number, tally in self.tallies.items()},
        }
        return orjson.dumps(document)


def parse_report(value: bytes) -> Report:
    """Parse a value from `Report.value`. Raises NextclickError."""
    try:
        document = orjson.loads(value)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, not {FORMAT}")
        for name, kinds in _KINDS.items():
            if type(document[name]) not in kinds:
                raise ValueError(f"its {name} is {document[name]!r}")
        return Report(
            document["group"],
            document["worker"],
            document["at"],
            document["champion"],
            document["candidate"],
            {int(number): Tally.of(tally) for number, tally in document["releases"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NextclickError(f"{value[:80]!r} is not a report of live quality: {error!r}") from None


class QualityWriter:
    """Adds reports to the transaction. Raises what `Transactions.send` raises."""

    def __init__(self, transactions: Transactions, *, topic: str, group: str, worker_id: str) -> None:
        self._transactions = transactions
        self._topic = topic
        self._group = group
        self._worker_id = worker_id

    def publish(
        self, tallies: dict[int, Tally], *, champion: int, candidate: int | None, now_ms: int
    ) -> None:
        """Publish the counts since the last report."""
        report = Report(self._group, self._worker_id, now_ms, champion, candidate, tallies)
        key = f"{self._group}.{self._worker_id}".encode()
        self._transactions.send(self._topic, 0, key=key, value=report.value())


class QualityReader:
    """Follows the topic from its begin."""

    def __init__(self, connection: Connection, *, topic: str) -> None:
        self._connection = connection
        self._topic = topic

    @contextmanager
    def opened(self) -> Iterator[Self]:
        """Open a connection for the life of the context. Raises KafkaAway, NotAllowed, TopicError."""
        needs.counts(self._connection, [self._topic])
        with self._connection.errors(f"read the topic of live quality {self._topic}"):
            reader = self._reader = self._connection.reader(
                "nextclick-quality", fetch={"max_poll_records": 5_000}
            )
        with closing(reader):
            reader.assign([self._at])
            yield self

    def read(self) -> Iterator[Report]:
        """Yield the committed reports that were not read yet, in order, without invalid records.

        Raises KafkaAway, NotAllowed.
        """
        with self._connection.errors(f"read the topic of live quality {self._topic}"):
            while True:
                for record in self._reader.poll(_POLL_MS).get(self._at, ()):
                    with suppress(NextclickError):
                        yield parse_report(record.value or b"")
                if self._reader.position(self._at) >= self._reader.ends([self._at])[self._at]:
                    return

    @property
    def _at(self) -> TopicPartition:
        return TopicPartition(self._topic, 0)


def read_reports(connection: Connection, topic: str) -> Iterator[Report]:
    """Yield all committed reports that retention has left, in the order of the topic.

    Raises KafkaAway, NotAllowed, TopicError.
    """
    with QualityReader(connection, topic=topic).opened() as reader:
        yield from reader.read()
