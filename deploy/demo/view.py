"""The demo's display: a live page in a terminal, plain lines elsewhere. Both show the same facts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deploy.demo.scoreboard import TOP, Figures, Latency, Moment, Score
from deploy.demo.training import Progress

_PEOPLE: Final = 5
_READING_SECONDS: Final = 4.0
"""Time for which the list of users stays unchanged, so that it can be read."""

_LINE_SECONDS: Final = 5.0

_NOTES: Final = 3
"""Number of recent notes that the page shows."""

_FRAME: Final = 4
"""Width of the page's frame, in columns."""


@dataclass(frozen=True, slots=True)
class Now:
    """A moment of the replay. `doing`: the current step, as text; `training`: whether a training runs."""

    figures: Figures
    of_clicks: int
    doing: str
    seconds_left: float = 0.0
    training: bool = False


class View(Protocol):
    """Shows a replay while it runs."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, now: Callable[[], Now]) -> None:
        """Show the current moment if an update is due; `now` is called only then."""

    def note(self, text: str) -> None:
        """Show a note on an event."""


class Page:
    """A full-screen page in the terminal, drawn four times a second.

    The page adapts to changes of the terminal's size. At the end, the notes are printed on the normal screen.
    """

    def __init__(
        self, console: Console, titles: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._titles = titles
        self._clock = clock
        self._live = Live(console=console, auto_refresh=False, screen=True)
        self._due = self._people_due = 0.0
        self._people: list[Moment] = []
        self._notes: list[str] = []

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        for note in self._notes:
            self._console.print(note, markup=False, highlight=False)

    def note(self, text: str) -> None:
        """Add a note; the page shows the most recent notes."""
        self._notes.append(text)

    def show(self, now: Callable[[], Now]) -> None:
        """Draw the page if an update is due."""
        at = self._clock()
        if at >= self._due:
            self._due = at + 0.25
            moment = now()
            if at >= self._people_due and moment.figures.moments:
                self._people_due = at + _READING_SECONDS
                self._people = moment.figures.moments[:_PEOPLE]
            self._live.update(self.drawn(moment), refresh=True)

    def drawn(self, now: Now) -> RenderableType:
        """Return the page, with as many users as fit into the terminal."""
        rows: list[RenderableType] = [
            Text(speed(now), style="bold"),
            Text(waiting(now), style="dim") if now.training else Text(),
            scores(now.figures.scores),
            Text(now.doing, style="cyan"),
            *(Text(f"• {note}") for note in self._notes[-_NOTES:]),
            Text(),
        ]
        width = self._console.size.width - _FRAME
        options = self._console.options.update(width=width, height=None)
        used = len(self._console.render_lines(Group(*rows), options)) + 2
        people = [self._person(moment) for moment in self._people]
        free = max(0, self._console.size.height - used)
        left = f"about {time_left(now.seconds_left)} left" if now.seconds_left > 0 else None
        return Panel(
            Group(*rows, *people[:free]),
            title="Nextclick, live",
            title_align="left",
            subtitle=left,
            subtitle_align="right",
            border_style="none",
        )

    def _person(self, moment: Moment) -> Text:
        line = Text(f"user {moment.user_id} ", style="dim", no_wrap=True, overflow="ellipsis")
        line.append(clicked(moment, self._titles), style="not dim green" if moment.place else "not dim")
        return line.append(f" → {following(moment, self._titles)}", style="not dim")


class Lines:
    """Lines of text every five seconds, for logs and pipes."""

    def __init__(
        self,
        write: Callable[[str], object],
        titles: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._titles = titles
        self._clock = clock
        self._due = 0.0
        self._clicks = -1
        self._doing = ""
        self._explained = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def note(self, text: str) -> None:
        """Write a note at once."""
        self._write(text)

    def show(self, now: Callable[[], Now]) -> None:
        """Write lines if an update is due."""
        at = self._clock()
        if at < self._due:
            return
        self._due = at + _LINE_SECONDS
        moment = now()
        if moment.figures.clicks != self._clicks:
            self._clicks = moment.figures.clicks
            self._write_figures(moment)
        if moment.doing != self._doing:
            self._doing = moment.doing
            self._write(f"    {moment.doing}")
            if moment.training and not self._explained:
                self._explained = True
                self._write(f"    {waiting(moment)}")

    def _write_figures(self, now: Now) -> None:
        self._write(speed(now))
        for release, score in list(now.figures.scores.items())[-2:]:
            self._write("    " + score_line(release, score))
        for one in now.figures.moments[:1]:
            self._write(
                f"    user {one.user_id} {clicked(one, self._titles)} -> {following(one, self._titles)}"
            )


def speed(now: Now) -> str:
    """Return the progress, speed and latency of the clicks as text."""
    figures = now.figures
    if figures.clicks == now.of_clicks and not figures.latency.answered:
        return f"All {now.of_clicks:,} clicks are sent and answered"
    far = f"{figures.clicks:,} of {now.of_clicks:,} clicks, {figures.clicks_per_second:.0f}/s"
    return f"{far}; click to list: {latency(figures.latency)}"


def waiting(now: Now) -> str:
    """Return a remark on the higher latency during a training; empty at other times."""
    return "Latency is higher for now: the training runs on the same processors." if now.training else ""


def latency(figures: Latency) -> str:
    """Return the median and the 99th percentile of the latency as text."""
    if not figures.answered:
        return "(none yet)"
    return f"median {figures.p50 * 1000:.0f} ms, 99 % within {figures.p99 * 1000:.0f} ms"


def time_left(seconds: float) -> str:
    """Return an estimated time as text, rounded up to 10 seconds.

    >>> time_left(3), time_left(44), time_left(125)
    ('10 s', '50 s', '2 min 10 s')
    """
    minutes, rest = divmod(10 * math.ceil(seconds / 10), 60)
    parts = [f"{minutes} min"] * bool(minutes) + [f"{rest} s"] * bool(rest)
    return " ".join(parts)


def training(far: Progress) -> str:
    """Return the progress of a training as text, for a status line."""
    left = "" if far.seconds_left is None else f", about {time_left(max(1.0, far.seconds_left))} left"
    return f"{far.words}{left}"


def scores(by_release: Mapping[int, Score]) -> Table:
    """Return a table of hit rates with one row per release."""
    title = f"Share of next clicks that were among the {TOP} recommended items"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for header in ("release", "clicks judged", "network", "popular", "popular and not yet clicked"):
        table.add_column(header, justify="right")
    for release, score in by_release.items():
        shares = (score.hits, score.popular_hits, score.unseen_popular_hits)
        table.add_row(str(release), f"{score.judged:,}", *(f"{score.share(hits):.1%}" for hits in shares))
    return table


def score_line(release: int, score: Score) -> str:
    """Return the scores of one release as a line of text."""
    return (
        f"release {release}: hit rate@{TOP} {score.share(score.hits):.1%} on {score.judged:,} clicks "
        f"(popular {score.share(score.popular_hits):.1%}, "
        f"popular and not yet clicked {score.share(score.unseen_popular_hits):.1%})"
    )


def clicked(moment: Moment, titles: Mapping[str, str]) -> str:
    """Return the clicked item as text, with its rank if it had been recommended."""
    was = f" (ranked {_ordinal(moment.place)})" if moment.place else ""
    return f"clicked {_title(moment.item_id, titles)}{was}"


def following(moment: Moment, titles: Mapping[str, str]) -> str:
    """Return the first recommended items as text."""
    return "next " + " · ".join(_title(item_id, titles) for item_id in moment.following)


def _ordinal(rank: int) -> str:
    """Return a rank as text.

    >>> [_ordinal(rank) for rank in (1, 2, 3, 4, 11, 12, 13, 21)]
    ['1st', '2nd', '3rd', '4th', '11th', '12th', '13th', '21st']
    """
    ending = {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th") if rank % 100 not in (11, 12, 13) else "th"
    return f"{rank}{ending}"


def _title(item_id: str, titles: Mapping[str, str]) -> str:
    title = titles.get(item_id, item_id)
    return title if len(title) <= 28 else title[:27].rstrip() + "…"
