"""The group of all commands of `nextclick-trainer`."""

from __future__ import annotations

import click

from trainer.commands import (
    check,
    collect,
    compare,
    evaluate,
    fetch,
    fit,
    pointers,
    publish,
    report,
    run,
    tune,
    watch,
)
from worker.commandline import Group, completion


@click.group(cls=Group, epilog=completion("nextclick-trainer"))
@click.version_option(package_name="nextclick")
def cli() -> None:
    """Train next-item recommenders on clicks, evaluate them, and publish them to the workers."""


_COMMANDS = (
    check.check,
    collect.collect,
    fit.fit,
    tune.tune,
    evaluate.evaluate,
    compare.compare,
    report.report,
    run.run,
    publish.publish,
    fetch.fetch,
    pointers.releases,
    pointers.promote,
    pointers.rollback,
    watch.watch,
)

for command in _COMMANDS:
    cli.add_command(command)
