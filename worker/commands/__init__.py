"""The commands of `nextclick-worker`, one module each (`look` has two); `worker.__main__` assembles them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
import orjson

from worker.clock import Clock
from worker.commandline import origin
from worker.config import Settings
from worker.core.ids import canonical
from worker.core.item_record import ItemDecoder
from worker.core.known_items import KnownItems
from worker.core.reasons import Reason
from worker.core.release import Release, verify
from worker.errors import ReleaseRefused
from worker.kafka import history
from worker.kafka.interface import Connection
from worker.topics.compacted import decoded
from worker.topics.releases import CHAMPION, ReleaseReader


def connect(settings: Settings) -> Connection:
    """Return the connection given as click's `obj` (by tests), or a connection to the configured brokers."""
    given: Connection | None = click.get_current_context().obj
    return given or settings.kafka.connection(origin(settings, "kafka.bootstrap_servers"))


def spellings(user_id: str) -> list[str]:
    """Return a user id in canonical form and, if different, as given.

    States that were saved before the worker made ids canonical are found only under the id as given.
    """
    return list(dict.fromkeys([canonical(user_id) or user_id, user_id]))


def champion(settings: Settings) -> tuple[Release | None, str]:
    """Return the champion and an empty text or, if it is missing or refused, None and the reason.

    Raises KafkaAway, NotAllowed.
    """
    with ReleaseReader(connect(settings), topic=settings.topics.releases).opened() as reader:
        reader.read()
        try:
            pointer = reader.pointer(CHAMPION)
            release = verify(*reader.fetch(pointer.release), number=pointer.release) if pointer else None
        except ReleaseRefused as error:
            return None, str(error)
    return release, "" if release else f"topic {settings.topics.releases} has no {CHAMPION}"


def known_items(settings: Settings) -> KnownItems | None:
    """Return what the items topic says now; None without a topic.

    Raises KafkaAway, NotAllowed, TopicError.
    """
    if not settings.topics.items:
        return None
    known, decoder = KnownItems(), item_decoder(settings)
    for records in history.read(connect(settings), topic=settings.topics.items):
        found = (decoded(record, decoder) for record in records)
        known.put((one for one in found if not isinstance(one, Reason)), now_ms=Clock().now_ms())
    return known


def item_decoder(settings: Settings) -> ItemDecoder:
    """Return the decoder for the records of the items topic."""
    return settings.item.decoder(settings.click, settings.registry.parser())


def time_text(milliseconds: int) -> str:
    """Return a time as text.

    >>> time_text(1_790_000_000_000), time_text(10**18)
    ('2026-09-21T14:13:20+00:00', '1000000000000000000 ms since 1970')
    """
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError):
        return f"{milliseconds} ms since 1970"


def numbers(partitions: list[int]) -> str:
    """Return partition numbers as text.

    >>> numbers([0]), numbers([0, 2])
    ('partition 0', 'partitions 0, 2')
    """
    return f"partition{'' if len(partitions) == 1 else 's'} {', '.join(map(str, partitions))}"


def to_json(document: dict[str, Any]) -> bytes:
    """Return a document as indented JSON."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
