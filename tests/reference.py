"""The walk of a batch, one click after the other: what absorbing and ranking are defined to do.

Written for the reader, from the design and not from the code that serves: lists, dictionaries, the
formula of one step, the formula of a score, a sort.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load

from tests.builders import all_scores, step_one
from worker.core.cells import CELLS, Floats
from worker.core.manifest import Manifest


class OneClick(NamedTuple):
    """A click as it arrives."""

    partition: int
    offset: int
    user_id: str
    item_id: str
    timestamp_ms: int
    record_timestamp_ms: int


class Answer(NamedTuple):
    """The list for one click, and the scores of all items that could have stood in it."""

    items: list[str]
    reason: str
    scores: Mapping[str, float]


@dataclass
class User:
    """All that is known of one user."""

    hidden: np.ndarray[tuple[int], np.dtype[np.float16]]
    items: list[str] = field(default_factory=list)
    """Every item that was ever clicked, last one last."""
    session: int = 0
    """The number of clicks in the current session."""
    warm: bool = False
    timestamp_ms: int | None = None
    offset: int = 0


class Reference:
    """Absorbs one click after the other under one release."""

    def __init__(self, manifest: Manifest, blob: bytes, item_ids: tuple[str, ...]) -> None:
        self.manifest = manifest
        self.users: dict[tuple[int, str], User] = {}
        self._tensors: Mapping[str, Any] = load(blob)
        self._item_ids = item_ids
        self._cell = CELLS[manifest.cell]

    def absorb(self, click: OneClick) -> User:
        """Move the state of the click's user; a copy of it as it is now."""
        user = self.users.setdefault((click.partition, click.user_id), User(self._zeros()))
        if self._session_ended(user, click.timestamp_ms):
            user.hidden, user.session, user.warm = self._zeros(), 0, False
        if click.item_id in self._item_ids:
            user.hidden = self._stepped(user.hidden, self._item_ids.index(click.item_id))
            user.warm = True
        user.items.append(click.item_id)
        user.session += 1
        user.timestamp_ms = max(user.timestamp_ms or 0, click.timestamp_ms)
        user.offset = click.offset
        return User(user.hidden, [*user.items], user.session, user.warm, user.timestamp_ms, user.offset)

    def answer(self, user: User, *, top: int, exclude_recent: int) -> Answer:
        """The list for a user's state."""
        excluded = user.items[-exclude_recent:] if exclude_recent else []
        if not user.warm:
            kept = [item_id for item_id in self.manifest.popular if item_id not in excluded]
            return Answer(kept[:top], "cold", {})
        scores = {item_id: s for item_id, s in self._scores(user.hidden).items() if item_id not in excluded}
        return Answer(sorted(scores, key=lambda item_id: -scores[item_id])[:top], "model", scores)

    def _zeros(self) -> np.ndarray[tuple[int], np.dtype[np.float16]]:
        return np.zeros(self._cell.state_size(self.manifest.hidden_size), np.float16)

    def _session_ended(self, user: User, timestamp_ms: int) -> bool:
        if user.timestamp_ms is None or not self.manifest.session_gap_seconds:
            return False
        return timestamp_ms - user.timestamp_ms > self.manifest.session_gap_seconds * 1000

    def _stepped(
        self, hidden: np.ndarray[tuple[int], np.dtype[np.float16]], item: int
    ) -> np.ndarray[tuple[int], np.dtype[np.float16]]:
        after: Floats = step_one(self._tensors, self.manifest.cell, item, hidden.astype(np.float32))
        return after.astype(np.float16)

    def _scores(self, hidden: np.ndarray[tuple[int], np.dtype[np.float16]]) -> dict[str, float]:
        state, manifest = hidden.astype(np.float32), self.manifest
        scores = all_scores(self._tensors, state, normalize=manifest.normalize, scale=manifest.scale)
        return dict(zip(self._item_ids, scores.tolist(), strict=True))
