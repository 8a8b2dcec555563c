"""The command line: what a person meets whose settings or words are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.__main__ import cli, main


def ended(*arguments: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    return int(ending.value.code or 0)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_a_misspelled_setting_is_an_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    """Nothing starts, whatever the command; the message names the key and the one that was meant."""
    path = tmp_path / "worker.toml"
    path.write_text('[recommend]\npublsh = "every"\n')
    more = {
        "user": ["ada"],
        "item": ["lamp"],
        "forget": ["ada"],
        "reset": ["--at", "saved"],
        "size": ["--clicks", "1/s", "--users", "1", "--items", "1"],
    }

    code = ended(name, "--config", str(path), *more.get(name, []))

    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.startswith(f"nextclick-worker: invalid settings ({path}):")
    assert "recommend.publsh: there is no such setting; did you mean recommend.publish?" in said.err


def test_the_file_may_be_named_by_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the command line names none."""
    monkeypatch.setenv("NEXTCLICK_CONFIG", str(tmp_path / "nowhere.toml"))

    assert ended("check") == 2
    assert f"the settings file {tmp_path}/nowhere.toml cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["-h"], ["--version"], *([name, "-h"] for name in sorted(cli.commands))]
)
def test_help_is_no_error(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Of every command, without settings."""
    assert ended(*arguments) == 0
    assert capsys.readouterr().out
