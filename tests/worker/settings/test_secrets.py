from __future__ import annotations

from pathlib import Path

import pytest

from tests.settings import LOGIN, refused
from worker.config import load
from worker.errors import SettingError
from worker.settings.fields import kinds_of
from worker.settings.loading import replaced, variable
from worker.settings.secrets import FILE, Secret, reading

LOGIN_VARIABLES = {variable(key): value for key, value in LOGIN.items() if key != "kafka.sasl_password"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a secret; editors end its last line."""
    path = tmp_path / "password"
    path.write_text("first\n")
    return path


def test_a_secret_in_a_file_is_read_at_every_use(file: Path, tmp_path: Path) -> None:
    """By any of the places where settings are read."""
    toml = tmp_path / "nextclick.toml"
    toml.write_text(f"[kafka]\nsasl_password_file = '{file}'\n")
    for settings in (
        load(toml, LOGIN_VARIABLES),
        load(None, LOGIN_VARIABLES | {"NEXTCLICK_KAFKA_SASL_PASSWORD_FILE": str(file)}),
        load(None, LOGIN_VARIABLES, [("kafka.sasl_password_file", str(file))]),
    ):
        file.write_text("first\n")
        password = settings.kafka.sasl_password
        assert password is not None
        assert password.read() == "first"
        file.write_text("second")
        assert password.read() == "second"


def test_every_secret_may_be_in_a_file() -> None:
    """One rule for all of them."""
    assert {
        key for key in kinds_of(type(load(None, {}))) if key.endswith(("password_file", "token_file"))
    } == {
        "http.token_file",
        "kafka.sasl_oauth_token_file",
        "kafka.sasl_password_file",
        "kafka.ssl_key_password_file",
        "registry.password_file",
    }


def test_a_secret_is_not_given_twice(file: Path, tmp_path: Path) -> None:
    """Nobody knows which of the two is meant."""
    said = refused(tmp_path, f"[kafka]\nsasl_password = 'a'\nsasl_password_file = '{file}'")

    assert "kafka.sasl_password and kafka.sasl_password_file are both set; leave out one" in said


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "which cannot be read: No such file or directory"),
        (b"\xff\xfe", "which cannot be read: it is not text"),
        (b"\n", "which is empty"),
    ],
)
def test_a_file_without_a_secret_is_named(
    file: Path, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    """When the settings are read, and later."""
    secret = Secret(file=file, key="kafka.sasl_password_file")
    file.unlink() if content is None else file.write_bytes(content)

    assert f"  kafka.sasl_password_file is {file}, {problem}" in refused(
        tmp_path, f"[kafka]\nsasl_password_file = '{file}'"
    )
    with pytest.raises(SettingError, match=problem):
        secret.read()


def test_what_is_no_path_and_no_text_is_refused(tmp_path: Path) -> None:
    """By its own name."""
    assert "kafka.sasl_password_file must be a path" in refused(tmp_path, "[kafka]\nsasl_password_file = 7")
    assert "kafka.sasl_password is not shown: must be text" in refused(tmp_path, "[kafka]\nsasl_password = 7")


def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    """As in a variable or a file; a login with it would only fail later."""
    assert "kafka.sasl_password is not shown: must not be empty" in refused(
        tmp_path, "[kafka]\nsasl_password = ''"
    )


def test_a_secret_survives_a_change_of_other_settings(file: Path) -> None:
    """It stays in its file."""
    settings = load(None, LOGIN_VARIABLES | {"NEXTCLICK_KAFKA_SASL_PASSWORD_FILE": str(file)})

    changed = replaced(settings, {"recommend.top": 3})

    assert changed.kafka.sasl_password == settings.kafka.sasl_password
    assert changed.kafka.sasl_password == Secret(file=file)
    assert Secret("a") != Secret("b")


def test_a_token_is_long_wherever_it_is(tmp_path: Path) -> None:
    """In a file, too."""
    file = tmp_path / "token"
    file.write_text("short")

    assert "must have at least 16 characters" in refused(tmp_path, "[http]\ntoken = 'short'")
    assert "must have at least 16 characters" in refused(tmp_path, f"[http]\ntoken{FILE} = '{file}'")


def test_what_reads_a_secret_is_passed_on() -> None:
    """Nothing without one."""
    reader = reading(Secret("a"))

    assert reader is not None
    assert reader() == "a"
    assert reading(None) is None
