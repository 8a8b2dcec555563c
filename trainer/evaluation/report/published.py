"""The status of a release in the releases topic: its number, the champion and the candidate."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple, Self

from worker.core.manifest import Manifest
from worker.errors import ReleaseRefused
from worker.kafka.interface import Connection
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader


class Published(NamedTuple):
    """The status of the releases topic. `number`: that of the reported release, None if unpublished."""

    topic: str
    number: int | None
    champion: int | None
    champion_manifest: Manifest | None
    candidate: int | None

    @classmethod
    def read(cls, connection: Connection, topic: str, manifest: Manifest) -> Self:
        """Read the topic and find the release with this `manifest`. Raises KafkaAway, NotAllowed."""
        with ReleaseReader(connection, topic=topic).opened() as reader:
            reader.read()
            champion, candidate = (_pointed_at(reader, name) for name in (CHAMPION, CANDIDATE))
            return cls(
                topic=topic,
                number=reader.number_of(manifest),
                champion=champion,
                champion_manifest=_manifest(reader, champion),
                candidate=candidate,
            )


def _manifest(reader: ReleaseReader, number: int | None) -> Manifest | None:
    """Return the manifest of a release; None if it is missing or unreadable."""
    with suppress(ReleaseRefused):
        return reader.manifest(number) if number else None
    return None


def _pointed_at(reader: ReleaseReader, name: str) -> int | None:
    pointer = reader.readable_pointer(name)
    return pointer.release if pointer else None
