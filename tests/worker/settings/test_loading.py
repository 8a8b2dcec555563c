from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.settings import LOGIN, refused
from worker.config import load
from worker.errors import SettingError
from worker.settings.loading import literal, typed, variable


def test_later_places_win(tmp_path: Path) -> None:
    """The environment over the file, the command line over both."""
    path = tmp_path / "nextclick.toml"
    path.write_text("[recommend]\ntop = 3\nexclude_recent = 0\n")
    settings = load(path, {"NEXTCLICK_RECOMMEND_TOP": "4", "NEXTCLICK_GROUP": "a"}, [("group", "b")])

    assert (settings.recommend.top, settings.recommend.exclude_recent, settings.group) == (4, 0, "b")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("grup = 'a'", "grup: there is no such setting; did you mean group?"),
        ("[recomend]\ntop = 3", "recomend: there is no such setting; did you mean recommend?"),
        ("[state]\ntop = 3", "state.top: there is no such setting; did you mean recommend.top?"),
        (
            "commit_interval_seconds = 1",
            "commit_interval_seconds: there is no such setting; did you mean commit_interval?",
        ),
        ("[recommend]\ntop = 'many'", "recommend.top is 'many': must be a valid integer"),
        ("[recommend]\ntop = true", "recommend.top is True: must be a valid integer"),
        ("[recommend]\ntop = 0", "recommend.top is 0: must be greater than or equal to 1"),
        (
            "[recommend]\nformat = 'xml'",
            "recommend.format is 'xml': must be 'json', 'msgpack', 'avro' or 'json_schema'",
        ),
        ("commit_interval = nan", "commit_interval is 'nan': must be a duration like 30s"),
        ("[state]\nuser_ttl = '1y'", "state.user_ttl is '1y': must be a duration like 30s, 5m, 1h or 7d"),
        ("static_membership = 1", "static_membership is 1: must be true or false"),
        ("kafka = 3", "kafka: "),
        (
            "[click]\nuser_id = 'id'\nitem_id = 'id'",
            "click: user_id, item_id and timestamp must be three fields, but they are 'id', 'id' and",
        ),
        ("[http]\nhost = ''", "http.host is ''"),
        ("[kafka]\nsession_timeout_ms = 99999999999999999999", "Integer exceeds 64-bit range"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, problem: str, tmp_path: Path) -> None:
    """The key, its value, and what would be right."""
    assert problem in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "environment", "assignments", "heading"),
    [
        ("topp = 1", {}, [], "invalid settings (a.toml):"),
        (None, {"NEXTCLICK_TOPP": "1"}, [], "invalid settings (environment):"),
        (None, {"PATH": "/bin"}, [("topp", "1")], "invalid settings (command line):"),
        (
            "",
            {"NEXTCLICK_GROUP": "a"},
            [("topp", "1")],
            "invalid settings (a.toml, environment, command line):",
        ),
    ],
)
def test_the_places_are_named_that_had_settings(
    *,
    text: str | None,
    environment: dict[str, str],
    assignments: list[tuple[str, str]],
    heading: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No other place can hold the wrong one."""
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("a.toml").write_text(text)
    with pytest.raises(SettingError) as refusal:
        load(None if text is None else Path("a.toml"), environment, assignments)

    assert str(refusal.value).splitlines()[0] == heading


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    """From the file and the environment."""
    said = refused(tmp_path, "[http]\nport = -1\n", NEXTCLICK_HTTP_PROT="1")

    assert "http.port is -1" in said
    assert "NEXTCLICK_HTTP_PROT: there is no such setting; did you mean NEXTCLICK_HTTP_PORT?" in said


@pytest.mark.parametrize("name", ["NEXTCLICK_NAME", "NEXTCLICK_ENV_PATH", "NEXTCLICK_VERSION"])
def test_a_variable_that_is_like_no_setting_gets_no_far_fetched_advice(name: str, tmp_path: Path) -> None:
    """Docker and people set such variables; all share the prefix."""
    assert f"{name}: there is no such setting; remove the variable" in refused(tmp_path, "", **{name: "x"})


def test_a_variable_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    """Python has surrogates in place of its bytes."""
    assert "str is not valid UTF-8" in refused(tmp_path, "", NEXTCLICK_GROUP="a\udcff")


def test_a_section_in_place_of_a_key_is_refused_with_its_keys() -> None:
    """It is no unknown name."""
    with pytest.raises(SettingError, match="recommend is a section; name one of its keys, such as recommend"):
        load(None, {}, [("recommend", "20")])


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    """Not in a message about it, not in the settings' own text."""
    assert "hunter2" not in refused(tmp_path, "[kafka]\nsasl_password = ['hunter2']\n")
    said = refused(tmp_path, "[registry]\nurl = 'https://ada:hunter2@registry:8081'\n")
    assert "registry.url is 'https://***@registry:8081'" in said
    assert "hunter2" not in said
    assert LOGIN["kafka.sasl_password"] not in repr(
        load(None, {variable(key): value for key, value in LOGIN.items()})
    )


def test_the_trainers_settings_are_left_to_the_trainer(tmp_path: Path) -> None:
    """In one file and one environment for both; on the worker's own command line they would do nothing."""
    path = tmp_path / "nextclick.toml"
    path.write_text("[model]\nhidden_size = 3\n")

    assert load(path, {"NEXTCLICK_MODEL_CELL": "lstm"}) == load(None, {})
    with pytest.raises(
        SettingError, match=r"model\.cell: this setting belongs to the other program and has no effect"
    ):
        load(None, {}, [("model.cell", "lstm")])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[model]\nhiden_size = 3",
            "model.hiden_size: there is no such setting; did you mean model.hidden_size?",
        ),
        ("[modle]\ncell = 3", "modle: there is no such setting; did you mean model?"),
        ("model = 3", "model is a section"),
        ("[watch]\ntop = 3", "watch.top: there is no such setting; did you mean"),
    ],
)
def test_a_wrong_name_in_the_trainers_settings_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    """Whichever program reads the file first says so, with the nearest name."""
    said = refused(tmp_path, text, NEXTCLICK_MODEL_HIDEN_SIZE="1", NEXTCLICK_MODLE_CELL="x")

    assert problem in said
    assert "MODEL_HIDEN_SIZE: there is no such setting; did you mean NEXTCLICK_MODEL_HIDDEN_SIZE?" in said
    assert "MODLE_CELL: there is no such setting; did you mean NEXTCLICK_MODEL_CELL?" in said


