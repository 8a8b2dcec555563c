"""One round of chaos: a load, workers, faults of all kinds; then what a committed reader finds."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from confluent_kafka.admin import AdminClient

from deploy.kafka.cluster import LocalCluster
from deploy.kafka.local import LocalKafka
from tests.broker.brokers import ClusterSwitch, schedule_of_brokers
from tests.broker.deployment import Deployment
from tests.broker.faults import BROKER, Act, Fleet, Outages, Switch, schedule
from tests.broker.load import EVENTS, Load, records
from tests.broker.shop import Shop
from tests.builders import item_names, tiny_release_parts
from tests.conftest import create_topic
from tests.shown import judge_bought, judge_removed
from tests.verdict import Input, Verdict, judge_answers, judge_letters, judge_states
from tests.waiting import eventually
from worker.core.manifest import Manifest
from worker.core.release import Release, verify
from worker.kafka.connection import KafkaConnection
from worker.settings.events import Events
from worker.topics.needs import COMPACTED

BROKER_PROPERTIES: Final = {
    # A killed broker is let in again after this. A busy one may now lose its own session: one fault more.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.backoff.ms": "500",
}

COMPACTED_AT_ONCE: Final = COMPACTED | {"segment.ms": "1000", "max.compaction.lag.ms": "1000"}
"""Settings of a compacted topic under which what is superseded goes while a round lasts."""

SHORT_SESSIONS: Final = {"session_timeout_ms": 2_000, "heartbeat_interval_ms": 400}
"""Kafka settings under which a frozen worker loses its partitions before its transaction is given up."""

WORKERS: Final = ("a", "b", "c", "d")
RELEASE: Final = "release"
"""Where an act's target is neither a worker nor the broker: another release is published."""
PARTITIONS: Final = 4
ITEMS: Final = item_names(200)
HIDDEN_SIZE: Final = 32

LOAD_SECONDS: Final = 8.0
CLUSTER_LOAD_SECONDS: Final = 16.0
"""How long the load of a round on a cluster is: brokers are away for seconds, one after the other."""
PLAY_SECONDS: Final = 60.0
CLUSTER_PLAY_SECONDS: Final = 240.0
"""How long after its time the load may still be under way: a broker that comes back needs seconds, and on a
cluster, several come back."""
CATCH_UP_SECONDS: Final = 60.0
REFRESH_SECONDS: Final = 30.0
FAULTS_SECONDS: Final = 20.0
"""How long a large shop has one release, and how long until its workers have some more faults."""
STOP_SECONDS: Final = 15.0
_TURN_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Plan:
    """All that a round's seed decides."""

    workers: int
    cell: str
    users: int
    per_second: int
    commit_interval_seconds: float
    flush_interval_seconds: float
    block_rows: int
    transaction_timeout_ms: int
    static_membership: bool
    load_seconds: float
    acts: list[Act]
    changes_per_second: float
    """How often an item or a rule changes."""
    items: int = len(ITEMS)

    @property
    def refreshes(self) -> bool:
        """Whether another release comes into service."""
        return any(act.target == RELEASE for act in self.acts)

    @classmethod
    def of(cls, seed: int, *, cluster: bool = False) -> Self:
        """The plan of the round with this seed, on a single node or on a cluster."""
        source = random.Random(seed)
        workers = source.randint(2, len(WORKERS))
        load_seconds = CLUSTER_LOAD_SECONDS if cluster else LOAD_SECONDS
        plan = cls(
            workers=workers,
            cell=source.choice(["gru", "lstm"]),
            users=source.choice([200, 3_000, 20_000]),
            per_second=source.choice([300, 1_000, 2_000]),
            commit_interval_seconds=source.choice([0.05, 0.2, 0.5, 1.5]),
            flush_interval_seconds=source.choice([0.5, 1.0, 2.0]),
            block_rows=source.choice([8, 32, 0]),
            transaction_timeout_ms=source.choice([3_500, 6_000]),
            static_membership=source.random() < 0.25,
            load_seconds=load_seconds,
            acts=schedule(source, WORKERS, running=workers, seconds=load_seconds),
            # Drawn apart: without it, a seed has the plan that it had before.
            changes_per_second=random.Random(f"{seed}/changes").choice([20, 100, 200]),
        )
        if not cluster:
            return plan
        acts = [act for act in plan.acts if act.target != BROKER]
        return replace(plan, acts=sorted([*acts, *schedule_of_brokers(source, seconds=load_seconds)]))

    def __str__(self) -> str:
        static = ", static members" if self.static_membership else ""
        return (
            f"{self.workers} workers{static}, {self.cell}, {self.users} users, {self.per_second}/s, "
            f"commit {self.commit_interval_seconds:g} s, flush {self.flush_interval_seconds:g} s, "
            f"blocks of {self.block_rows or 'all'}, transactions of {self.transaction_timeout_ms} ms, "
            f"{self.changes_per_second:g} changes/s; " + ", ".join(map(str, self.acts))
        )


