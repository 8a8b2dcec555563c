"""A deployment on a locked-down Kafka: each role is a user of its own, with exactly the printed ACLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import orjson
from click.testing import CliRunner

from deploy.kafka.security import Access
from tests.broker.client import Client, Record
from tests.broker.process import toml
from tests.broker.rights import Acl, Rights, printed
from trainer.commands.cli import cli as trainer
from worker.__main__ import cli as worker

PARTITIONS: Final = 2


class Secured:
    """The topics, users and settings of one test. Workers have passwords; trainer and admin, certificates."""

    def __init__(self, access: Access, unique: str, folder: Path) -> None:
        self.group = f"group-{unique}"
        self.client = Client(access.bootstrap)
        self.rights = Rights(access.bootstrap)
        names = ("clicks", "recommendations", "dead_letters", "releases", "state", "quality")
        self.topics = {name: f"{name}-{unique}" for name in names}
        self.users = {"worker": "worker", "trainer": f"trainer-{unique}", "admin": f"admin-{unique}"}
        self._folder = folder
        self._kafka = {
            "worker": access.scram("worker"),
            **{role: access.mutual(self.users[role]) for role in ("trainer", "admin")},
        }
        self.acls: dict[str, list[Acl]] = {}

    def kafka(self, role: str) -> dict[str, Any]:
        """The section `[kafka]` of a role."""
        return dict(self._kafka[role])

    def settings(self, role: str = "worker", **sections: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a worker as one of the roles."""
        return {
            "group": self.group,
            "worker_id": "a",
            "kafka": self.kafka(role),
            "topics": self.topics,
            "recommend": {"publish": "every", "publish_max_age": 0},
            "state": {"flush_interval": "1s"},
        } | sections

    def read_acls(self) -> int:
        """Read the ACLs of all roles from what `check` prints; its exit code."""
        code, text = self.run("worker", "check", "--json")
        found = orjson.loads(text)["acls"]
        self.acls = {role: [printed(one["acl"]) for one in acls] for role, acls in found.items()}
        return code

    def grant(self, role: str) -> None:
        """Grant a role what was printed for it."""
        self.rights.grant(self.users[role], self.acls[role])

    def run(self, role: str, *words: str) -> tuple[int, str]:
        """Run a command of the worker as one of the roles; exit code and all that it wrote."""
        return self._invoked(worker, f"worker-{role}.toml", self.settings(role), words)

    def train(self, *words: str) -> tuple[int, str]:
        """Run a command of the trainer; exit code and all that it wrote."""
        topics = {name: self.topics[name] for name in ("clicks", "releases", "quality")}
        settings = {"kafka": self.kafka("trainer"), "topics": topics}
        return self._invoked(trainer, "trainer.toml", settings, words)

    def _invoked(
        self, program: click.Group, name: str, settings: Mapping[str, Any], words: Sequence[str]
    ) -> tuple[int, str]:
        config = self._folder / name
        config.write_text(toml(settings))
        command, *arguments = words
        done = CliRunner().invoke(
            program, [command, "--config", str(config), *arguments], catch_exceptions=False
        )
        return done.exit_code, done.output

    def create_topics(self) -> str:
        """Create all topics as the admin; what the command says."""
        code, text = self.run("admin", "topics", "--create-clicks", "--partitions", str(PARTITIONS))
        assert code == 0, text
        return text

    def click_by(self, user: str, item: str) -> Record:
        """A click of a user, in the user's partition."""
        document = {"user_id": user, "item_id": item}
        return Record(orjson.dumps(document), partition=int(user.rpartition("-")[2]) % PARTITIONS)

    def click_all(self, item: str, *, users: int = 10) -> list[Record]:
        """Let every user click the same item."""
        clicks = [self.click_by(f"user-{number}", item) for number in range(users)]
        return self.client.send(self.topics["clicks"], clicks)

    def answered(self, clicks: int) -> None:
        """Wait until so many clicks are answered; each once."""
        answers = self.client.read(self.topics["recommendations"], at_least=clicks, timeout_seconds=60)
        ids = [answer.header("id") for answer in answers]

        assert len(set(ids)) == len(ids) == clicks
