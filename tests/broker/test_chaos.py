"""A few rounds of `make chaos`, and what its runner promises."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.kafka.local import LocalKafka
from tests.broker.chaos import run_rounds, summary
from tests.broker.rounds import BROKER_PROPERTIES, WORKERS, Plan

ROUNDS = 3
PATIENCE_SECONDS = 30


@pytest.fixture
def node(kafka_node: Callable[..., LocalKafka]) -> LocalKafka:
    """A Kafka that is stopped and killed."""
    return kafka_node(**{name.replace(".", "_"): value for name, value in BROKER_PROPERTIES.items()})


@pytest.mark.timeout(300)
def test_whatever_happens_every_click_is_answered_once(node: LocalKafka, tmp_path: Path) -> None:
    """Also in order, malformed records have one letter each, and the states are those of a quiet run.

    No list has an item that was bought. On busy cores, a second may be too short for a change of an item, so
    here it has more time than `make chaos` gives it.
    """
    seed = random.randrange(10**6)
    print(f"seed {seed}: make chaos SEED={seed} ROUNDS={ROUNDS} plays the same")

    found = run_rounds(node, seed, range(1, ROUNDS + 1), tmp_path)

    print(summary(found))
    assert found.regardless_of_time().good, found.problems[:10]
    assert max(found.seconds_shown) < PATIENCE_SECONDS
    assert min(found.clicks, found.purchases, found.removals) > 0


def test_a_seed_always_makes_the_same_plan() -> None:
    """Two seeds do not; whoever is frozen is woken, and the broker comes back."""
    for seed in range(50):
        plan = Plan.of(seed)
        acts = [(act.target, act.what) for act in plan.acts]

        assert plan == Plan.of(seed) != Plan.of(seed + 1)
        assert plan.acts == sorted(plan.acts)
        for target in (*WORKERS, "broker"):
            assert acts.count((target, "freeze")) == acts.count((target, "wake"))
        assert acts.count(("broker", "start")) == sum(
            acts.count(("broker", what)) for what in ("stop", "kill")
        )
