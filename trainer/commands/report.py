"""`nextclick-trainer report`: write an HTML report on a release."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from trainer import console
from trainer.commands import options
from trainer.commands.kafka import connect
from trainer.dataset.holdout import cleaned, hold_out
from trainer.dataset.split import TestSplit, share_predicted
from trainer.evaluation.benchmark import score
from trainer.evaluation.report.names import find_names, read_names
from trainer.evaluation.report.published import Published
from trainer.files_on_disk import write_file
from trainer.release.folder import read_folder
from worker.commandline import (
    OUTPUT,
    Command,
    config_options,
    kafka_option,
    named_here,
    option,
    releases_topic_option,
)


@click.command(cls=Command)
@click.argument("folder", type=options.FOLDER)
@click.argument("files", nargs=-1, type=options.FOLDER)
@option(
    "-o", "--output", default="report.html", type=options.FOLDER, group=OUTPUT, help="HTML file to write."
)
@option(
    "--names",
    type=options.FOLDER,
    help="CSV or TSV file of item ids and names. [default: a column `title` or `name` of the item "
    "features or of FILES]",
)
@options.columns
@options.split_at
@options.leave_last
@options.top
@options.min_context
@kafka_option
@releases_topic_option
@config_options
def report(folder: Path, files: tuple[Path, ...], output: Path, names: Path | None) -> None:
    """Write an HTML report on the release in FOLDER, evaluated on the clicks in FILES or in the clicks topic.

    The report starts with a verdict and the next step. With --kafka or without FILES, it also names the
    champion. Without --split-at or --leave-last, the release is evaluated on the test split of its training,
    so FILES may be the files that it was trained on.
    """
    chosen, teller = options.settings(), console.for_this_place()
    release = read_folder(folder).release
    chosen = options.as_released(chosen, release.manifest, teller)
    split = options.split_for(chosen, release.manifest, teller)
    # Load Jinja only when needed.
    from trainer.evaluation.report import examples, page  # noqa: PLC0415

    trained_with, columns = release.manifest.training.get("settings", {}), options.columns_of(chosen)
    encoding = chosen.files.encoding
    item_names = read_names(names, encoding) if names else find_names(trained_with, files, columns, encoding)
    asked = not files or named_here(("kafka.bootstrap_servers", "topics.releases"))
    published = Published.read(connect(chosen), chosen.topics.releases, release.manifest) if asked else None
    clicks = options.read_clicks(files, chosen, teller)
    clicks = cleaned(clicks, teller, datetime.now(UTC))
    gap = release.manifest.session_gap_seconds
    held = hold_out(clicks, gap_seconds=gap, progress=teller, **split._asdict())
    top, exclude_recent = chosen.evaluation.top, chosen.evaluation.exclude_recent
    result = score(
        release, held, top=top, exclude_recent=exclude_recent, settings=chosen.baselines, progress=teller
    )
    predicted = share_predicted(result.predictions, held.test_clicks, split.min_context)
    shown = examples.examples(release, held, top=top, exclude_recent=exclude_recent)
    text = page.render(
        release.manifest,
        result,
        shown,
        item_names,
        measured=f"{measured_on(split, exclude_recent)} {predicted}.",
        caution=held.caution(release.manifest),
        published=published,
    )
    write_file(output, text.encode())
    click.echo(f"report written to {output}")


def measured_on(split: TestSplit, exclude_recent: int) -> str:
    """Return a sentence that names the clicks on which the metrics of a report were measured."""
    begin = "all clicks in the files"
    if split.leave_last:
        begin = f"the last {split.leave_last} clicks of each session"
    elif split.from_ms is not None:
        begin = f"sessions from {datetime.fromtimestamp(split.from_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC on"
    left_out = {0: "", 1: "; the last clicked item is not recommended back"}.get(
        exclude_recent, f"; the last {exclude_recent} clicked items are not recommended back"
    )
    return f"Measured on {begin}, by the code that serves{left_out}."
