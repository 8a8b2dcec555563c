from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from tests.broker.process import ROOT
from tests.waiting import eventually

STARTER = """
import subprocess, sys
from pathlib import Path
from deploy.server import Leash

process = subprocess.Popen(["sleep", "600"], start_new_session=True)
leash = Leash(process.pid, [Path(sys.argv[1])])
print(process.pid, flush=True)
input()
"""


def runs(pid: int) -> bool:
    """Return whether a process does anything any more."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_nothing_outlives_a_program_that_is_killed(tmp_path: Path) -> None:
    """kill -9 of whoever started it ends a process on a leash, and its folder is gone."""
    folder = tmp_path / "data"
    folder.mkdir()
    words = [sys.executable, "-c", STARTER, str(folder)]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout
        pid = int(one.stdout.readline())
        assert runs(pid)
        one.kill()

    eventually(lambda: not runs(pid), what="the end of the process")
    eventually(lambda: not folder.exists(), what="the removal of its folder")
