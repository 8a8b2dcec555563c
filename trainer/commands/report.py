"""`nextclick-trainer report`: a release as a page for people."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from trainer import console
from trainer.commands import options
from trainer.dataset.holdout import cleaned, hold_out, manifest_time_ms
from trainer.evaluation.benchmark import score
from trainer.files_on_disk import write_file
from trainer.release.folder import read_folder
from worker.commandline import OUTPUT, Command, config_options, option


@click.command(cls=Command)
@click.argument("folder", type=options.FOLDER)
@click.argument("files", nargs=-1, required=True, type=options.FOLDER)
@option(
    "-o", "--output", default="report.html", type=options.FOLDER, group=OUTPUT, help="HTML file to write."
)
@option(
    "--names",
    type=options.FOLDER,
    help="CSV or TSV file with item ids and their names, for the examples.",
)
@options.columns
@options.split_at
@options.top
@config_options
def report(folder: Path, files: tuple[Path, ...], output: Path, names: Path | None) -> None:
    """Write an HTML page on the release in FOLDER, measured on the clicks in FILES.

    Without --split-at it is measured on the test split of its own training, so the files that it was
    trained on will do.
    """
    chosen, teller = options.settings(), console.for_this_place()
    release = read_folder(folder).release
    from_ms = chosen.dataset.split_at or manifest_time_ms(release.manifest, "test_from")
    # Jinja is needed here alone.
    from trainer.evaluation.report import examples, page  # noqa: PLC0415

    item_names = examples.read_names(names) if names else {}
    clicks = options.read_clicks(files, chosen, teller)
    clicks = cleaned(clicks, teller, datetime.now(UTC))
    gap = release.manifest.session_gap_seconds
    held = hold_out(clicks, gap_seconds=gap, from_ms=from_ms, progress=teller)
    top, exclude_recent = chosen.evaluation.top, chosen.evaluation.exclude_recent
    result = score(
        release, held, top=top, exclude_recent=exclude_recent, settings=chosen.baselines, progress=teller
    )
    shown = examples.examples(release, held, top=top, exclude_recent=exclude_recent)
    measured = f"{told(from_ms, exclude_recent)} {held.caution(release.manifest)}".strip()
    text = page.render(release.manifest, result, shown, item_names, measured=measured)
    write_file(output, text.encode())
    click.echo(f"report written to {output}")


def told(from_ms: int | None, exclude_recent: int) -> str:
    """On which clicks the figures of a report are."""
    begin = "all clicks in the files"
    if from_ms is not None:
        begin = f"sessions from {datetime.fromtimestamp(from_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC on"
    return (
        f"Measured on {begin}, by the code that serves; the last {exclude_recent} clicked items "
        "are not recommended back."
    )
