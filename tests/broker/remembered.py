"""What workers on a real Kafka remember of their users: `tests.remembered` for a deployment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from tests import remembered
from tests.broker.deployment import Deployment
from tests.builders import ITEMS, Options, tiny_release_parts
from tests.records import Record
from tests.reference import Reference


def publish(deployment: Deployment, **options: Unpack[Options]) -> Reference:
    """Publish a release that remembers; the definition of what it answers."""
    parts = tiny_release_parts(**options)
    deployment.publish(*parts)
    return Reference(*parts, ITEMS)


def assert_remembered(
    deployment: Deployment, reference: Reference, sent: Sequence[Record], asked: Sequence[Record]
) -> None:
    """The answers to `asked` are those of one who has seen all of `sent`, and `asked`, exactly once."""
    answers = deployment.answers(at_least=len(sent) + len(asked))
    remembered.assert_remembered(reference, sent, asked, answers)
