"""The demo's measurements, taken outside the worker: latency, and hit rates of the lists.

Each click judges the last list of its user, and two lists of popular items for comparison. As with the
worker's defaults, the network's list and the first popular list leave out only the item just clicked. The
second popular list is harder to beat: it leaves out all items that the user has ever clicked.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

TOP: Final = 20
"""Number of items of a list that are compared with the click."""

RECENT_SECONDS: Final = 10.0
"""Time window of the live metrics, in seconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A received list: its user, the clicked item, the recommended items, and the release."""

    user_id: str
    item_id: str
    items: tuple[str, ...]
    release: int


@dataclass(frozen=True, slots=True)
class Moment:
    """A click for display. `place`: its rank in the user's last list, or 0 if it was not in the list."""

    user_id: str
    item_id: str
    place: int
    following: tuple[str, ...]


@dataclass(slots=True)
class Score:
    """Number of clicks that judged a release's list, and hits of the lists and of both popular lists."""

    judged: int = 0
    hits: int = 0
    popular_hits: int = 0
    unseen_popular_hits: int = 0

    def share(self, hits: int) -> float:
        """Return `hits` as a share of the judged clicks."""
        return hits / self.judged if self.judged else 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency statistics, in seconds, from the sending of a click to the arrival of its list."""

    answered: int
    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Latency:
        """Return the statistics of latencies; all zero if there are no latencies."""
        ordered = sorted(seconds)
        if not ordered:
            return cls(0, 0.0, 0.0, 0.0)
        count = len(ordered)
        return cls(count, ordered[count // 2], ordered[count * 99 // 100], ordered[-1])


@dataclass(frozen=True, slots=True)
class Figures:
    """All current metrics: `clicks` and `scores` since the start, speed and `latency` of the last seconds."""

    clicks: int
    clicks_per_second: float
    latency: Latency
    scores: dict[int, Score]
    moments: list[Moment]


@dataclass(slots=True)
class _Recent:
    """Values with their times; old values are dropped."""

    values: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, at: float, value: float) -> None:
        self.values.append((at, value))

    def since(self, begin: float) -> list[float]:
        while self.values and self.values[0][0] < begin:
            self.values.popleft()
        return [value for _, value in self.values]


class Scoreboard:
    """Records every sent click and every received list. Thread-safe."""

    def __init__(self, history: Iterable[tuple[str, str]], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._clicked: dict[str, set[str]] = {}
        for user_id, item_id in history:
            self._remember(user_id, item_id)
        self._popular: dict[int, list[str]] = {}
        self._shown: dict[str, Answer] = {}
        self._pending: dict[tuple[str, str], float] = {}
        self._places: dict[str, int] = {}
        self._moments: deque[Moment] = deque(maxlen=100)
        self._scores: dict[int, Score] = {}
        self._sent, self._latencies = _Recent(), _Recent()
        self._served: list[float] = []
        self._clicks = 0
        self._began = self._latest = clock()
        self._first: float | None = None

    @property
    def newest_release(self) -> int:
        """The highest release number in the received lists; 0 before the first list."""
        with self._lock:
            return max(self._scores, default=0)

    @property
    def popular(self) -> list[str]:
        """All items clicked up to now, most clicked first."""
        with self._lock:
            return [item_id for item_id, _ in self._counts.most_common()]

    @property
    def served(self) -> Latency:
        """The latency of all clicks."""
        with self._lock:
            return Latency.of(self._served)

    @property
    def silence(self) -> float:
        """Seconds since the last list arrived, or since the start."""
        return self._clock() - self._latest

    @property
    def unanswered(self) -> int:
        """Number of clicks without a list. Of a user's clicks in one batch, only the last one gets a list."""
        with self._lock:
            return len(self._pending)

    @property
    def first_answer_at(self) -> float | None:
        """The time by `clock` at which the first list arrived; None if no list has arrived yet."""
        return self._first

    def begin(self) -> None:
        """Record the start, just before the first click is sent."""
        self._began = self._latest = self._clock()

    def learned(self, release: int, popular: list[str]) -> None:
        """Set the list to compare `release` with: the most popular items when the release was trained."""
        with self._lock:
            self._popular[release] = popular

    def clicked(self, user_id: str, item_id: str) -> None:
        """Record a click that is about to be sent."""
        with self._lock:
            now = self._clock()
            self._judge(user_id, item_id)
            self._remember(user_id, item_id)
            self._pending[user_id, item_id] = now
            self._sent.add(now, 1.0)
            self._clicks += 1

    def recommended(self, answer: Answer) -> None:
        """Record a received list. A list that arrives twice counts once for the latency."""
        with self._lock:
            now = self._clock()
            self._latest = now
            self._first = now if self._first is None else self._first
            self._scores.setdefault(answer.release, Score())
            self._shown[answer.user_id] = answer
            sent = self._pending.pop((answer.user_id, answer.item_id), None)
            if sent is not None:
                self._served.append(now - sent)
                self._latencies.add(now, now - sent)
                place = self._places.pop(answer.user_id, 0)
                self._moments.append(Moment(answer.user_id, answer.item_id, place, answer.items[:3]))

    def figures(self) -> Figures:
        """Return the current metrics."""
        with self._lock:
            now = self._clock()
            begin = max(self._began, now - RECENT_SECONDS)
            return Figures(
                clicks=self._clicks,
                clicks_per_second=len(self._sent.since(begin)) / max(now - begin, 1e-9),
                latency=Latency.of(self._latencies.since(begin)),
                scores={release: replace(score) for release, score in sorted(self._scores.items())},
                moments=_one_per_user(self._moments),
            )

    def _judge(self, user_id: str, item_id: str) -> None:
        self._places[user_id] = 0
        shown = self._shown.get(user_id)
        if shown is None:
            return
        self._places[user_id] = shown.items.index(item_id) + 1 if item_id in shown.items else 0
        popular, seen = self._popular[shown.release], self._clicked[user_id]
        score = self._scores[shown.release]
        score.judged += 1
        score.hits += item_id in shown.items[:TOP]
        score.popular_hits += item_id in _first(popular, {shown.item_id})
        score.unseen_popular_hits += item_id in _first(popular, seen)

    def _remember(self, user_id: str, item_id: str) -> None:
        self._counts[item_id] += 1
        self._clicked.setdefault(user_id, set()).add(item_id)


def _first(popular: Sequence[str], left_out: set[str]) -> list[str]:
    return list(islice((item_id for item_id in popular if item_id not in left_out), TOP))


def _one_per_user(moments: Iterable[Moment]) -> list[Moment]:
    """Return the latest moment of every user, newest first."""
    latest: dict[str, Moment] = {}
    for moment in reversed(list(moments)):
        latest.setdefault(moment.user_id, moment)
    return list(latest.values())