def shop_plan(seed: int, seconds: float) -> Plan:
    """The plan of a large shop: two workers, 2,000 clicks/s, a refresh every 30 s, faults of workers."""
    source = random.Random(seed)
    acts = [Act(at, RELEASE, "publish") for at in np.arange(REFRESH_SECONDS / 2, seconds, REFRESH_SECONDS)]
    for begin in np.arange(0, seconds, FAULTS_SECONDS).tolist():
        acts += [Act(begin, name, "start") for name in WORKERS[:2]]
        faults = schedule(source, WORKERS[:2], running=2, seconds=FAULTS_SECONDS)
        acts += [act._replace(at=begin + act.at) for act in faults if act.target != BROKER]
    return Plan(
        workers=2,
        cell="gru",
        users=20_000,
        per_second=2_000,
        commit_interval_seconds=0.2,
        flush_interval_seconds=1.0,
        block_rows=0,
        transaction_timeout_ms=6_000,
        static_membership=False,
        load_seconds=seconds,
        acts=sorted(acts),
        changes_per_second=200,
        items=100_000,
    )


def run_round(node: LocalKafka | LocalCluster, seed: int, folder: Path) -> Verdict:
    """Play the round with this seed on a running Kafka, in topics of its own; logs go to `folder`.

    Nothing that was started is left after it, however it ends.
    """
    return play(node, Plan.of(seed, cluster=isinstance(node, LocalCluster)), folder, seed=seed)


def play(node: LocalKafka | LocalCluster, plan: Plan, folder: Path, *, seed: int) -> Verdict:
    """Play a plan; `seed` decides clicks and weights. States are not judged if the plan has a refresh."""
    item_ids = item_names(plan.items)
    parts = _release(item_ids, plan, seed)
    given = records(
        np.random.default_rng(seed),
        round(plan.per_second * plan.load_seconds),
        users=plan.users,
        items=plan.items,
        partitions=PARTITIONS,
        typed=True,
    )
    with stage(node, f"chaos-{seed}", optional=("items", "rules")) as deployment:
        release = verify(*parts, number=deployment.publish(*parts))
        shop = Shop(deployment, item_ids, seed=seed, per_second=plan.changes_per_second)
        shop.describe()

        def refresh() -> None:
            deployment.publish(*_release(item_ids, plan, seed + 1))

        def settings(name: str) -> dict[str, Any]:
            return deployment.settings(
                name,
                kafka=SHORT_SESSIONS | {"transaction_timeout_ms": plan.transaction_timeout_ms},
                recommend={"top": 20},
                events=EVENTS,
                commit_interval=plan.commit_interval_seconds,
                static_membership=plan.static_membership,
                state={"flush_interval": plan.flush_interval_seconds},
            )

        load = Load(
            node.bootstrap, deployment.clicks, given, per_second=plan.per_second, log_path=folder / "load.log"
        )
        fleet = Fleet(folder, settings, block_rows=plan.block_rows)
        with fleet, switch_of(node, deployment.clicks) as switch, load:
            for name in WORKERS[: plan.workers]:
                fleet.do("start", name)
            eventually(lambda: 200 in fleet.statuses("/readyz"), what="the first worker to be ready")
            with shop:
                _play(plan, fleet, switch, load, refresh)
                under = None if plan.refreshes else release
                return finish(deployment, fleet, under, shop, away=switch.outages)


def _release(item_ids: Sequence[str], plan: Plan, seed: int) -> tuple[Manifest, bytes]:
    return tiny_release_parts(item_ids, cell=plan.cell, hidden_size=HIDDEN_SIZE, seed=seed)


def switch_of(node: LocalKafka | LocalCluster, topic: str) -> Switch | ClusterSwitch:
    """What turns this Kafka off and on."""
    return ClusterSwitch(node, topic) if isinstance(node, LocalCluster) else Switch(node)


def _play(
    plan: Plan, fleet: Fleet, switch: Switch | ClusterSwitch, load: Load, refresh: Callable[[], None]
) -> None:
    """Do what the plan says when it says so; ends when all is done and sent."""
    began, due = time.monotonic(), [*plan.acts]
    patience = CLUSTER_PLAY_SECONDS if isinstance(switch, ClusterSwitch) else PLAY_SECONDS
    latest = began + plan.load_seconds + patience
    while due or not switch.idle or not load.done:
        assert time.monotonic() < latest, (
            f"{patience:g} s after the end of the load, {load.waiting} records are not acknowledged "
            f"and {len(due)} acts are to be done; the broker's orders are done: {switch.idle}"
        )
        while due and due[0].at <= time.monotonic() - began:
            act = due.pop(0)
            if act.target in WORKERS:
                fleet.do(act.what, act.target)
            elif act.target == RELEASE:
                refresh()
            else:
                switch.do(act)
        fleet.tend()
        time.sleep(_TURN_SECONDS)
    fleet.settle()


