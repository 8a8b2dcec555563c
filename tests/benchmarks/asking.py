"""Requests for lists beside clicks, on a real Kafka: `python -m tests.benchmarks.asking`.

One number a line, as JSON: the latency of 500 requests a second beside 1,000 clicks a second, and how many of
10,000 lists that were asked for after an acknowledged click lacked it. A request's time begins when it is
due, not when a connection is free for it. The clients are processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from http.client import HTTPConnection
from typing import Any, Final

import numpy as np
from confluent_kafka import KafkaError, Message, Producer

from deploy.kafka.ports import free_port
from tests.benchmarks.clicks import Flow, click, zipf
from tests.benchmarks.stand import Stand
from tests.benchmarks.warm import warm_stand
from tests.broker.process import ROOT
from tests.waiting import eventually

ITEMS: Final = 3_706
USERS: Final = 20_000
CLICKS: Final = 1_000
REQUESTS: Final = 500
CONNECTIONS: Final = 32
WARM_SECONDS: Final = 3.0
"""Requests of the first seconds are sent and answered, and not counted."""

_USERS_AT: Final = USERS // 20
"""Every request is for one of these users, of whom most have clicked."""


def measured(stand: Stand, *, workers: int, seconds: float, tries: int) -> dict[str, float]:
    """Return the latencies of requests beside clicks, and the violations of "read your clicks".

    With several `workers`, all requests go to the first one, which passes those of other partitions on.
    """
    settings = stand.settings(ITEMS)
    others = [_beside(settings, number) for number in range(1, workers)]
    settings["http"]["advertised"] = f"http://127.0.0.1:{settings['http']['port']}"
    topic, port = settings["topics"]["clicks"], settings["http"]["port"]
    with stand.worker(settings) as worker:
        worker.wait_until_ready()
        stand.sender.all_at_once(topic, (click(user, user % ITEMS) for user in range(_USERS_AT)))
        running = [stand.worker(one) for one in others]
        for one in running:
            one.__enter__().wait_until_ready()
        try:
            eventually(lambda: worker.metric("nextclick_lag_records") == 0, 60, what="all clicks")
            with Flow(stand.bootstrap, topic, users=USERS, items=ITEMS, rate=CLICKS):
                found = _client("load", port, seconds)
                found |= _client("read", port, tries, stand.bootstrap, topic)
        finally:
            for one in running:
                one.__exit__(None, None, None)
    return found


def _beside(settings: dict[str, Any], number: int) -> dict[str, Any]:
    port = free_port()
    http = {"port": port, "advertised": f"http://127.0.0.1:{port}"}
    return settings | {"worker_id": f"bench-{number}", "http": http}


def _client(*arguments: object) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.asking", "--client", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def _load(port: int, seconds: float) -> dict[str, float]:
    """Ask at even distances, whatever the answers do."""
    due, times, statuses = asyncio.Queue[tuple[float, int]](), list[float](), Counter[int]()
    users = zipf(np.random.default_rng(3), _USERS_AT, round(REQUESTS * (WARM_SECONDS + seconds))).tolist()
    asking = [asyncio.create_task(_asking(port, due, times, statuses)) for _ in range(CONNECTIONS)]
    start = time.perf_counter()
    for number, user in enumerate(users):
        at = start + number / REQUESTS
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        due.put_nowait((at, user))
    await due.join()
    for one in asking:
        one.cancel()
    counted = np.array(times[round(REQUESTS * WARM_SECONDS) :])
    found = {f"http_p{share}_seconds": float(np.percentile(counted, share)) for share in (50, 99)}
    failed = sum(number for status, number in statuses.items() if status != 200)
    return found | {"http_requests": len(counted), "http_failed": failed}


async def _asking(
    port: int, due: asyncio.Queue[tuple[float, int]], times: list[float], statuses: Counter[int]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        at, user = await due.get()
        writer.write(b"GET /v1/recommendations/user-%d?k=20 HTTP/1.1\r\nHost: a\r\n\r\n" % user)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        times.append(time.perf_counter() - at)
        statuses[int(head.split()[1])] += 1
        due.task_done()


def _read_your_clicks(port: int, tries: int, bootstrap: str, topic: str) -> dict[str, float]:
    """Ask for a list right after each click was acknowledged."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "socket.nagle.disable": True})
    connection, violations, not_yet = HTTPConnection("127.0.0.1", port, timeout=10), 0, 0
    stored = list[tuple[int, int]]()

    def acknowledged(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            raise RuntimeError(f"a click was not acknowledged: {error}")
        stored.append((message.partition() or 0, message.offset() or 0))

    for number in range(tries):
        key, value = click(USERS + number % 1_000, number % ITEMS)
        producer.produce(topic, key=key, value=value, on_delivery=acknowledged)
        while len(stored) <= number:
            producer.poll(0.01)
        partition, offset = stored[number]
        path = f"/v1/recommendations/{key.decode()}?after={partition}/{offset}"
        connection.request("GET", path)
        response = connection.getresponse()
        found = json.loads(response.read())
        not_yet += response.status != 200
        seen = found.get("seen") or {}
        violations += response.status == 200 and seen != {"partition": partition, "offset": offset}
    connection.close()
    return {"read_your_clicks": tries, "read_your_clicks_violations": violations, "not_yet": not_yet}


def main() -> None:
    """Measure, and print; with `--client`, be a client."""
    if sys.argv[1:2] == ["--client"]:
        kind, port, number, *rest = sys.argv[2:]
        found = (
            asyncio.run(_load(int(port), float(number)))
            if kind == "load"
            else _read_your_clicks(int(port), int(number), *rest)
        )
        print(json.dumps(found))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--tries", type=int, default=10_000)
    options = parser.parse_args()
    with warm_stand(ITEMS) as stand:
        found = measured(stand, workers=options.workers, seconds=options.seconds, tries=options.tries)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
