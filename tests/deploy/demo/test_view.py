from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from deploy.demo.scoreboard import Figures, Latency, Moment, Score
from deploy.demo.view import Lines, Now, Page, latency, speed

TITLES = {"1": "Psycho", "2": "Dr. Strangelove or: How I Learned to Stop Worrying", "3": "Alien"}
FIGURES = Figures(
    clicks=1_234,
    clicks_per_second=149.6,
    latency=Latency(100, 0.012, 0.0449, 0.3),
    scores={1: Score(1_000, 250, 80, 120), 2: Score(100, 30, 9, 12)},
    moments=[Moment("7", "1", 4, ("2", "3"))],
)
NOW = Now(FIGURES, 15_000, "learning", seconds_left=82, training=True)


def test_lines_tell_everything_every_five_seconds() -> None:
    """Speed, latency, the newest releases against popularity, a person, and what goes on."""
    now, lines = 0.0, list[str]()
    view = Lines(lines.append, TITLES, clock=lambda: now)
    with view:
        for now in (10.0, 14.0, 15.0):  # noqa: B007  # the clock reads it
            view.show(lambda: NOW)

    assert lines == [
        "1,234 of 15,000 clicks, 150/s; click to list: median 12 ms, 99 % within 45 ms",
        "    release 1: hit rate@20 25.0% on 1,000 clicks (popular 8.0%, popular and not yet clicked 12.0%)",
        "    release 2: hit rate@20 30.0% on 100 clicks (popular 9.0%, popular and not yet clicked 12.0%)",
        "    user 7 clicked Psycho (ranked 4th) -> next Dr. Strangelove or: How I L… · Alien",
        "    learning",
        "    Latency is higher for now: the training runs on the same processors.",
    ]


def screen(width: int, height: int) -> tuple[Console, io.StringIO]:
    """Return a terminal of this size, and what is written to it."""
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, height=height, color_system=None)
    return console, output


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_page_tells_the_same_at_any_width(width: int) -> None:
    """Drawn four times a second; nobody's line is wrapped."""
    (console, output), now = screen(width, 40), 0.0
    page = Page(console, TITLES, clock=lambda: now)
    with page:
        for now in (10.0, 10.1, 10.3):  # noqa: B007  # the clock reads it
            page.show(lambda: NOW)
        text = output.getvalue()

    assert text.count("Nextclick, live") == 2
    assert "25.0%" in text
    assert "user 7 clicked Psycho (ranked 4th)" in text
    assert "about 1 min 30 s left" in text


@pytest.mark.parametrize(("width", "height"), [(100, 30), (64, 24), (50, 10)])
def test_the_page_fills_a_screen_of_its_own(width: int, height: int) -> None:
    """No line is wider than the terminal, and there are as many lines: a resize leaves nothing behind."""
    console, output = screen(width, height)
    page = Page(console, TITLES, clock=lambda: 10.0)
    with page:
        page.show(lambda: NOW)
        drawn = output.getvalue().rpartition("\x1b[H")[2].splitlines()

    assert len(drawn) == height
    assert {cell_len(line) for line in drawn} == {width}


def test_notes_stand_on_the_page_and_stay_after_it() -> None:
    """The page has a screen of its own, so they are printed once it has gone."""
    console, output = screen(100, 30)
    page = Page(console, TITLES, clock=lambda: 10.0)
    with page:
        page.note("Release 3 was refused.")
        page.show(lambda: NOW)
        on_page = output.getvalue()
    after = output.getvalue().removeprefix(on_page)

    assert "• Release 3 was refused." in on_page
    assert after.endswith("Release 3 was refused.\n")


def test_all_clicks_sent_need_no_speed() -> None:
    """Instead of a speed of 0 and a latency of nothing."""
    silent = replace(FIGURES, clicks=15_000, latency=Latency.of([]))

    assert speed(replace(NOW, figures=silent)) == "All 15,000 clicks are sent and answered"


def test_no_answers_have_no_latency() -> None:
    """Instead of zeros that look like a record."""
    assert latency(Latency.of([])) == "(none yet)"
