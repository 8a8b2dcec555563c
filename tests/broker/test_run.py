"""Training that goes on, on a real Kafka: real trainers, killed, frozen, and several at once."""

from __future__ import annotations

from pathlib import Path

from tests.broker.client import Client
from tests.broker.process import WorkerProcess
from tests.broker.test_trainer import records_of_cycle
from tests.conftest import TopicFactory

QUICK = [
    "--hidden-size",
    "8",
    "--epochs",
    "1",
    "--warm-epochs",
    "1",
    "--held-out",
    "1h",
    "--window-days",
    "1",
]


def test_round(kafka: str, client: Client, topics: TopicFactory, tmp_path: Path) -> None:
    clicks, releases = topics("clicks", partitions=4), topics("releases")
    client.send(clicks, records_of_cycle(200))
    where = [
        "--kafka",
        kafka,
        "--topic",
        clicks,
        "--releases",
        releases,
        "--user",
        "user",
        "--item",
        "product.id",
        "--log",
        str(tmp_path / "log"),
    ]
    p = WorkerProcess(
        ["run", *where, *QUICK, "--every", "3s", "--metrics-port", "19999", "--session-timeout", "6s"],
        log_path=tmp_path / "log.txt",
        http_port=19999,
        module="trainer",
    )
    import time

    time.sleep(12)
    client.send(clicks, records_of_cycle(100))
    time.sleep(10)
    print(
        "\n".join(
            l
            for l in p.http("/metrics")[1].splitlines()
            if "nextclick_trainer" in l and not l.startswith("#")
        )
    )
    p.terminate()
    print(p.wait(), p.log)
    assert 0
