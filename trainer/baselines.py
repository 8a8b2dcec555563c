"""What the network has to beat."""

from __future__ import annotations

import numpy as np

from worker.core.ranking import NO_ITEM, Indexes


def popular_lists(popular: Indexes, excluded: Indexes, top: int) -> Indexes:
    """The first `top` of `popular` (best first) without each row's `excluded` `[P, X]`; `[P, top]`.

    Unused places hold `NO_ITEM`.
    """
    padded = np.append(popular, np.full(top + excluded.shape[1], NO_ITEM, np.int32))
    candidates = np.broadcast_to(padded[: top + excluded.shape[1]], (len(excluded), top + excluded.shape[1]))
    dropped = (candidates[:, :, None] == excluded[:, None, :]).any(axis=2) & (candidates != NO_ITEM)
    kept = np.argsort(dropped, axis=1, kind="stable")[:, :top]
    return np.take_along_axis(candidates, kept, axis=1)
