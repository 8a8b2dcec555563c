"""`nextclick-trainer evaluate`: evaluate a release on clicks that it was not trained on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from trainer import console
from trainer.commands import options
from trainer.commands.tables import show_result
from trainer.dataset.holdout import cleaned, hold_out
from trainer.evaluation.benchmark import BASELINES, score
from trainer.release.folder import read_folder
from worker.commandline import METRICS, Command, config_options, json_option, option


@click.command(cls=Command)
@click.argument("folder", type=options.FOLDER)
@click.argument("files", nargs=-1, required=True, type=options.FOLDER)
@options.columns
@options.split_at
@options.top
@option(
    "--exact",
    is_flag=True,
    help="Replay every click through the worker's user states. This is slower and gives the same result.",
)
@option(
    "--baselines/--no-baselines",
    default=True,
    group=METRICS,
    help="Also evaluate baselines: with --split-at, all of them; otherwise, only the release's popularity "
    "list.",
)
@config_options
@json_option
def evaluate(folder: Path, files: tuple[Path, ...], *, exact: bool, baselines: bool, as_json: bool) -> None:
    """Evaluate the release in FOLDER, and baselines, on the clicks in FILES.

    All metrics have 95 % confidence intervals by bootstrap over sessions. Baselines are trained on the clicks
    before --split-at; without --split-at, the only baseline is the release's list of popular items.
    """
    chosen, teller = options.settings(), console.for_this_place()
    release = read_folder(folder).release
    clicks = options.read_clicks(files, chosen, teller)
    held = hold_out(
        cleaned(clicks, teller, datetime.now(UTC)),
        gap_seconds=release.manifest.session_gap_seconds,
        from_ms=chosen.dataset.split_at,
        progress=teller,
    )
    if caution := held.caution(release.manifest):
        teller.say(caution)
    found = score(
        release,
        held,
        top=chosen.evaluation.top,
        exclude_recent=chosen.evaluation.exclude_recent,
        exact=exact,
        names=tuple(BASELINES) if baselines else (),
        settings=chosen.baselines,
        progress=teller,
    )
    if as_json:
        click.echo(orjson.dumps(found.to_json(), option=orjson.OPT_INDENT_2))
    else:
        show_result(found)
