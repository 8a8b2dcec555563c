"""`nextclick-trainer evaluate`: evaluate a release on clicks that it was not trained on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import click
import orjson

from trainer import console
from trainer.commands import options, rules
from trainer.commands.tables import show_result
from trainer.console import Progress
from trainer.dataset.holdout import HeldOut, cleaned, hold_out
from trainer.dataset.split import share_predicted
from trainer.evaluation.benchmark import BASELINES, score
from trainer.evaluation.rules import effect_of
from trainer.evaluation.verdict import lines, verdict
from trainer.release.folder import read_folder
from worker.commandline import METRICS, Command, config_options, json_option, option
from worker.core.release import Release


class _Asked(TypedDict):
    """The arguments that both ways of evaluation have."""

    top: int
    smaller_tops: tuple[int, ...]
    exclude_recent: int
    exact: bool
    progress: Progress


@click.command(cls=Command)
@click.argument("folder", type=options.FOLDER)
@click.argument("files", nargs=-1, type=options.FOLDER)
@options.columns
@options.test_files
@options.split_at
@options.leave_last
@options.all_clicks
@options.tops
@options.min_context
@rules.rule_options
@option(
    "--exact",
    is_flag=True,
    help="Replay every click through the worker's user states. This is slower and gives the same result.",
)
@option(
    "--baselines/--no-baselines",
    default=True,
    group=METRICS,
    help="Also evaluate baselines. Without clicks before the test split, this is only the release's "
    "popularity list.",
)
@config_options
@json_option
def evaluate(
    folder: Path,
    files: tuple[Path, ...],
    *,
    test: tuple[Path, ...],
    every: bool,
    tops: tuple[int, ...] | None,
    baselines: bool,
    exact: bool,
    as_json: bool,
    **named: Any,
) -> None:
    """Evaluate the release in FOLDER, and baselines, on the clicks in FILES or in the clicks topic.

    The release is evaluated on the test split: the clicks that --test, --split-at or --leave-last choose;
    without these, the test split of its training. Baselines are trained on the clicks before the test split.
    All metrics have 95 % confidence intervals by bootstrap over sessions. The last lines compare the release
    with the best baseline.

    With --items and --rules, the lists of the release are compared without and with the rules, by a paired
    bootstrap over sessions. There are no baselines then, because they obey no rules.
    """
    chosen, teller = options.with_tops(options.settings(), tops), console.for_this_place()
    known = rules.known(chosen, **named, exact=exact)
    release = read_folder(folder).release
    chosen = options.as_released(chosen, release.manifest, teller)
    split = options.split_for(chosen, release.manifest, teller, test=bool(test), every=every)
    clicks = options.read_clicks(files, chosen, teller, test=test)
    held = hold_out(
        cleaned(clicks, teller, datetime.now(UTC)),
        gap_seconds=release.manifest.session_gap_seconds,
        progress=teller,
        **split._asdict(),
    )
    _tell(release, held, teller)
    asked: _Asked = {
        "top": chosen.evaluation.top,
        "smaller_tops": tops[:-1] if tops else (),
        "exclude_recent": chosen.evaluation.exclude_recent,
        "exact": exact,
        "progress": teller,
    }
    if known:
        rules.tell(known, release, teller)
        effect = effect_of(release, held, known.items, known.rules, placement=known.placement, **asked)
        rules.show(effect, known, asked["top"], as_json=as_json)
        return
    if held.before.is_empty() and split.from_ms is not None and baselines:
        teller.say("no click is before the test split, so the release's popularity list is the only baseline")
    names = tuple(BASELINES) if baselines else ()
    found = score(release, held, names=names, settings=chosen.baselines, **asked)
    judged = verdict(release.manifest, found)
    if as_json:
        click.echo(orjson.dumps(found.to_json() | {"comparison": judged}, option=orjson.OPT_INDENT_2))
    else:
        show_result(found)
        click.echo(share_predicted(found.predictions, held.test_clicks, split.min_context))
        click.echo("\n".join(lines(judged)))


def _tell(release: Release, held: HeldOut, teller: Progress) -> None:
    """Say what to know about the metrics."""
    if caution := held.caution(release.manifest):
        teller.say(caution)
    if release.approximates("auto"):
        recall = release.manifest.list_recall
        teller.say(f"ranked approximately, as by a worker: this finds {recall:.1%} of the exact top items")
