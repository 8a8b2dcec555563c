"""The demo's display: a live page in a terminal, plain lines everywhere else. Both show the same facts."""

from __future__ import annotations

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

_PEOPLE: Final = 5
_READING_SECONDS: Final = 4.0
"""The time that a page of people stands still: a page that changes faster cannot be read."""

_LINE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Now:
    """One moment of the replay. `doing` names the step that runs meanwhile."""

    figures: Figures
    of_clicks: int
    doing: str


class View(Protocol):
    """Shows a replay while it runs."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, now: Callable[[], Now]) -> None:
        """Show the moment, if it is time to: only then is `now` called."""


class Page:
    """A page that is redrawn four times a second; other output appears above it."""

    def __init__(
        self, console: Console, titles: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._titles = titles
        self._clock = clock
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._due = self._people_due = 0.0
        self._people: list[Moment] = []

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, now: Callable[[], Now]) -> None:
        """Draw the page, if it is time to."""
        at = self._clock()
        if at >= self._due:
            self._due = at + 0.25
            moment = now()
            if at >= self._people_due and moment.figures.moments:
                self._people_due = at + _READING_SECONDS
                self._people = moment.figures.moments[:_PEOPLE]
            self._live.update(self._page(moment), refresh=True)

    def _page(self, now: Now) -> RenderableType:
        rows: list[RenderableType] = [
            Text(speed(now), style="bold"),
            scores(now.figures.scores),
            Text(now.doing, style="cyan"),
        ]
        people = [self._person(moment) for moment in self._people]
        return Panel(Group(*rows, Text(), *people), title="Nextclick, live", title_align="left")

    def _person(self, moment: Moment) -> Text:
        line = Text(f"user {moment.user_id} ", style="dim", no_wrap=True, overflow="ellipsis")
        line.append(clicked(moment, self._titles), style="not dim green" if moment.place else "not dim")
        return line.append(f" → {following(moment, self._titles)}", style="not dim")


class Lines:
    """A line every five seconds, and one on a user; for logs and pipes."""

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, now: Callable[[], Now]) -> None:
        """Write lines, if it is time to."""
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

    def _write_figures(self, now: Now) -> None:
        self._write(speed(now))
        for release, score in list(now.figures.scores.items())[-2:]:
            self._write("    " + score_line(release, score))
        for one in now.figures.moments[:1]:
            self._write(
                f"    user {one.user_id} {clicked(one, self._titles)} -> {following(one, self._titles)}"
            )


def speed(now: Now) -> str:
    """Return progress and speed as text."""
    figures = now.figures
    return (
        f"{figures.clicks:,} of {now.of_clicks:,} clicks, {figures.clicks_per_second:.0f}/s; "
        f"click to recommendation {latency(figures.latency)}"
    )


def latency(figures: Latency) -> str:
    """Return median and 99th percentile as text."""
    if not figures.answered:
        return "(none yet)"
    return f"p50 {figures.p50 * 1000:.0f} ms, p99 {figures.p99 * 1000:.0f} ms"


def scores(by_release: Mapping[int, Score]) -> Table:
    """Return a table with one row per release: how often the next click was in the list."""
    title = f"Share of next clicks that were among the {TOP} recommended"
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
    """Return the clicked item as text, with its rank among the recommended ones if it was there."""
    was = f" (was no. {moment.place})" if moment.place else ""
    return f"clicked {_title(moment.item_id, titles)}{was}"


def following(moment: Moment, titles: Mapping[str, str]) -> str:
    """Return the first of the items recommended next, as text."""
    return "next " + " · ".join(_title(item_id, titles) for item_id in moment.following)


def _title(item_id: str, titles: Mapping[str, str]) -> str:
    title = titles.get(item_id, item_id)
    return title if len(title) <= 28 else title[:27].rstrip() + "…"
