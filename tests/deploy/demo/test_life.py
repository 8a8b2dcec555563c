from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from deploy.demo.errors import DemoError, Interrupted
from deploy.demo.life import Life
from tests.waiting import eventually

SLEEPING = [sys.executable, "-c", "import time; print('awake', flush=True); time.sleep(60)"]


def test_leaving_ends_every_process_and_removes_the_folder() -> None:
    """Whatever happens inside, nothing is left: no process, no folder."""
    with pytest.raises(ZeroDivisionError), Life() as life:  # noqa: PT012  # the error leaves the context
        processes = [
            life.start(name, SLEEPING, lasting=lasting) for name, lasting in (("a", True), ("b", False))
        ]
        folder = life.folder
        1 / 0  # noqa: B018

    assert all(process.exit_code is not None for process in processes)
    assert not folder.exists()


def test_a_process_that_ignores_sigterm_is_killed_with_all_that_it_started() -> None:
    """A polite request first, then the whole process group."""
    stubborn = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with Life() as life:
        process = life.start("stubborn", [sys.executable, "-c", stubborn])
        child = int(eventually(lambda: process.log))
        process.end(seconds=0.2)

        assert process.exit_code == -signal.SIGKILL
        eventually(lambda: not _runs(child), what="the end of the child")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_raised_by_the_next_pause_and_nowhere_else(number: signal.Signals) -> None:
    """So clean-up finds nothing half done. Afterwards signals mean what they meant before."""
    before = signal.getsignal(number)
    with Life() as life:
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted):
            life.pause(0)

    assert signal.getsignal(number) == before


def test_a_lasting_process_must_not_end() -> None:
    """The error has its name and its last words."""
    with Life() as life:
        command = [sys.executable, "-c", "print('disk full'); raise SystemExit(3)"]
        process = life.start("the broker", command, lasting=True)
        eventually(lambda: process.exit_code is not None)
        with pytest.raises(DemoError, match=r"the broker ended by itself \(exit code 3\)(.|\n)*disk full"):
            life.pause(0)


def test_a_retired_process_may_end() -> None:
    """It is asked to, and nobody minds that it does."""
    with Life() as life:
        process = life.start("the worker", SLEEPING, lasting=True)
        eventually(lambda: process.log)
        life.retire(process)
        eventually(lambda: process.exit_code is not None)

        life.pause(0)


def test_run_returns_what_a_process_wrote_and_raises_when_it_fails() -> None:
    """A failed step of the demo shows its own reason."""
    with Life() as life:
        said = life.run(life.start("speaker", [sys.executable, "-c", "print('hello')"]), seconds=30)
        failing = life.start("failing", [sys.executable, "-c", "raise SystemExit('no such topic')"])
        with pytest.raises(DemoError, match="no such topic"):
            life.run(failing, seconds=30)

    assert said == "hello\n"


def test_a_step_that_takes_too_long_is_an_error() -> None:
    """Nothing is waited for without a limit; the lasting processes may know why."""
    with Life() as life:
        process = life.start("the worker", SLEEPING, lasting=True)
        eventually(lambda: process.log)
        with pytest.raises(DemoError, match=r"the start took longer than 0\.1 s(.|\n)*awake"):
            life.wait_for(lambda: False, seconds=0.1, what="the start")


def test_a_program_that_is_missing_is_an_error() -> None:
    """And not a traceback."""
    with Life() as life, pytest.raises(DemoError, match="the broker cannot be started"):
        life.start("the broker", ["/nonexistent/tansu"])


def _runs(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
