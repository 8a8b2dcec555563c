"""Every command that a document shows is run, in its order, but for those of `tests.commands.ONLY_PARSED`.

Addresses, ports and names of topics are others here; trainings are small. A new command in a document is run,
too: `tests.broker.reader` types it as it stands there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson
import polars as pl
import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.broker.client import Client, Record
from tests.broker.process import WorkerProcess
from tests.broker.reader import Reader, variables
from tests.commands import ONLY_PARSED, blocks, shown, to_run
from tests.conftest import create_topic
from tests.trainer.builders import START_MS, cyclic_clicks
from tests.waiting import eventually
from worker.__main__ import cli as worker
from worker.config import Settings, load
from worker.settings.common import Topics

JOURNEY: Final = next(one.block for one in shown("README.md") if one.program == "export")
"""README's five minutes, among the shell blocks there."""

OTHERS: Final = [one for one in to_run() if (one.document, one.block) != ("README.md", JOURNEY)]
"""All commands that are run elsewhere."""

SPLIT_MS: Final = round(datetime(2020, 6, 28, tzinfo=UTC).timestamp() * 1000)
"""Where the documents divide clicks."""

ADDRESS: Final = "localhost:9092"


@pytest.fixture
def gone_later(kafka: str) -> Iterator[Callable[[Topics], None]]:
    """Deletes the topics that it was given, when the test is over."""
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    given: list[Topics] = []
    yield given.append
    names = [name for topics in given for name in topics.model_dump().values()]
    for done in admin.delete_topics(names).values() if names else ():
        with suppress(KafkaException):
            done.result()


def clicks() -> pl.DataFrame:
    """Return clicks on a cycle of twelve items, one a minute, under the names that the documents use.

    They begin 20 hours before the documents divide them.
    """
    time_ms = pl.col("timestamp_ms") - START_MS + SPLIT_MS - 20 * 3_600_000
    return cyclic_clicks(400).select(
        pl.col("user_id", "item_id"),
        timestamp=time_ms,
        visitor=pl.col("user_id"),
        sku=pl.col("item_id"),
        at=time_ms,
    )


def files(folder: Path) -> None:
    """Write the files that the documents name."""
    table = clicks()
    table.write_csv(folder / "clicks.csv")
    table.write_csv(folder / "more.csv")
    items = table["item_id"].unique().sort().to_list()
    features = {"item_id": items, "genre": ["a", "b"] * 6, "price": [*map(float, range(12))]}
    pl.DataFrame(features).write_parquet(folder / "items.parquet")
    described = [{"item_id": item, "tags": [f"category:{number % 3}"]} for number, item in enumerate(items)]
    rules = [{"name": "mixed", "cap": {"prefix": "category:", "at_most": 3}}]
    for name, documents in (("items", described), ("rules", rules)):
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(map(orjson.dumps, documents)))
    (folder / "nextclick.toml").write_text("[recommend]\ntop = 5\n")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", [*dict.fromkeys(one.document for one in OTHERS)])
def test_every_command_that_is_shown_works(
    *,
    document: str,
    kafka: str,
    client: Client,
    unique: str,
    tmp_path: Path,
    gone_later: Callable[[Topics], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it stands there, after those before it."""
    monkeypatch.chdir(tmp_path)
    names = {f"topics.{name}": f"{name}-{unique}" for name in Topics.model_fields}
    settings = {"kafka.bootstrap_servers": kafka, "group": f"documents-{unique}", **names}
    topics = load(None, variables(settings)).topics
    gone_later(topics)
    files(tmp_path)
    made = CliRunner(env=variables(settings)).invoke(
        worker, ["topics", "--create-clicks"], catch_exceptions=False
    )
    assert made.exit_code == 0, made.output
    client.send(
        topics.clicks,
        (
            Record(orjson.dumps(row), partition=number // 5 % 4)
            for number, row in enumerate(clicks().select("user_id", "item_id", "timestamp").to_dicts())
        ),
    )
    reader = Reader(settings, tmp_path)
    try:
        for command in OTHERS:
            if command.document == document:
                reader.types(command)
    finally:
        reader.close()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts programs in the folder of the test; none outlives it."""
    started: list[WorkerProcess] = []

    def start(*program: str, environment: dict[str, str]) -> WorkerProcess:
        path = tmp_path / f"shell-{len(started)}.log"
        port = int(environment["NEXTCLICK_HTTP_PORT"])
        started.append(
            WorkerProcess(
                program[1:],
                program=program[:1],
                log_path=path,
                http_port=port,
                environment=environment,
                folder=tmp_path,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.end()
        print(process.log)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_five_minutes_on_your_own_topic_are_as_readme_says(
    kafka: str,
    client: Client,
    tmp_path: Path,
    gone_later: Callable[[Topics], None],
    shell: Callable[..., WorkerProcess],
) -> None:
    """Its settings, its commands in one shell, its click and its reader in Python; then there is a list."""
    (settings,), (record,), (code,) = (blocks("README.md", one) for one in ("toml", "json", "python"))
    (tmp_path / "nextclick.toml").write_text(settings.replace(ADDRESS, kafka))
    chosen: Settings = load(tmp_path / "nextclick.toml", {})
    gone_later(chosen.topics)
    create_topic(AdminClient({"bootstrap.servers": kafka, "log_level": 0}), chosen.topics.clicks, 4, {})
    client.send(chosen.topics.clicks, history())
    commands = [one.text for one in to_run("README.md") if one.block == JOURNEY]
    environment = variables({})
    began = shell("bash", "-euc", "\n".join(commands), environment=environment)
    eventually(lambda: ready_or_over(began), 240, f"the worker to be ready:\n{began.log}")

    client.send(chosen.topics.clicks, [Record(record.encode(), partition=7 % 4)])
    reader = shell(sys.executable, "-uc", code.replace(ADDRESS, kafka), environment=environment)
    line = eventually(lambda: next(iter(reader.log.splitlines()), ""), 30, "the list")

    assert line.startswith("7 ['lamp-4', ")
    assert line.endswith(" model")
    assert line.count("lamp-") == chosen.recommend.top


def history() -> Iterator[Record]:
    """Yield the clicks of a day, as README shows one; sent long enough ago to get no list."""
    sent_ms = round(time.time() * 1000) - 600_000
    for user, item, at in clicks().select("user_id", "item_id", "at").rows():
        number = int(user.removeprefix("user-"))
        value = {
            "who": {"id": number},
            "what": {"sku": item.replace("item", "lamp")},
            "at": datetime.fromtimestamp(at / 1000, UTC).isoformat().replace("+00:00", "Z"),
        }
        yield Record(orjson.dumps(value), partition=number % 4, timestamp_ms=sent_ms)


def ready_or_over(process: WorkerProcess) -> bool:
    """Return whether the worker at the end of a shell's commands is ready, as README's `curl` asks."""
    assert process.exit_code is None, process.log
    return process.http("/readyz")[0] == 200


def test_what_is_not_run_is_counted() -> None:
    """Of all commands that the documents show; those that are only parsed are listed with their reasons."""
    run = {one.text for one in to_run()}

    print(f"{len(run)} commands are run, {len(ONLY_PARSED)} only parsed:", *ONLY_PARSED, sep="\n  ")
    assert run | {*ONLY_PARSED} == {one.text for one in shown()}
    assert not run & {*ONLY_PARSED}