@pytest.mark.parametrize("service", ["NEXTCLICK", "NEXTCLICK_WORKER", "NEXTCLICK_HTTP", "NEXTCLICK_WORKER_2"])
def test_what_kubernetes_sets_for_a_service_of_our_name_is_not_ours(service: str) -> None:
    """As in every pod of the namespace; one of the variables may have the name of a setting."""
    port = {
        f"{service}_PORT_9464_{protocol}{end}": "x"
        for protocol in ("TCP", "UDP")
        for end in ("", "_PROTO", "_PORT", "_ADDR")
    }
    environment = {
        f"{service}_SERVICE_HOST": "10.0.0.1",
        f"{service}_SERVICE_PORT": "9464",
        f"{service}_SERVICE_PORT_METRICS": "9464",
        f"{service}_PORT": "tcp://10.0.0.1:9464",
        **port,
    }

    assert load(None, environment) == load(None, {})


@pytest.mark.parametrize(
    "name",
    [
        "NEXTCLICK_PORT",
        "NEXTCLICK_HTTP_PROT",
        "NEXTCLICK_HTTP_PORT_NUMBER",
        "NEXTCLICK_SERVICE",
        "NEXTCLICK_HOST",
    ],
)
def test_a_mistyped_variable_is_refused_all_the_same(name: str, tmp_path: Path) -> None:
    """A number is no value that Kubernetes gives it."""
    assert f"{name}: there is no such setting" in refused(tmp_path, "", **{name: "9464"})


def test_the_setting_that_kubernetes_overwrites_can_be_set_elsewhere(tmp_path: Path) -> None:
    """In the file, or on the command line."""
    path = tmp_path / "nextclick.toml"
    path.write_text("[http]\nport = 1\n")
    environment = {"NEXTCLICK_HTTP_PORT": "tcp://10.0.0.1:9464"}

    assert load(path, environment).http.port == 1
    assert load(path, environment, [("http.port", "2")]).http.port == 2


@pytest.mark.parametrize(
    "name", ["NEXTCLICK_KAFKA_BOOTSTRAP_SERVERS", "NEXTCLICK_GROUP", "NEXTCLICK_HTTP_PORT"]
)
def test_an_empty_variable_is_refused(name: str, tmp_path: Path) -> None:
    """A variable of the shell that was not set is behind it: the default would be somebody else's value."""
    assert f"{name} is empty; give it a value, or do not set it" in refused(tmp_path, "", **{name: ""})


def test_an_empty_variable_is_a_value_where_the_default_is_empty() -> None:
    """So it changes nothing."""
    assert load(None, {"NEXTCLICK_TOPICS_STATE": ""}) == load(None, {})


@pytest.mark.parametrize(
    ("text", "problem"),
    [("group", "is not TOML"), (None, "cannot be read: No such file")],
    ids=["broken", "missing"],
)
def test_a_file_that_cannot_be_read_is_named(text: str | None, problem: str, tmp_path: Path) -> None:
    """With the reason."""
    path = tmp_path / "nextclick.toml"
    if text is not None:
        path.write_text(text)

    with pytest.raises(SettingError, match=f"{path} .*{problem}"):
        load(path, {})


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("none", str | None, None),
        ("none", str, "none"),
        ("TRUE", bool, True),
        ("yes", bool, "yes"),
        ("1e3", float, 1000.0),
        ("inf", float, "inf"),
        ("a, b", tuple[str, ...], ["a", "b"]),
        ("none", tuple[float, ...], []),
    ],
)
def test_a_text_becomes_a_value_of_its_fields_type(text: str, kind: Any, value: Any) -> None:
    """What cannot become one stays a text, for the error that names it."""
    assert typed(text, kind) == value


def test_texts_are_written_as_toml() -> None:
    """Quotes and umlauts included."""
    assert literal('a"ü\n') == '"a\\"ü\\n"'
