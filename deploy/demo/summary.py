"""The summary at the end of the demo: results of the trainings, live metrics, and next steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from deploy.demo.scoreboard import TOP, Scoreboard
from deploy.demo.view import latency, score_line

NEXT: Final = (
    "",
    "Next: use your own clicks, from a file or on Kafka (see README.md):",
    "  .venv/bin/nextclick-trainer fit clicks.csv   trains and evaluates; --clicks-topic NAME: from a topic",
    "  .venv/bin/nextclick-worker check             reports what a worker needs on your Kafka",
    "  KAFKA=host:port make demo                    runs this demo on your Kafka",
)


def summary(scoreboard: Scoreboard, folders: Sequence[Path], listed: str, *, began: float) -> str:
    """Return all results of a run that started at `began`; `folders` hold its releases in order.

    `listed` is the output of `nextclick-trainer releases`.
    """
    figures, served, first = scoreboard.figures(), scoreboard.served, scoreboard.first_answer_at or began
    lines = ["", "Training (measured by the trainer on the last clicks, which it held out):"]
    lines += [f"  release {number}: {trained(folder)}" for number, folder in enumerate(folders, start=1)]
    lines += ["", "Live (share of clicks on an item of the user's last list):"]
    lines += [f"  {score_line(release, score)}" for release, score in figures.scores.items()]
    lines += [
        f"  {figures.clicks:,} clicks, {served.answered:,} answered; click to list: {latency(served)}",
        "  Each release was judged on different clicks. The worker adopted release 2 while serving, refused",
        "  release 3, and served half of the users with release 4 until nextclick-trainer watch dropped it.",
        f"  No answered click waited longer than {served.longest:.1f} s.",
        f"  first live recommendation {first - began:.0f} s after the command",
        "",
        "As counted by the worker up to its last report (nextclick-trainer releases):",
        listed.rstrip(),
        *NEXT,
    ]
    return "\n".join(lines)


def trained(folder: Path) -> str:
    """Return a line on the training of the release in `folder`, from its manifest."""
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    metrics, training = manifest["metrics"], manifest["training"]
    recall = f"recall_at_{TOP}"
    return (
        f"{training['clicks']:,} clicks, {manifest['items']:,} films; Recall@{TOP} {metrics[recall]:.1%} "
        f"(popular {metrics['popular_' + recall]:.1%})"
    )
