"""A cluster of three brokers, of which one fails: workers lose nothing, and answer nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from deploy.kafka.cluster import NODES, LocalCluster
from tests.broker.brokers import ALL, CONTROLLER, LEADER, PROPERTIES
from tests.broker.faults import Act
from tests.broker.rounds import WORKERS, Plan, play
from tests.conftest import require_kafka
from worker.kafka.connection import KafkaConnection
from worker.kafka.interface import MAX_REQUEST_BYTES

FAULTS: Final = [
    Act(1.0, LEADER, "kill"),
    Act(3.0, LEADER, "start"),
    # For longer than the session of a broker: others lead its partitions when it wakes.
    Act(8.0, LEADER, "freeze"),
    Act(13.0, LEADER, "wake"),
    Act(15.0, CONTROLLER, "fill"),
    Act(16.0, CONTROLLER, "start"),
    Act(22.0, LEADER, "lose a disk of"),
    Act(25.0, LEADER, "repair"),
    Act(30.0, ALL, "restart"),
]
"""What happens to the brokers, each fault after the one before, under a load and two workers."""

PLAN: Final = Plan(
    workers=2,
    cell="gru",
    users=200,
    per_second=200,
    commit_interval_seconds=0.2,
    flush_interval_seconds=0.5,
    block_rows=32,
    transaction_timeout_ms=6_000,
    static_membership=False,
    load_seconds=40.0,
    acts=FAULTS,
    changes_per_second=100,
)


@pytest.mark.broker
@pytest.mark.slow  # it takes a minute: one of the first to begin
@pytest.mark.timeout(900)
def test_whatever_happens_to_one_broker_every_click_is_answered_once(tmp_path: Path) -> None:
    """Also in order, and the states are those of a quiet run. No worker ends."""
    require_kafka()
    with LocalCluster(properties=PROPERTIES) as cluster:
        found = play(cluster, PLAN, tmp_path, seed=1)

    # On busy cores, a second may be too short for a change of an item.
    assert found.regardless_of_time().good, found.problems[:10]
    assert found.clicks > 0


def test_a_seed_always_makes_the_same_plan_for_a_cluster() -> None:
    """Two seeds do not; one broker fails at a time, and what begins ends before the next."""
    for seed in range(100):
        made = Plan.of(seed, cluster=True)
        acts = [act for act in made.acts if act.target not in WORKERS]

        assert made == Plan.of(seed, cluster=True) != Plan.of(seed + 1, cluster=True)
        assert made.acts == sorted(made.acts)
        assert acts
        assert [act.what for act in acts[1::2]].count("restart") == 0
        assert [one.target for one in acts[::2]] == [one.target for one in acts[1::2]] or acts[
            0
        ].target == ALL


def test_a_round_on_a_single_broker_has_its_own_faults() -> None:
    """The plans of a seed do not depend on there being clusters."""
    assert {act.target for seed in range(50) for act in Plan.of(seed).acts} == {*WORKERS, "broker"}
    assert NODES == 3


def test_the_worker_writes_to_all_replicas_in_sync_and_tries_again(kafka: str) -> None:
    """Its own settings say nothing of that: it is what a transactional producer of kafka-python does."""
    client = KafkaConnection(kafka).transactional_producer(
        "acks", timeout_ms=6_000, max_request_bytes=MAX_REQUEST_BYTES
    )
    occasional = KafkaConnection(kafka).producer("acks")
    try:
        assert client.config["acks"] == occasional.config["acks"] == -1
        assert client.config["enable_idempotence"]
        assert client.config["retries"] > 1_000_000
    finally:
        client.close(timeout=1)
        occasional.close(timeout=1)
