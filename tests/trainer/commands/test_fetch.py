from __future__ import annotations

from click.testing import CliRunner

from trainer.commands.cli import cli


def test_one_release_is_fetched_at_a_time() -> None:
    """A number and a pointer each name one."""
    done = CliRunner().invoke(cli, ["fetch", "-o", "x", "--number", "3", "--candidate"])

    assert done.exit_code == 2
    assert "give one of them" in done.output
