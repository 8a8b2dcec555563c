"""The topic of live quality. Every worker reports its new counts; the trainer sums the reports.

A worker writes one record every ten seconds, unless nothing was counted, in the transaction of the clicks
that were counted: `{"format": 1, "group", "worker", "at" (ms), "champion", "candidate" (a number or null),
"releases"}`. `releases` maps each release number to a `worker.core.quality.Tally`. The key is group and
worker. The topic is not compacted, because every report is part of the sum.

For significance tests, clicks and hits are also counted in 64 groups of users. Rejected: sums of squares per
interval, because a user's clicks in different intervals are not independent. Group counts can be added over
intervals and workers.
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
"""The format version of the records."""

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
    """The counts of one worker since its last report, by release number."""

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
    """Parse the value of a report. Raises NextclickError."""
    try:
        document = orjson.loads(value)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, not {FORMAT}")
        for name, kinds in _KINDS.items():
            if type(document[name]) not in kinds:
                raise ValueError(f"its {name} is {document[name]!r}, which is of the wrong type")
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
    """Adds reports to the transaction. Raises the errors of `Transactions.send`."""

    def __init__(self, transactions: Transactions, *, topic: str, group: str, worker_id: str) -> None:
        self._transactions = transactions
        self._topic = topic
        self._group = group
        self._worker_id = worker_id

    def publish(
        self, tallies: dict[int, Tally], *, champion: int, candidate: int | None, now_ms: int
    ) -> None:
        """Add a report with the counts since the last report."""
        report = Report(self._group, self._worker_id, now_ms, champion, candidate, tallies)
        key = f"{self._group}.{self._worker_id}".encode()
        self._transactions.send(self._topic, 0, key=key, value=report.value())


class QualityReader:
    """Follows the topic from its beginning."""

    def __init__(self, connection: Connection, *, topic: str) -> None:
        self._connection = connection
        self._topic = topic

    @contextmanager
    def opened(self) -> Iterator[Self]:
        """Open a connection for the duration of the context. Raises KafkaAway, NotAllowed, TopicError."""
        needs.counts(self._connection, [self._topic])
        with self._connection.errors(f"read the topic of live quality {self._topic}"):
            reader = self._reader = self._connection.reader(
                "nextclick-quality", fetch={"max_poll_records": 5_000}
            )
        with closing(reader):
            reader.assign([self._at])
            yield self

    def read(self) -> Iterator[Report]:
        """Yield the committed reports that were not read yet, in order. Invalid records are skipped.

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
    """Yield all committed reports that are still retained, in the order of the topic.

    Raises KafkaAway, NotAllowed, TopicError.
    """
    with QualityReader(connection, topic=topic).opened() as reader:
        yield from reader.read()
