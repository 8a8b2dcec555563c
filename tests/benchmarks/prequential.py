"""Hours of real clicks, one after the other: what a release that is refreshed hits, and one that is not.

    for each hour of Globo.com's news:
        its users click, in the order of time, each when the lists for their click before are there
        the trainer learns the hour and publishes
        go on when that serves

Prequential (Dawid, "Statistical Theory: The Prequential Approach", 1984): a list is made before the click
that it is held against, and a click is learned after that. Two workers in groups of their own read the same
clicks. One is refreshed; the other keeps the first release, that of the hours learned beforehand. Counted
is their own live quality, out of its topic. The popular list of a release is that of the hour which
it learned last.

A session is a user, as in the published protocol: nobody comes back the next day to a list of the day before.
One that goes on over the end of an hour is learned in two parts, so that no click is known before its time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, Final, NamedTuple

import click
import numpy as np
import polars as pl
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from tests.benchmarks.stand import PARTITIONS, Stand
from tests.broker.process import WorkerProcess
from tests.quality.data import FOLDER, clicks_of, is_there
from tests.quality.news import BEGIN_MS, NAME, SETTINGS
from tests.waiting import eventually
from trainer.clicks.timestamps import HOUR_MS
from trainer.release.package import PackagedRelease
from trainer.training.online import OnlineTraining
from worker.core.quality import Tally
from worker.kafka.connection import KafkaConnection
from worker.topics.quality import read_reports
from worker.topics.releases import publish

_TTL_SECONDS: Final = 10_800
"""Nearly all sessions are over by then; without it all there ever were would be rebuilt every hour."""

_PATIENCE_SECONDS: Final = 60.0


class Times(NamedTuple):
    """The seconds that an hour of data takes: until its release serves, its clicks, learning it."""

    adopting: float
    clicking: float
    training: float


class Hour(NamedTuple):
    """The clicks of an hour, in the order of time, and when it is over."""

    clicks: pl.DataFrame
    end_ms: int


def prequential(stand: Stand, *, hours: int, history: int) -> dict[str, float]:
    """Go through `hours` after the first `history`; return no figures where the data are not at hand."""
    if not is_there(NAME):
        click.echo(f"globo is not measured: {NAME}.csv.gz is not in {FOLDER}", err=True)
        return {}
    story, stream = hours_of(clicks_of(NAME), history + hours), OnlineTraining(SETTINGS)
    *beforehand, last = islice(story, history)
    for hour in beforehand:
        _learned(stream, hour)
    fitted = _learned(stream, last)
    refreshed = _settings(stand, "refreshed")
    frozen = _settings(stand, "frozen", clicks=refreshed["topics"]["clicks"])
    _publish(stand, frozen, fitted)
    answers = [settings["topics"]["recommendations"] for settings in (refreshed, frozen)]
    times: list[Times] = []
    with (
        stand.worker(refreshed) as worker,
        stand.worker(frozen) as other,
        closing(Users(stand.bootstrap, refreshed["topics"]["clicks"], answers)) as users,
    ):
        other.wait_until_ready()
        for hour in story:
            began = time.monotonic()
            _serve(worker, _publish(stand, refreshed, fitted))
            adopted = time.monotonic()
            users.click(hour)
            clicked = time.monotonic()
            fitted = _learned(stream, hour)
            times.append(Times(adopted - began, clicked - adopted, time.monotonic() - clicked))
            click.echo(
                f"globo: hour {len(times)}, {users.clicks:,} clicks, {_so_far(worker, other)}", err=True
            )
    with_refresh, without = (_counted(stand, settings) for settings in (refreshed, frozen))
    return {
        "globo_hours": len(times),
        **_rates("refresh", with_refresh),
        **_rates("frozen", without),
        **_rates("popular", with_refresh, of="popular_"),
        **_rates("popular_frozen", without, of="popular_"),
        "globo_clicks": users.clicks,
        "globo_clicks_judged": with_refresh.clicks,
        "globo_clicks_judged_frozen": without.clicks,
        "globo_clicks_that_can_be_judged": users.followed,
        **{
            f"globo_{name}_seconds_an_hour": float(np.mean(seconds))
            for name, seconds in zip(Times._fields, zip(*times, strict=True), strict=True)
        },
    }


def hours_of(clicks: pl.DataFrame, hours: int) -> Iterator[Hour]:
    """Yield the first `hours`, without those that have no clicks."""
    number = (pl.col("timestamp_ms") - BEGIN_MS) // HOUR_MS
    clicks = clicks.rename({"session_id": "session"}).with_columns(hour=number).filter(pl.col("hour") < hours)
    for part in clicks.partition_by("hour", maintain_order=True):
        yield Hour(part, BEGIN_MS + (part["hour"][0] + 1) * HOUR_MS)


class Users:
    """Click one after the other, each only when all `answers` to their click before are there."""

    def __init__(self, bootstrap: str, clicks: str, answers: Sequence[str]) -> None:
        self.clicks = 0
        self.followed = 0
        """How many clicks came after another one of the same user: these can be judged."""
        self._topic = clicks
        self._known: set[bytes] = set()
        self._waiting = {topic: set[bytes]() for topic in answers}
        """Who has not seen the answer in this topic yet."""
        # Silent: the threads of the client outlive the broker.
        at_once = {"bootstrap.servers": bootstrap, "socket.nagle.disable": True, "log_level": 0}
        self._producer = Producer({**at_once, "linger.ms": 0})
        self._consumer = Consumer(
            {
                **at_once,
                "group.id": "bench-users",  # asked for by the client, never joined
                "isolation.level": "read_uncommitted",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        self._consumer.assign(
            [TopicPartition(topic, number, 0) for topic in answers for number in range(PARTITIONS)]
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def click(self, hour: Hour) -> None:
        """Make all clicks of an hour, and see the answers to the last ones."""
        for session, item, at_ms in hour.clicks.select("session", "item_id", "timestamp_ms").iter_rows():
            user = b"%d" % session
            while any(user in waiting for waiting in self._waiting.values()):
                self._see()
            value = b'{"user_id":"%b","item_id":"%b","timestamp":%d}' % (user, item.encode(), at_ms)
            self._producer.produce(self._topic, key=user, value=value)
            self.clicks += 1
            self.followed += user in self._known
            for seen_or_waiting in (self._known, *self._waiting.values()):
                seen_or_waiting.add(user)
        while any(self._waiting.values()):
            self._see()

    def _see(self) -> None:
        """Wait for an answer."""
        self._producer.poll(0)
        message = self._consumer.poll(_PATIENCE_SECONDS)
        if message is None:
            waiting = {topic: len(users) for topic, users in self._waiting.items()}
            raise RuntimeError(f"no answer for {_PATIENCE_SECONDS:g} s; by topic, who waits: {waiting}")
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        self._waiting[message.topic() or ""].discard(message.key() or b"")


def _settings(stand: Stand, name: str, *, clicks: str = "") -> dict[str, Any]:
    settings = stand.settings(
        0,
        clicks=clicks,
        releases=f"bench.releases-{name}",
        publish="every",
        publish_max_age=0,
        exclude_recent=SETTINGS.evaluation.exclude_recent,
    )
    # Answers are seen before they are committed: commits would only be waited for.
    return {**settings, "commit_interval": 1.0, "state": {"user_ttl": _TTL_SECONDS}}


def _learned(stream: OnlineTraining, hour: Hour) -> PackagedRelease:
    stream.apply(hour.clicks.sort("session", maintain_order=True), hour.end_ms)
    return stream.release(hour.end_ms)


def _publish(stand: Stand, settings: dict[str, Any], fitted: PackagedRelease) -> int:
    return publish(KafkaConnection(stand.bootstrap), settings["topics"]["releases"], *fitted.parts)


def _serve(worker: WorkerProcess, number: int) -> None:
    eventually(lambda: worker.metric("nextclick_release") == number, 60, f"release {number} to serve")
    worker.wait_until_ready()


def _so_far(*workers: WorkerProcess) -> str:
    hits, clicks = (
        [one.metric(f"nextclick_quality_{name}_total") for one in workers] for name in ("hits", "clicks")
    )
    rates = (f"{hit / max(1, judged):.4f}" for hit, judged in zip(hits, clicks, strict=True))
    return f"hit rates so far {', '.join(rates)}"


def _counted(stand: Stand, settings: dict[str, Any]) -> Tally:
    total = Tally()
    for report in read_reports(KafkaConnection(stand.bootstrap), settings["topics"]["quality"]):
        for tally in report.tallies.values():
            total.add(tally)
    return total


def _rates(name: str, tally: Tally, *, of: str = "") -> dict[str, float]:
    hits, reciprocal_ranks = (getattr(tally, f"{of}{sum_of}") for sum_of in ("hits", "reciprocal_ranks"))
    return {
        f"globo_hit_rate_{name}": hits / tally.clicks,
        f"globo_mrr_{name}": reciprocal_ranks / tally.clicks,
    }
