from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.settings import LOGIN, examples, loaded_three_ways, needed
from trainer.config import FitSettings, TrainerSettings
from worker.errors import SettingError
from worker.settings.fields import fields_of, is_secret, value_of
from worker.settings.loading import given, load, to_toml, variable

KEYS: Final = [key for key, _ in fields_of(TrainerSettings)]
_SECRET: Final = {key for key, field in fields_of(TrainerSettings) if is_secret(field)}


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_comes_from_file_environment_and_command_line(key: str, tmp_path: Path) -> None:
    """With the same result."""
    text, value, more = examples(TrainerSettings, key, tmp_path)

    for settings in loaded_three_ways(TrainerSettings, key, text, tmp_path, more):
        assert value_of(settings, key) == value
        assert key in given(settings)


@pytest.mark.parametrize(
    "key",
    [key for key in KEYS if not any(one in _SECRET for one in (key, *needed(key)))],
)
def test_every_setting_is_written_as_it_is_read(key: str, tmp_path: Path) -> None:
    """Durations, lists and what else it needs; nothing that nobody chose."""
    text, _, more = examples(TrainerSettings, key, tmp_path)
    settings = load(TrainerSettings, None, {}, [(key, text), *more.items()])
    path = tmp_path / "best.toml"
    path.write_text(to_toml(settings, TrainerSettings.model_fields))

    assert load(TrainerSettings, path, {}) == settings
    assert given(load(TrainerSettings, path, {})) == {key, *more}


def test_secrets_are_not_written() -> None:
    """They come from the environment again."""
    settings = load(TrainerSettings, None, {variable(key): value for key, value in LOGIN.items()})

    assert LOGIN["kafka.sasl_password"] not in to_toml(settings, TrainerSettings.model_fields)


def test_settings_from_before_there_were_sections_are_told_their_new_names(tmp_path: Path) -> None:
    """A `best.toml` of an earlier release has keys without sections: each is refused with its new place."""
    path = tmp_path / "best.toml"
    path.write_text("hidden_size = 64\nlearning_rate = 0.001\n")

    with pytest.raises(SettingError, match=r"hidden_size: .* did you mean model\.hidden_size\?") as refusal:
        load(TrainerSettings, path, {})
    assert "learning_rate: there is no such setting; did you mean optimizer.learning_rate?" in str(
        refusal.value
    )


def test_a_manifest_holds_no_way_to_kafka() -> None:
    """Only what decides a training is recorded."""
    settings = load(TrainerSettings, None, {variable(key): value for key, value in LOGIN.items()})

    assert [*settings.to_json()] == [*FitSettings.model_fields]
    assert settings.fitting.to_json() == settings.to_json()


def test_the_way_to_kafka_is_the_workers() -> None:
    """By the same names, for every command; the worker's own sections are left to the worker."""
    environment = {
        "NEXTCLICK_KAFKA_BOOTSTRAP_SERVERS": "broker:9093",
        "NEXTCLICK_KAFKA_SECURITY_PROTOCOL": "SSL",
        "NEXTCLICK_KAFKA_SSL_CHECK_HOSTNAME": "false",
        "NEXTCLICK_STATE_USER_TTL": "3d",
        "NEXTCLICK_GROUP": "shop",
    }
    found = load(TrainerSettings, None, environment).kafka.connection()

    assert (found.bootstrap_servers, found.security.protocol) == ("broker:9093", "SSL")
    assert found.security.tls.check_hostname is False
    with pytest.raises(SettingError, match=r"kafka\.ssl_check_hostname is 'maybe': must be true or false"):
        load(TrainerSettings, None, {"NEXTCLICK_KAFKA_SSL_CHECK_HOSTNAME": "maybe"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[recommend]\ntopp = 3", "recommend.topp: there is no such setting; did you mean recommend.top?"),
        ("[recomend]\ntop = 3", "recomend: there is no such setting; did you mean recommend?"),
        ("http = 3", "http is a section; name one of its keys, such as"),
        ("grup = 'a'", "grup: there is no such setting; did you mean group?"),
    ],
)
def test_a_wrong_name_in_the_workers_settings_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    """Whichever program reads the file first says so, with the nearest name."""
    path = tmp_path / "nextclick.toml"
    path.write_text(text)
    with pytest.raises(SettingError) as refusal:
        load(TrainerSettings, path, {"NEXTCLICK_HTTP_PROT": "1"})

    assert problem in str(refusal.value)
    assert "NEXTCLICK_HTTP_PROT: there is no such setting; did you mean NEXTCLICK_HTTP_PORT?" in str(
        refusal.value
    )


@pytest.mark.parametrize("codec", ["rot13", "hex", "zlib", "undefined", "idna", "no-such", "a\0b"])
def test_an_encoding_that_is_not_of_text_is_refused(codec: str) -> None:
    """Python knows codecs that turn bytes into bytes, and some that never decode."""
    with pytest.raises(SettingError, match="must be an encoding known to Python, such as utf-8"):
        load(TrainerSettings, None, {}, [("files.encoding", codec)])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-8-sig", "cp1252", "shift_jis"])
def test_an_encoding_of_text_is_taken(encoding: str) -> None:
    """Under any name that Python knows."""
    settings = load(TrainerSettings, None, {}, [("files.encoding", encoding)])

    assert "a".encode(settings.files.encoding)
