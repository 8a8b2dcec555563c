"""The assembly of what follows the topics of items and rules, from the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from worker.clock import Clock
from worker.config import Settings
from worker.core.known_items import KnownItems
from worker.core.recommender import Recommender
from worker.core.rules import Rules
from worker.http.readiness import Readiness
from worker.items.follower import Follower
from worker.items.letters import ItemLetters
from worker.items.rules import RuleUpdates
from worker.items.updates import ItemUpdates
from worker.kafka.interface import Connection
from worker.metrics import Metrics
from worker.schemas.interface import Registry
from worker.topics.compacted import CompactedReader


def followed(
    settings: Settings,
    connection: Connection,
    registry: Registry | None,
    recommenders: Callable[[], Sequence[Recommender]],
    *,
    letters: ItemLetters,
    metrics: Metrics,
    readiness: Readiness,
    clock: Clock,
    background: bool,
) -> list[ItemUpdates | RuleUpdates]:
    """Return what follows the topic of items, and then that of rules, as far as the settings name them.

    `recommenders` returns those in service. With `background`, each topic is read on a thread of its own.
    """
    if not settings.topics.items:
        return []
    # The follower's thread needs a parser of its own.
    parser = settings.registry.parser(registry, clock.steady)
    items = ItemUpdates(
        Follower(
            CompactedReader(
                connection, settings.item.decoder(settings.click, parser), topic=settings.topics.items
            ),
            KnownItems,
            clock=clock,
            background=background,
        ),
        recommenders,
        letters=letters,
        metrics=metrics,
        readiness=readiness,
        clock=clock,
    )
    if not settings.topics.rules:
        return [items]
    rules = RuleUpdates(
        Follower(
            CompactedReader(connection, settings.rule_decoder(), topic=settings.topics.rules, what="rules"),
            Rules,
            clock=clock,
            background=background,
        ),
        recommenders,
        letters=letters,
        metrics=metrics,
        readiness=readiness,
        clock=clock,
    )
    rules.items = lambda: items.known
    return [items, rules]
