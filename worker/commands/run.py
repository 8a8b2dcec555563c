"""`run`: run the worker."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import click
import prometheus_client
import structlog
from threadpoolctl import threadpool_limits

from worker import commandline
from worker.clock import Clock
from worker.commandline import Command, config_options
from worker.commands import connect
from worker.config import Settings
from worker.errors import EXIT_CODE, NextclickError
from worker.http.passing import Passing
from worker.http.questions import ANSWER_SECONDS, Questions
from worker.http.readiness import Readiness
from worker.http.server import serving
from worker.metrics import Metrics
from worker.owners import Owners
from worker.process import logging
from worker.process.memory import collect_seldom
from worker.process.stop import Stop
from worker.process.watchdog import watching
from worker.settings.secrets import reading
from worker.wiring import Process, wired


@click.command(cls=Command)
@config_options
def run() -> None:
    """Read clicks and publish recommendations until SIGTERM."""
    settings = commandline.settings(Settings)
    logging.configure(settings.log.format, settings.log.level)
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library lacks its type
    try:
        _serve(settings)
    except NextclickError as error:
        if settings.log.format == "console":
            raise
        # A program that collects the log must find the reason there, and nothing that is not JSON.
        structlog.get_logger("worker").error("ended", error=str(error), exit_code=EXIT_CODE)
        sys.exit(EXIT_CODE)


def _serve(settings: Settings) -> None:
    metrics, clock = Metrics(), Clock()
    readiness, questions = Readiness(metrics.ready, clock.steady), Questions()
    process = Process(metrics, readiness, questions, Stop(), clock)
    connection, advertised = connect(settings), settings.http.advertised
    owners = Owners(connection, group=settings.group, topic=settings.topics.clicks)
    collect_seldom()
    with ExitStack() as life:
        life.enter_context(process.stop.installed())
        life.enter_context(watching(readiness, paused=metrics.paused.inc))
        # One thread for matrix products: batches are small, and other workers need the other cores.
        life.enter_context(threadpool_limits(1, user_api="blas"))
        port = life.enter_context(
            serving(
                settings.http.host,
                settings.http.port,
                token=reading(settings.http.token),
                registry=metrics.registry,
                metrics=metrics.http,
                readiness=readiness,
                questions=questions,
                top=settings.recommend.top,
                passing=Passing(owners.look_up, own=advertised, seconds=ANSWER_SECONDS)
                if advertised
                else None,
            )
        )
        structlog.get_logger("worker").info(
            "started",
            group=settings.group,
            worker_id=settings.worker_id,
            http=_address(settings.http.host, port),
        )
        wired(settings, connection, process).loop.run()


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
