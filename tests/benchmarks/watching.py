"""How often the watch of a candidate errs, and how soon it decides: simulated trials, without a broker."""

from __future__ import annotations

from typing import Final

import numpy as np

from tests.trainer.simulated import LARGE, SHOPS, outcomes
from trainer.experiment.sequential import Rules

LOOKS: Final = 2_000

SHUFFLED: Final = 0.05
BETTER: Final = 1.1
SMALL: Final = 0.03
"""A candidate changes everyone's propensity to hit by these; small differences are of both signs."""


def watching(*, trials: int) -> dict[str, float]:
    """Simulate `trials` of candidates that do not differ, in several kinds of shop, and fewer of others."""
    rules, fewer = Rules(), trials // 10
    # The remainder goes to the first shops, one each.
    counts = [(trials + number) // len(SHOPS) for number in reversed(range(len(SHOPS)))]
    same = [
        outcomes(shop, rules, trials=count, looks=LOOKS, seed=number).decided
        for number, (shop, count) in enumerate(zip(SHOPS, counts, strict=True))
    ]
    shuffled = outcomes(SHOPS[0], rules, trials=fewer, looks=LOOKS, change=SHUFFLED)
    better = outcomes(LARGE, rules, trials=fewer, looks=LOOKS, change=BETTER)
    wrong = [
        (outcomes(SHOPS[0], rules, trials=fewer, looks=LOOKS, change=1 + sign * SMALL).sign == -sign).mean()
        for sign in (1, -1)
    ]
    return {
        "aa_false_decision_share": float(np.average(same, weights=counts)),
        "aa_false_decision_share_worst_shop": max(same),
        "shuffled_dropped_share": float((shuffled.sign == -1).mean()),
        "shuffled_dropped_clicks": float(np.median(shuffled.clicks)),
        "better_promoted_share": float((better.sign == 1).mean()),
        "better_promoted_clicks": float(np.median(better.clicks)),
        "small_taken_for_opposite_share": float(np.max(wrong)),
    }
