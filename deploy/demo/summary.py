"""The end of the demo: the result of the trainings, the live figures, and where to go on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from deploy.demo.scoreboard import TOP, Scoreboard
from deploy.demo.view import latency, score_line

NEXT: Final = (
    "",
    "Next: your clicks, as a file or on Kafka (README.md has it all):",
    "  .venv/bin/nextclick-trainer fit clicks.csv   learns and measures; --clicks-topic NAME: from a topic",
    "  .venv/bin/nextclick-worker check             says what a worker would need on your Kafka",
    "  KAFKA=host:port make demo                    this demo on a Kafka of yours",
)


def summary(scoreboard: Scoreboard, folders: Sequence[Path], listed: str, *, began: float) -> str:
    """Return all figures of a run that `began` then; `folders` hold its releases in their order.

    `listed` is the output of `nextclick-trainer releases`.
    """
    figures, served, first = scoreboard.figures(), scoreboard.served, scoreboard.first_answer_at or began
    lines = ["", "Trained (the trainer measured on the last clicks, which it held out):"]
    lines += [f"  release {number}: {trained(folder)}" for number, folder in enumerate(folders, start=1)]
    lines += ["", "Live (was a click in the list that its user had been shown last?):"]
    lines += [f"  {score_line(release, score)}" for release, score in figures.scores.items()]
    lines += [
        f"  {figures.clicks:,} clicks, {served.answered:,} answered; click to list: {latency(served)}",
        "  Each release was judged on its own clicks. The worker adopted release 2 while it served, refused",
        "  release 3, and gave release 4 to half of the users until nextclick-trainer watch dropped it.",
        f"  No answered click waited longer than {served.longest:.1f} s.",
        f"  first live recommendation {first - began:.0f} s after the command",
        "",
        "As the worker counted it until its last report (nextclick-trainer releases):",
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
