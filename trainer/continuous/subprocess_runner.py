"""Training in a subprocess: its memory is freed afterwards, and a crash does not end the trainer."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from datetime import datetime
from multiprocessing.connection import Connection

import polars as pl

from trainer.continuous.plan import Window
from trainer.continuous.strategies import Strategy
from trainer.errors import TrainingDied
from trainer.release.package import PackagedRelease
from worker.core.manifest import Manifest
from worker.errors import NextclickError


class InSubprocess:
    """A strategy that runs another strategy in a new process for each training.

    TensorFlow keeps the graph of every training, about 15 MB, until its process ends. And if a training is
    killed for lack of memory, the trainer survives.

    Releases are passed between the processes as bytes, because a release's tables are six times as large. The
    receiving process verifies the release.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

    def train(
        self, clicks: pl.LazyFrame, span: Window, champion: PackagedRelease | None, now: datetime
    ) -> PackagedRelease:
        """Train as `Strategy` specifies.

        Also raises TrainingDied if the process was killed, and RuntimeError if it crashed.
        """
        return self._called("train", clicks, span, champion, now)

    def finish(
        self, clicks: pl.LazyFrame, span: Window, measured: PackagedRelease, now: datetime
    ) -> PackagedRelease:
        """Finish as `Strategy` specifies, with the additional errors of `train`."""
        return self._called("finish", clicks, span, measured, now)

    def _called(
        self, verb: str, clicks: pl.LazyFrame, span: Window, release: PackagedRelease | None, now: datetime
    ) -> PackagedRelease:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe(duplex=False)
        process = context.Process(
            target=_send,
            args=(there, self._strategy),
            kwargs={
                "verb": verb,
                "clicks": clicks,
                "span": span,
                "release": release and _sendable(release),
                "now": now,
            },
            name="nextclick-training",
            daemon=True,
        )
        process.start()
        there.close()
        with here:
            try:
                received = here.recv()
            except EOFError:
                process.join()
                raise _died(process.exitcode or 0) from None
        process.join()
        if isinstance(received, Exception):
            raise received
        return PackagedRelease.verified(*received)


def _send(
    to: Connection,
    strategy: Strategy,
    *,
    verb: str,
    clicks: pl.LazyFrame,
    span: Window,
    release: tuple[Manifest, bytes] | None,
    now: datetime,
) -> None:
    """Call `verb` of `strategy`; send the parts of the release, or the error, to the parent process."""
    # Only the trainer handles Ctrl-C. This process ends when the trainer ends, for whatever reason.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="nextclick-orphan", daemon=True).start()
    try:
        given = PackagedRelease.verified(*release) if release else None
        to.send(_sendable(getattr(strategy, verb)(clicks, span, given, now)))
    except (NextclickError, OSError) as error:
        to.send(error)


def _sendable(release: PackagedRelease) -> tuple[Manifest, bytes]:
    # The blob of a release that was fetched is a view of memory, which cannot be sent.
    return release.manifest, bytes(release.blob)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _died(exit_code: int) -> Exception:
    """Return the error for a training process that died: retriable if it was killed by a signal."""
    if exit_code < 0:
        return TrainingDied(
            f"the training was killed by signal {-exit_code}; it may need more memory or a shorter run.window"
        )
    return RuntimeError(f"the training ended with exit code {exit_code}; see its output above")
