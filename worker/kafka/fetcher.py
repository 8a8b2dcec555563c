"""A fetcher for kafka-python that decodes batches with `worker.kafka.batches`.

kafka-python has no public way to continue after a record that it cannot decode. This module is written for
version 3.0.12: a consumer's `_fetcher` creates a `PartitionRecords` for each partition in a response, and the
method `_unpack_records` of that object decodes the records. `tests/worker/kafka/test_fetcher.py` fails if
these internals change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.future import Future
from kafka.protocol.consumer import IsolationLevel

from worker.kafka.batches import Batch, FetchedRecord, frames

_NO_CEILING: Final = 2**63


def _end(future: Any) -> None:
    if not future.is_done:
        future.success(None)


def read_past_damage(consumer: KafkaConsumer) -> None:
    """Make a new consumer return undecodable records as `unreadable` and continue after them."""
    consumer._fetcher = _Fetcher(  # noqa: SLF001  # there is no public way
        consumer._client,  # noqa: SLF001  # ditto
        consumer._subscription,  # noqa: SLF001  # ditto
        metrics=consumer._metrics,  # noqa: SLF001  # ditto
        **consumer.config,
    )


class _PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python has no types
    """The records of one partition in one response of a broker."""

    next_fetch_offset: int
    ceiling = _NO_CEILING
    """An exclusive upper bound of the partition's offsets."""

    def _unpack_records(self, tp: Any, records: Any, *_: object) -> Iterator[FetchedRecord]:
        batches = [Batch(base, data) for base, data in frames(bytes(records._buffer))]  # noqa: SLF001  # no public way
        for place, batch in enumerate(batches):
            begin = self.next_fetch_offset
            is_end = place + 1 == len(batches)
            if batch.last < begin == self.fetch_offset and not (batch.fault and is_end):
                # Some brokers start their responses before the requested offset. But if a faulty batch is the
                # whole answer, the broker holds that it has the offset: its header does not tell its end.
                continue
            self._keep_in_place(batches, place)
            for record in self._records(tp, batch, begin):
                self.next_fetch_offset = record.offset + 1
                lost = record.unreadable
                if lost is not None and lost.first < begin:
                    yield record._replace(unreadable=lost._replace(first=begin))
                else:
                    yield record
            self.next_fetch_offset = batch.last + 1
            self.bytes_read += batch.size
        self.drain()

    def _keep_in_place(self, batches: list[Batch], place: int) -> None:
        """Mark a batch as faulty if it claims offsets of other batches: no checksum covers its base offset.

        A sound batch that starts where the previous batch ends is believed, even above the ceiling: a broker
        notes the high-water mark before it reads the records, and more may have been written in between. But
        if it has fewer records than offsets, as after compaction, it must end below the ceiling and before
        the next batch. A sound batch after a gap must start at the ceiling or below, and end before the next
        batch. The end of a faulty batch is believed only below the ceiling, and after a gap before the next
        batch.
        """
        batch, begin = batches[place], self.next_fetch_offset
        bases = (batches[later].base for later in range(place + 1, len(batches)))
        after = next((base for base in bases if begin < base < self.ceiling), None)
        follows = batch.base == begin or batch.base < begin == self.fetch_offset
        if batch.fault:
            limit = self.ceiling if after is None or follows else after
            believed = (follows or batch.base > begin) and batch.last < max(limit, begin + 1)
        else:
            before_next = after is None or batch.last < after
            plausible = batch.is_gapless or (batch.last < self.ceiling and before_next)
            believed = plausible and (follows or (begin < batch.base <= self.ceiling and before_next))
        if not believed or batch.last < begin:
            where = f"it claims the offsets {batch.base} to {batch.last}, which cannot be its own"
            batch.fault, batch.last = batch.fault or where, begin
        if batch.fault and after is not None:
            batch.last = after - 1

    def _records(self, tp: Any, batch: Batch, begin: int) -> Iterator[FetchedRecord]:
        """Yield the records of a batch; a faulty batch is one unreadable record.

        Control batches, and batches of aborted transactions, yield nothing.
        """
        if batch.fault:
            if batch.is_control:
                self.aborted_producer_ids.discard(batch.producer_id)
            yield batch.lost(tp, first=begin, last=batch.last)
            return
        self.leader_epoch = batch.leader_epoch
        if not self._is_hidden(batch):
            yield from batch.records(tp, begin)

    def _is_hidden(self, batch: Batch) -> bool:
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.producer_id >= 0:
            self._consume_aborted_transactions_up_to(batch.last)
            if batch.is_control:
                if batch.is_abort:
                    self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return batch.is_control


class Woken(Exception):
    """Raised by a poll that `wake` ended."""


def wake(consumer: KafkaConsumer) -> None:
    """End the poll of a consumer from another thread, by raising Woken; if none is under way, the next one.

    A poll that has records returns them instead.
    """
    consumer._fetcher.wake()  # noqa: SLF001  # there is no public way


class _Fetcher(Fetcher):  # type: ignore[misc]  # kafka-python has no types
    """kafka-python's fetcher with the decoding of `worker.kafka.batches`, and with a way to end its wait.

    Kafka's Java client has `wakeup`; kafka-python 3.0.12 has not.
    """

    PartitionRecords = _PartitionRecords

    _is_woken = False
    _wakes = Future()
    """Ends the wait of the current poll."""

    def fetch_records(self, *arguments: Any, **more: Any) -> Any:
        wakes = self._wakes = Future()
        if self._is_woken:
            wakes.success(None)
        try:
            found = super().fetch_records(*arguments, **more)
        finally:
            _end(wakes)
        # A later call of `wake` is of no loss: its reason is older than the return of this poll.
        is_woken, self._is_woken = self._is_woken, False
        if is_woken and not found[0]:
            raise Woken
        return found

    def send_fetches(self) -> Any:
        sent = super().send_fetches()
        # The wait, which comes next, ends with any of these futures. To add it earlier would be in vain: the
        # client has just dropped those that are done.
        self._fetch_futures.append(self._wakes)
        return sent

    def wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            with suppress(Exception):  # the client may be closing
                self._net.call_soon_threadsafe(lambda: _end(self._wakes))

    def _parse_fetched_data(self, completed_fetch: Any) -> Any:
        parsed = super()._parse_fetched_data(completed_fetch)
        if parsed is not None and completed_fetch.partition_data.high_watermark >= 0:
            parsed.ceiling = completed_fetch.partition_data.high_watermark
        return parsed
