"""What every test may use: a real Kafka and fresh topics on it; and how Hypothesis runs."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn, Protocol

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from hypothesis import HealthCheck, settings

from deploy.java import Unavailable, find_java
from deploy.kafka.install import fetch as kafka_jars
from deploy.kafka.local import LocalKafka
from deploy.kafka.security import Access
from deploy.registry.install import fetch as registry_jars
from tests.shared_servers import SHORT_LIVED, shared_kafka, shared_locked_kafka, shared_registry
from tests.waiting import eventually

EXTERNAL_KAFKA = "NEXTCLICK_TEST_KAFKA"
NO_KAFKA = "no Kafka to test with: "
NO_REGISTRY = "no schema registry to test with: "
BROKERS = frozenset({"kafka", "kafka_node", "locked_kafka", "embedded", "registry"})
"""The fixtures that are a server. A parameter that asks for one while it runs has the mark itself."""

LIFE = pytest.StashKey[contextlib.ExitStack]()
"""What lasts as long as this process of the run."""

# No deadline: the machine is shared, and what is slow is a benchmark's to find. No database: a run must
# not depend on the one before; what it found once is kept as an example in the code.
settings.register_profile(
    "nextclick",
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
# For `make check`, which is run after every change: each run draws other examples.
settings.register_profile("quick", settings.get_profile("nextclick"), max_examples=20, stateful_step_count=20)
settings.load_profile("nextclick")


class TopicFactory(Protocol):
    """What the fixture `topics` is."""

    def __call__(
        self, name: str = "topic", *, partitions: int = 1, config: dict[str, str] | None = None
    ) -> str:
        """Create a topic under a name nobody else has; returns that name."""


def pytest_configure(config: pytest.Config) -> None:
    """End as on Ctrl-C when asked to terminate, so that fixtures stop the processes they started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.stash[LIFE] = contextlib.ExitStack()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a broker, by its fixtures. Begin with the long tests: all wait for one begun last."""
    for item in items:
        if BROKERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("broker")
    items.sort(key=_is_quick)


def _is_quick(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is None and "kafka_node" not in getattr(item, "fixturenames", ())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave the shared Kafka. Not in a fixture: to wait for the others may outlast a test's timeout."""
    session.config.stash[LIFE].close()


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The `host:port` of a real Apache Kafka, shared by the run: NEXTCLICK_TEST_KAFKA or one started here."""
    if external := os.environ.get(EXTERNAL_KAFKA):
        return external
    require_kafka()
    folder = folder_of_run(pytestconfig, tmp_path_factory)
    return pytestconfig.stash[LIFE].enter_context(shared_kafka(folder / "kafka"))


@pytest.fixture(scope="session")
def locked_kafka(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Access:
    """The access to a Kafka with TLS, passwords, client certificates and ACLs, shared by the run."""
    require_kafka()
    folder = folder_of_run(pytestconfig, tmp_path_factory)
    return pytestconfig.stash[LIFE].enter_context(shared_locked_kafka(folder / "locked-kafka"))


@pytest.fixture(scope="session")
def registry(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a real schema registry, Apicurio's, shared by the run."""
    require_registry()
    folder = folder_of_run(pytestconfig, tmp_path_factory)
    return pytestconfig.stash[LIFE].enter_context(shared_registry(folder / "registry"))


def folder_of_run(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of the run have in common."""
    folder = tmp_path_factory.getbasetemp()
    # pytest-xdist: each process has a folder in that of the run.
    return folder.parent if hasattr(pytestconfig, "workerinput") else folder


@pytest.fixture
def kafka_node() -> Iterator[Callable[..., LocalKafka]]:
    """Starts Kafka nodes of the test's own, to stop, kill, suspend and restart: `kafka_node(**properties)`.

    The shared one must stay as it is. Dots in the names of properties are written as underscores.
    """
    require_kafka()
    with contextlib.ExitStack() as life:
        yield lambda **properties: life.enter_context(
            LocalKafka(
                java_options=SHORT_LIVED,
                properties={name.replace("_", "."): str(value) for name, value in properties.items()},
            )
        )


@pytest.fixture
def unique() -> str:
    """A short suffix that no other test has, for group ids and topics that the worker names itself."""
    return uuid.uuid4().hex[:8]


@pytest.fixture
def topics(kafka: str, unique: str) -> Iterator[TopicFactory]:
    """Creates topics: `topics("clicks", partitions=4)` returns `clicks-<unique>`; gone after the test."""
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    created: list[str] = []

    def create(name: str = "topic", *, partitions: int = 1, config: dict[str, str] | None = None) -> str:
        topic = f"{name}-{unique}"
        create_topic(admin, topic, partitions, config or {})
        created.append(topic)
        return topic

    yield create
    with contextlib.suppress(KafkaException):
        for done in admin.delete_topics(created).values() if created else ():
            done.result()


def create_topic(admin: AdminClient, topic: str, partitions: int, config: dict[str, str]) -> None:
    """Create one topic, with the broker's default of replicas; wait until it tells whoever asks."""
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=-1, config=config)
    admin.create_topics([wanted])[topic].result(timeout=30)
    eventually(lambda: _leads_all(admin, topic), what=f"the topic {topic}")


def _leads_all(admin: AdminClient, topic: str) -> bool:
    known = admin.list_topics(topic, timeout=30).topics[topic]
    return known.error is None and all(one.leader >= 0 for one in known.partitions.values())


@functools.cache
def _why_not(fetch: Callable[[], Path]) -> str:
    try:
        find_java()
        fetch()
    except Unavailable as error:
        return str(error)
    return ""


def require_kafka() -> None:
    """Skip the test at a desk, fail it in CI, where Java or Kafka's jars are missing."""
    if reason := _why_not(kafka_jars):
        _do_without(f"{NO_KAFKA}{reason} Or set {EXTERNAL_KAFKA}=host:port.")


def require_registry() -> None:
    """Skip the test at a desk, fail it in CI, where Java or the registry's jars are missing."""
    if reason := _why_not(registry_jars):
        _do_without(f"{NO_REGISTRY}{reason}")


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        raise pytest.fail.Exception(reason, pytrace=False)
    raise pytest.skip.Exception(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report all skips for want of a server at one place: the summary then has one line for all of them."""
    report = yield
    if report.skipped and call.excinfo:
        reason = str(call.excinfo.value)
        if reason.startswith((NO_KAFKA, NO_REGISTRY)):
            report.longrepr = (__file__, _do_without.__code__.co_firstlineno, reason)
    return report
