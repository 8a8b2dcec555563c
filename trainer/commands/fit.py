"""`nextclick-trainer fit`: train a release on clicks."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trainer import console
from trainer.commands import options
from trainer.commands.measures import facts, report, size
from trainer.evaluation.verdict import lines
from trainer.release.folder import holds_release, read_folder, write_folder
from worker.commandline import (
    OUTPUT,
    Command,
    clicks_topic_option,
    config_options,
    json_option,
    kafka_option,
    option,
    show,
)
from worker.errors import SettingError
from worker.settings.loading import given


@click.command(
    cls=Command, resume="run the same command again; it resumes from the last checkpoint, if there is one"
)
@click.argument("files", nargs=-1, type=options.FOLDER)
@option(
    "-o",
    "--output",
    "folder",
    default="release",
    type=options.FOLDER,
    group=OUTPUT,
    help="Folder for the release.",
)
@option("--yes", is_flag=True, group=OUTPUT, help="Replace an existing release in the folder without asking.")
@option(
    "--from",
    "begin",
    type=options.FOLDER,
    help="Folder of the release whose weights the training starts from.",
)
@options.columns
@options.test_files
@options.split_at
@options.leave_last
@options.min_context
@kafka_option
@clicks_topic_option
@config_options
@json_option
def fit(
    files: tuple[Path, ...],
    folder: Path,
    begin: Path | None,
    *,
    test: tuple[Path, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Train a release on clicks from FILES (CSV, JSON, Parquet or Arrow), an archive, or a topic.

    The last lines compare the release with the best baseline on the test split: the newest clicks, unless an
    option chooses others.
    """
    chosen, teller = options.settings(), console.for_this_place()
    # Ask before hours of training, not after them.
    _require_free(folder, yes=yes)
    options.require_one_split(chosen, test=bool(test))
    scan = options.scan_clicks(files, chosen, teller, test=test)
    # TensorFlow takes seconds to load; load it only when needed.
    from trainer.training import checkpoints, warm_start  # noqa: PLC0415
    from trainer.training import fit as fitting  # noqa: PLC0415

    parent, settings = read_folder(begin) if begin else None, chosen.fitting
    if parent:
        settings = settings.replaced(**warm_start.shaped_as(parent.manifest, settings, given(chosen)))
    work = checkpoints.work_folder(folder)
    fitted = fitting.fit(scan.clicks, settings, teller, work=work, parent=parent, baselines=chosen.baselines)
    write_folder(folder, *fitted.parts)
    checkpoints.remove(work)
    manifest = fitted.manifest
    show(
        facts(folder, manifest),
        report(manifest.metrics, settings.evaluation.top),
        *lines(manifest.training.get("comparison")),
        f"release written to {folder}: {size(manifest)}",
        as_json=as_json,
    )


def _require_free(folder: Path, *, yes: bool) -> None:
    if not holds_release(folder) or yes:
        return
    if not sys.stdin.isatty():
        raise SettingError(
            f"-o: {folder} already holds a release; replace it with --yes, or name another folder with -o"
        )
    click.confirm(f"{folder} already holds a release. Replace it after the training?", abort=True, err=True)
