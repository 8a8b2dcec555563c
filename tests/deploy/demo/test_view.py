from __future__ import annotations

import io

import pytest
from rich.console import Console

from deploy.demo.scoreboard import Figures, Latency, Moment, Score
from deploy.demo.view import Lines, Now, Page, latency

TITLES = {"1": "Psycho", "2": "Dr. Strangelove or: How I Learned to Stop Worrying", "3": "Alien"}
FIGURES = Figures(
    clicks=1_234,
    clicks_per_second=149.6,
    latency=Latency(100, 0.012, 0.0449, 0.3),
    scores={1: Score(1_000, 250, 80, 120), 2: Score(100, 30, 9, 12)},
    moments=[Moment("7", "1", 4, ("2", "3"))],
)
NOW = Now(FIGURES, 15_000, "learning")


def test_lines_tell_everything_every_five_seconds() -> None:
    """Speed, latency, the newest releases against popularity, a person, and what goes on."""
    now, lines = 0.0, list[str]()
    view = Lines(lines.append, TITLES, clock=lambda: now)
    with view:
        for now in (10.0, 14.0, 15.0):  # noqa: B007  # the clock reads it
            view.show(lambda: NOW)

    assert lines == [
        "1,234 of 15,000 clicks, 150/s; click to recommendation p50 12 ms, p99 45 ms",
        "    release 1: hit rate@20 25.0% on 1,000 clicks (popular 8.0%, popular and not yet clicked 12.0%)",
        "    release 2: hit rate@20 30.0% on 100 clicks (popular 9.0%, popular and not yet clicked 12.0%)",
        "    user 7 clicked Psycho (was no. 4) -> next Dr. Strangelove or: How I L… · Alien",
        "    learning",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_page_tells_the_same_at_any_width(width: int) -> None:
    """Drawn four times a second; nobody's line is wrapped."""
    output, now = io.StringIO(), 0.0
    console = Console(file=output, force_terminal=True, width=width, color_system=None)
    page = Page(console, TITLES, clock=lambda: now)
    with page:
        for now in (10.0, 10.1, 10.3):  # noqa: B007  # the clock reads it
            page.show(lambda: NOW)
        text = output.getvalue()

    assert text.count("Nextclick, live") == 2
    assert "25.0%" in text
    assert "user 7 clicked Psycho (was no. 4)" in text


def test_no_answers_have_no_latency() -> None:
    """Instead of zeros that look like a record."""
    assert latency(Latency.of([])) == "(none yet)"
