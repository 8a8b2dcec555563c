"""The reason for a refused connection, from a real broker to the person who runs the programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka.admin import AdminClient

from deploy.kafka.certificates import Authority
from deploy.kafka.security import Access
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import Deployment
from tests.broker.rights import Acl, Rights
from tests.conftest import create_topic
from tests.waiting import eventually
from tests.worker.kafka.token_server import granting, unsecured
from trainer.commands.cli import cli as trainer
from worker import __main__ as worker_program
from worker.config import load
from worker.errors import KafkaAway
from worker.kafka.connection import KafkaConnection
from worker.kafka.refusals import SENTENCES
from worker.settings.loading import variable

Settings = dict[str, str | None]

SETTING: Final = "kafka.bootstrap_servers"


def connection(settings: Settings) -> KafkaConnection:
    """The connection by the settings of `[kafka]`."""
    given = {variable(f"kafka.{name}"): value for name, value in settings.items() if value is not None}
    return load(None, given).kafka.connection()


def without_tls(settings: Settings) -> Settings:
    """The settings without those of TLS."""
    return {name: value for name, value in settings.items() if not name.startswith("ssl_")}


def token(text: str | None, access: Access) -> Settings:
    """The settings of a login with a token."""
    return {
        "bootstrap_servers": access.listeners["SASL"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauth_token": text,
        "ssl_ca_file": str(access.ca_file),
    }


def wrong(access: Access, case: str) -> Settings:
    """The settings with a fault."""
    sasl, plain, ca_file = access.listeners["SASL"], access.bootstrap, str(access.ca_file)
    scram: Settings = {**access.scram("worker")}
    cases: dict[str, Callable[[], Settings]] = {
        "password": lambda: scram | {"sasl_password": "wrong"},
        "password, PLAIN": lambda: {**access.plain("worker"), "sasl_password": "wrong"},
        "user": lambda: scram | {"sasl_username": "nobody"},
        "mechanism": lambda: scram | {"sasl_mechanism": "SCRAM-SHA-256"},
        "expired token": lambda: token(unsecured("worker", -60), access),
        "no login": lambda: {"bootstrap_servers": sasl, "security_protocol": "SSL", "ssl_ca_file": ca_file},
        "login where there is none": lambda: (
            without_tls(scram) | {"security_protocol": "SASL_PLAINTEXT", "bootstrap_servers": plain}
        ),
        "TLS where there is none": lambda: scram | {"bootstrap_servers": plain},
        "no TLS": lambda: {"bootstrap_servers": sasl},
        "no certificate": lambda: (
            access.mutual("trainer") | dict.fromkeys(("ssl_certificate_file", "ssl_key_file"))
        ),
        "other certificate": lambda: {**access.mutual("trainer", certificate=Authority().issue("trainer"))},
        "authorities of the system": lambda: scram | {"ssl_ca_file": None},
    }
    return cases[case]()


CASES: Final[Mapping[str, str]] = {
    "password": "login refused",
    "password, PLAIN": "login refused",
    "user": "login refused",
    "mechanism": "mechanism refused",
    "expired token": "token refused",
    "no login": "SASL required",
    "login where there is none": "no SASL",
    "TLS where there is none": "no TLS",
    "no TLS": "TLS required",
    "no certificate": "client certificate required",
    "other certificate": "client certificate refused",
    "authorities of the system": "authority not trusted",
}
"""The cause that each fault leads to."""


@pytest.mark.parametrize("case", CASES)
def test_a_broker_that_refuses_a_connection_is_understood(locked_kafka: Access, case: str) -> None:
    """Every setting with a fault leads to its sentence."""
    cause, settings = CASES[case], wrong(locked_kafka, case)
    protocol = settings.get("security_protocol") or "PLAINTEXT"

    found = connection(settings).refusal()

    assert str(found) == SENTENCES[cause].format(
        address=settings["bootstrap_servers"],
        username=settings.get("sasl_username"),
        mechanism=settings.get("sasl_mechanism"),
        supported="OAUTHBEARER, PLAIN, SCRAM-SHA-512",
        protocol=protocol,
        instead={"SASL required": "SASL_SSL", "no SASL": "PLAINTEXT", "no TLS": "SASL_PLAINTEXT"}.get(
            cause, "SSL"
        ),
        certificate_file=settings.get("ssl_certificate_file"),
        ca_file="not set: those of the system",
        why=str(found).partition("(")[2].partition(")")[0],
    )


@pytest.mark.parametrize("way", ["scram", "plain", "mutual"])
def test_good_credentials_are_not_refused(locked_kafka: Access, way: str) -> None:
    """Nor is the address that the broker gives."""
    ways: Mapping[str, Settings] = {
        "scram": {**locked_kafka.scram("worker")},
        "plain": {**locked_kafka.plain("worker")},
        "mutual": {**locked_kafka.mutual("worker")},
    }

    assert connection(ways[way]).refusal() is None


def test_tokens_of_an_endpoint_and_of_a_file_open_the_broker(locked_kafka: Access, tmp_path: Path) -> None:
    """The client logs in with them; what is visible depends on ACLs."""
    file = tmp_path / "token"
    file.write_text(unsecured("worker", 60) + "\n")
    from_file = token(None, locked_kafka) | {"sasl_oauth_token_file": str(file)}
    with granting() as server:
        from_endpoint = token(None, locked_kafka) | {
            "sasl_oauth_url": server.url,
            "sasl_username": "worker",
            "sasl_password": "secret",
        }
        for settings in (from_file, from_endpoint):
            admin = connection(settings).admin()
            assert not admin.describe(["anything"])["anything"].visible
            admin.close()


def test_the_commands_of_both_programs_print_the_reason(
    locked_kafka: Access, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the same sentence."""
    settings = locked_kafka.scram("worker") | {"sasl_password": "wrong"}
    for name, value in settings.items():
        monkeypatch.setenv(variable(f"kafka.{name}"), value)
    sentence = SENTENCES["login refused"].format(
        address=settings["bootstrap_servers"], username="worker", mechanism="SCRAM-SHA-512"
    )

    with pytest.raises(SystemExit):
        worker_program.main(["check"])
    printed = capsys.readouterr()
    with pytest.raises(KafkaAway) as failure:
        trainer.main(["releases"], standalone_mode=False)

    assert sentence in printed.out + printed.err
    assert sentence in str(failure.value)


