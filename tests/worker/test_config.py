from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Final

import pytest

from tests.settings import examples, loaded_three_ways, refused
from worker.config import Settings, load
from worker.settings.fields import fields_of, value_of
from worker.settings.loading import given

KEYS: Final = [key for key, _ in fields_of(Settings)]


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_comes_from_file_environment_and_command_line(key: str, tmp_path: Path) -> None:
    """With the same result."""
    text, value, more = examples(Settings, key, tmp_path)

    for settings in loaded_three_ways(Settings, key, text, tmp_path, more):
        assert value_of(settings, key) == value
        assert key in given(settings)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "commit_interval = '8s'",
            "commit_interval is 8 s and kafka.transaction_timeout_ms is 10000; the first must be at most",
        ),
        ("[topics]\nclicks = 'nextclick.state'", "clicks and state are both nextclick.state"),
    ],
)
def test_values_must_go_together(text: str, problem: str, tmp_path: Path) -> None:
    """Both names and values are in the message."""
    assert problem in refused(tmp_path, text)


def test_defaults_need_no_file() -> None:
    """Names that depend on others are derived."""
    settings = load(None, {})

    assert settings.worker_id == socket.gethostname()
    assert (settings.topics.dead_letters, settings.topics.state) == ("clicks.dead-letter", "nextclick.state")
    assert settings.transactional_id == f"nextclick/{socket.gethostname()}"


def test_derived_names_follow_the_settings_they_come_from(tmp_path: Path) -> None:
    """Those that are given stay."""
    path = tmp_path / "worker.toml"
    path.write_text('group = "shop"\n[topics]\nclicks = "shop.events"\nstate = "kept"\n')

    assert load(path, {}).topics.dead_letters == "shop.events.dead-letter"
    assert load(path, {}).topics.state == "kept"


def test_settings_cannot_be_changed() -> None:
    """Whoever has them has what was checked."""
    settings: Any = Settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.group = "other"
