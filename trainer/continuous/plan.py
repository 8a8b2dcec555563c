"""What a periodic training decides, apart from what it does: pure, so that every case can be looked at.

>>> next_begin(began=0.0, now=20.0, every=60.0, outcome=Outcome.PUBLISHED)
60.0
>>> next_begin(began=0.0, now=90.0, every=60.0, outcome=Outcome.PUBLISHED)
90.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from trainer.config import ACTIVE_HALF_LIFE_HOURS, ACTIVE_ITEMS
from worker.core.manifest import Manifest
from worker.core.release import CANDIDATE_SHARE, Release
from worker.errors import SettingError
from worker.topics.releases import CANDIDATE, CHAMPION, KEPT

COLLECTED: Final = "collected"
"""Where a manifest's `training` says up to which offset it knew each partition of the clicks."""

AGAIN_SECONDS: Final = 60.0
"""A round that failed in a way that may pass is done again so soon."""

POLICIES: Final = ("champion", "candidate")

_DAY_SECONDS: Final = 86_400.0


class Outcome(StrEnum):
    """How a round ended."""

    PUBLISHED = "published"
    REFUSED = "refused"
    """By the gate."""
    IDLE = "idle"
    """There are no clicks that the release before did not know."""
    ON_TRIAL = "on_trial"
    """A candidate is being tried and is not to be replaced."""
    TOO_FEW = "too_few"
    """The clicks do not suffice."""
    FAILED = "failed"
    """By what may pass: Kafka was away, the disk full, the champion another one meanwhile."""
    DEPOSED = "deposed"
    """Another trainer leads now."""

    @property
    def is_fine(self) -> bool:
        """Whether the round did all that there was to do, with a release or not."""
        return self not in (Outcome.TOO_FEW, Outcome.FAILED, Outcome.DEPOSED)


EXIT_CODES: Final = {
    Outcome.PUBLISHED: 0,
    Outcome.IDLE: 1,
    Outcome.ON_TRIAL: 1,
    Outcome.DEPOSED: 1,
    Outcome.REFUSED: 3,
    Outcome.TOO_FEW: 2,
    Outcome.FAILED: 2,
}
"""Of a single round: 1 is nothing to be done, 2 an error, as everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How rounds are made. Raises SettingError where it makes no sense."""

    every_seconds: float = 3_600.0
    """From the begin of a round to that of the next."""
    window_days: float = 7.0
    """A round learns from the clicks of so many days."""
    held_out_seconds: float | None = None
    """And is measured on the newest of them, of so long; None: of `every_seconds`."""
    warm: bool = True
    """Whether it begins with the champion's weights."""
    warm_epochs: int = 2
    """How often all sessions are seen, where it does."""
    by: str = "recall"
    """The metric that the gate decides by: recall, mrr or ndcg."""
    policy: str = "champion"
    """What a release is published as: champion or candidate."""
    share: float = CANDIDATE_SHARE
    """Which part of the users a candidate serves."""
    replace_candidate: bool = False
    """Whether a candidate on trial makes way for a newer one."""
    keep: int = KEPT
    """How many releases stay in the topic, beside those that a pointer names."""
    page: int = ACTIVE_ITEMS
    """As `trainer.config.ACTIVE_ITEMS`, for a stream."""
    page_half_life_hours: float = ACTIVE_HALF_LIFE_HOURS
    """As `trainer.config.ACTIVE_HALF_LIFE_HOURS`."""

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise SettingError(f"policy is {self.policy!r}, it must be one of {', '.join(POLICIES)}")
        if self.held_out >= self.window_days * _DAY_SECONDS:
            raise SettingError(
                f"held_out ({self.held_out:g} s) must be shorter than window_days ({self.window_days:g}): "
                "what is held out is not learned from"
            )

    @property
    def held_out(self) -> float:
        """How long the held-out end is, in seconds."""
        return self.held_out_seconds or self.every_seconds

    def pointer(self, champion: int | None) -> str:
        """What a new release is published as; the first one serves everyone, whatever the policy."""
        return CANDIDATE if self.policy == "candidate" and champion else CHAMPION

    def expected(self, standing: Standing) -> dict[str, int | None]:
        """What pointers must name when a release is published: those that the round was about."""
        champion = standing.champion and standing.champion.number
        others = {CANDIDATE: None} if self._spares_candidate(champion) else {}
        return {CHAMPION: champion or standing.broken, **others}

    def skips(self, standing: Standing) -> bool:
        """Whether a round has to leave a candidate on trial in peace."""
        champion = standing.champion and standing.champion.number
        return standing.candidate is not None and self._spares_candidate(champion)

    def _spares_candidate(self, champion: int | None) -> bool:
        return self.pointer(champion) == CANDIDATE and not self.replace_candidate


class Champion(NamedTuple):
    """The release that serves."""

    number: int
    manifest: Manifest
    blob: bytes


class Standing(NamedTuple):
    """What the topic of releases says at the begin of a round."""

    champion: Champion | None
    candidate: int | None
    broken: int | None = None
    """The number of a champion that cannot be used: workers refuse it, too."""
    release: Release | None = None
    """The champion, verified."""


class Window(NamedTuple):
    """The times (ms) between which clicks are learned from, and from which on they are held out."""

    begin_ms: int
    split_at_ms: int
    end_ms: int


def window(newest_ms: int, plan: Plan) -> Window:
    """That of a round whose newest click is at `newest_ms`.

    >>> window(1_000_000_000, Plan(every_seconds=60, window_days=1))
    Window(begin_ms=913600000, split_at_ms=999940000, end_ms=1000000000)
    """
    begin = newest_ms - round(plan.window_days * _DAY_SECONDS * 1000)
    return Window(begin, newest_ms - round(plan.held_out * 1000), newest_ms)


def known_to(champion: Champion | None) -> dict[int, int] | None:
    """Up to which offset a release knew each partition of the clicks; None where that is not told."""
    found = champion.manifest.training.get(COLLECTED) if champion else None
    return {int(partition): end for partition, end in found.items()} if isinstance(found, Mapping) else None


def next_begin(*, began: float, now: float, every: float, outcome: Outcome) -> float:
    """When the round after one that `began` then and is over `now` begins, by the same steady clock."""
    due = began + every
    if outcome in (Outcome.FAILED, Outcome.DEPOSED):
        due = min(due, now + AGAIN_SECONDS)
    return max(due, now)
