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

FAULTS: Final = {
    "leader and controller are killed": [
        Act(1.0, LEADER, "kill"),
        Act(4.0, LEADER, "start"),
        Act(5.0, CONTROLLER, "kill"),
        Act(6.0, CONTROLLER, "start"),
    ],
    "a leader is frozen for longer than its session, and wakes; a broker's disk is full": [
        Act(1.0, LEADER, "freeze"),
        Act(7.0, LEADER, "wake"),
        Act(8.0, "broker 2", "fill"),
        Act(9.0, "broker 2", "start"),
    ],
    "a leader loses one of two disks": [Act(1.0, LEADER, "lose a disk of"), Act(5.0, LEADER, "repair")],
    "all brokers are restarted in turn": [Act(1.0, ALL, "restart")],
}
"""What happens to the brokers, under a load of some seconds and two workers."""


def plan(acts: list[Act]) -> Plan:
    """Two workers that stay, and these faults of brokers."""
    return Plan(
        workers=2,
        cell="gru",
        users=200,
        per_second=200,
        commit_interval_seconds=0.2,
        flush_interval_seconds=0.5,
        block_rows=32,
        transaction_timeout_ms=6_000,
        static_membership=False,
        load_seconds=acts[-1].at + 1.0,
        acts=acts,
    )


@pytest.mark.broker
@pytest.mark.timeout(400)
def test_whatever_happens_to_one_broker_every_click_is_answered_once(
    subtests: pytest.Subtests, tmp_path: Path
) -> None:
    """Also in order, and the states are those of a quiet run. No worker ends."""
    require_kafka()
    with LocalCluster(properties=PROPERTIES) as cluster:
        for seed, (name, acts) in enumerate(FAULTS.items(), 1):
            with subtests.test(name):
                folder = tmp_path / str(seed)
                folder.mkdir()
                found = play(cluster, plan(acts), folder, seed=seed)

                assert found.good, found.problems[:10]
                assert found.clicks > 0
        logs = "".join(node.log for node in cluster.nodes)

    assert "Stopping serving logs in dir" in logs


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