def finish(
    deployment: Deployment,
    fleet: Fleet,
    release: Release | None,
    shop: Shop | None = None,
    *,
    away: Outages | None = None,
) -> Verdict:
    """Let the workers catch up, stop them all, and judge what they left.

    `release`: the one that served; None: there were several, and states are not judged. With a `shop`, the
    events of the load have types; it closes when the workers have caught up.
    """
    verdict = Verdict()
    _catch_up(verdict, deployment, fleet)
    if shop:
        shop.close()
    # While others leave, who stops may be refused its last checkpoint, and leave some clicks to be replayed.
    # The last one has nobody beside it.
    fleet.stop(seconds=STOP_SECONDS, but=1)
    _catch_up(verdict, deployment, fleet)
    fleet.stop(seconds=STOP_SECONDS)
    eventually(lambda: settled(deployment), CATCH_UP_SECONDS, "every transaction to end")
    verdict.problems += fleet.fallen
    client = deployment.client
    events = Events(**EVENTS) if shop else Events()
    exclude_days = events.exclude_days if shop else 0
    given = Input.of(deployment.clicks, client.read(deployment.clicks), events.types())
    answers = client.read(deployment.recommendations)
    judge_answers(verdict, given, answers)
    judge_letters(verdict, given, client.read(deployment.dead_letters))
    if release is not None:
        judge_states(verdict, given, release, client.read(deployment.state), exclude_days=exclude_days)
    if shop:
        judge_bought(verdict, given, answers, exclude_days=exclude_days)
        judge_removed(verdict, shop.removals(), answers, away=away.spans if away else ())
    return verdict


@contextmanager
def stage(
    node: LocalKafka | LocalCluster, name: str, *, optional: Iterable[str] = ()
) -> Iterator[Deployment]:
    """A deployment of group `name` with topics of its own, which are gone afterwards."""
    admin = AdminClient({"bootstrap.servers": node.bootstrap, "log_level": 0})
    made: list[str] = []

    def create(topic: str, partitions: int) -> str:
        made.append(f"{name}.{topic}")
        compacted = topic in {"state", *optional}
        create_topic(admin, made[-1], partitions, COMPACTED_AT_ONCE if compacted else {})
        return made[-1]

    try:
        deployment = Deployment(node.bootstrap, name, create, partitions=PARTITIONS, optional=optional)
        eventually(lambda: known_everywhere(node.bootstrap, made), what="all brokers to know the topics")
        yield deployment
    finally:
        admin.delete_topics(made)


def known_everywhere(bootstrap: str, topics: list[str]) -> bool:
    """Whether each broker knows a leader of each partition of the topics."""
    with closing(KafkaConnection(bootstrap).admin()) as admin:
        return all(one.partitions and one.led for at in admin.everywhere(topics) for one in at.values())


def _catch_up(verdict: Verdict, deployment: Deployment, fleet: Fleet) -> None:
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while left := unfinished(deployment, fleet):
        fleet.tend()
        if time.monotonic() > deadline:
            verdict.problems.append(f"{left} after {CATCH_UP_SECONDS:g} s")
            break
        time.sleep(_TURN_SECONDS)


def unfinished(deployment: Deployment, fleet: Fleet) -> str:
    """What is still to be done: clicks to be read, or a dead worker's partitions to be taken over."""
    if behind := lag(deployment):
        return f"{behind} records are not read"
    if (served := fleet.served) != PARTITIONS or set(fleet.statuses("/readyz")) != {200}:
        return f"{served:g} of {PARTITIONS} partitions are served, or a worker is not ready"
    return ""


def lag(deployment: Deployment) -> int:
    """How many clicks the workers have not committed."""
    ends = deployment.client.ends(deployment.clicks, isolation="read_uncommitted")
    return sum(ends.values()) - sum(deployment.client.committed(deployment.clicks, deployment.group).values())


def settled(deployment: Deployment) -> bool:
    """Whether no transaction is open in the topics that the workers write."""
    ends = deployment.client.ends
    return all(
        ends(topic, isolation="read_committed") == ends(topic, isolation="read_uncommitted")
        for topic in (deployment.recommendations, deployment.dead_letters, deployment.state)
    )