def test_a_worker_says_the_reason_once_and_goes_on_when_the_file_is_right(
    locked_kafka: Access, worker: WorkerFactory, unique: str, tmp_path: Path
) -> None:
    """In /readyz and the log; the new password is read without a restart."""
    admin = AdminClient({"bootstrap.servers": locked_kafka.bootstrap, "log_level": 0})

    def create(name: str, partitions: int) -> str:
        create_topic(admin, f"{name}-{unique}", partitions, {})
        return f"{name}-{unique}"

    deployment = Deployment(locked_kafka.bootstrap, f"group-{unique}", create, partitions=1)
    deployment.publish_successor()
    settings = deployment.settings()
    Rights(locked_kafka.bootstrap).grant(
        "worker",
        [
            *(Acl("topic", topic, ("ALL",)) for topic in settings["topics"].values()),
            Acl("group", deployment.group, ("ALL",)),
            Acl("transactional-id", deployment.group, ("ALL",), prefixed=True),
        ],
    )
    file = tmp_path / "password"
    file.write_text("wrong")
    login = locked_kafka.scram("worker")
    settings["kafka"] = {name: value for name, value in login.items() if name != "sasl_password"} | {
        "sasl_password_file": str(file)
    }
    sentence = SENTENCES["login refused"].format(
        address=login["bootstrap_servers"], username="worker", mechanism="SCRAM-SHA-512"
    )

    process = worker(settings, ready=False)
    eventually(lambda: sentence in process.http("/readyz")[1], 60, "the reason")
    file.unlink()
    gone = SENTENCES["secret unreadable"].format(
        why=f"kafka.sasl_password_file is {file}, which cannot be read: No such file or directory"
    )
    eventually(lambda: gone in process.http("/readyz")[1], 60, "the other reason")
    assert process.http("/livez")[0] == 200
    file.write_text(login["sasl_password"])

    process.wait_until_ready(120)
    assert (process.log.count(sentence), process.log.count(gone)) == (1, 1)
