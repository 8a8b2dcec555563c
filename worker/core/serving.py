"""The routing of users: a candidate serves a share of the users, the champion serves all others.

The choice depends only on the user's id and the candidate's number. So it is the same in every worker and
after every restart, it differs between candidates, and chosen users stay chosen when the share grows.

>>> flags = chosen([f"user-{n}" for n in range(1000)], number=7, share=0.1)
>>> int(flags.sum()), bool((flags <= chosen([f"user-{n}" for n in range(1000)], number=7, share=0.2)).all())
(90, True)
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np

from worker.core.batch import Clicks, Places
from worker.core.recommender import Applied, Flags, Recommendations, Recommender
from worker.core.slabs import Rows
from worker.core.states import States

_HASHES: Final = 1 << 32


class Part(NamedTuple):
    """The part of a batch that one release applied: the clicks at the positions `places`."""

    recommender: Recommender
    places: Places
    applied: Applied


class Serving:
    """Divides a batch by user, and processes each part under the release that serves its users."""

    def __init__(
        self,
        states: States,
        champion: Recommender,
        candidate: Recommender | None = None,
        share: float = 0.0,
    ) -> None:
        self._states = states
        self.champion = champion
        self.candidate = candidate
        self.share = share if candidate else 0.0

    @property
    def recommenders(self) -> list[Recommender]:
        """The champion's recommender, then the candidate's, if there is one."""
        return [self.champion, self.candidate] if self.candidate else [self.champion]

    def recommender(self, user_id: str) -> Recommender:
        """Return the recommender of the release that serves this user."""
        tried = (
            self.candidate and chosen([user_id], number=self.candidate.release.number, share=self.share)[0]
        )
        return self.candidate if self.candidate and tried else self.champion

    def apply(self, clicks: Clicks, *, now_ms: int) -> list[Part]:
        """Apply `clicks` to the states of their users; return the input for ranking, by release."""
        return [
            Part(recommender, places, recommender.apply(part, now_ms=now_ms))
            for recommender, places, part in self._divided(clicks)
        ]

    def rank(self, parts: Sequence[Part]) -> list[Recommendations]:
        """Return the lists for the applied clicks, in order of arrival."""
        lists = [
            one._replace(click=int(places[one.click]))
            for recommender, places, applied in parts
            for one in recommender.rank(applied)
        ]
        return sorted(lists, key=lambda one: one.click) if len(parts) > 1 else lists

    def replay(self, clicks: Clicks) -> int:
        """Apply the `clicks` that the states do not include yet, without ranking; return their number."""
        return sum(recommender.replay(part) for recommender, _, part in self._divided(clicks))

    def rebuild(self, rows: Rows) -> int:
        """Rebuild those of `rows` whose states do not come from the release that serves their users.

        Return the number of rebuilt rows.
        """
        if self.candidate is None:
            return self.champion.rebuild(rows)
        tried = self._tried(self._states.user_ids(rows))
        return self.champion.rebuild(rows[~tried]) + self.candidate.rebuild(rows[tried])

    def stale(self, rows: Rows) -> Rows:
        """Return those of `rows` whose states do not come from the release that serves their users."""
        numbers = np.full(len(rows), self.champion.release.number)
        if self.candidate is not None:
            numbers[self._tried(self._states.user_ids(rows))] = self.candidate.release.number
        return rows[self._states.read_column("release", rows) != numbers]

    def _divided(self, clicks: Clicks) -> list[tuple[Recommender, Places, Clicks]]:
        if self.candidate is None:
            return [(self.champion, np.arange(len(clicks)), clicks)]
        tried = self._tried(clicks.user_ids)
        parts = ((self.champion, np.flatnonzero(~tried)), (self.candidate, np.flatnonzero(tried)))
        return [(recommender, places, clicks.taken(places)) for recommender, places in parts if len(places)]

    def _tried(self, user_ids: Sequence[str]) -> Flags:
        assert self.candidate is not None  # noqa: S101  # checked by the callers
        return chosen(user_ids, number=self.candidate.release.number, share=self.share)


def chosen(user_ids: Sequence[str], *, number: int, share: float) -> Flags:
    """Return a mask of the users that candidate `number` serves, given its `share` of all users."""
    salt, limit = number.to_bytes(8, "little"), round(share * _HASHES)
    digests = b"".join([blake2b(user_id.encode(), digest_size=4, salt=salt).digest() for user_id in user_ids])
    return np.frombuffer(digests, "<u4") < limit
