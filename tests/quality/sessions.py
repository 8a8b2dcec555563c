"""YooChoose 1/64 and Diginetica, as SR-GNN split them: every next click of the last days, full ranking.

Settings were chosen on the last sessions of the training part; the test part was not looked at for that.
"""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

from tests.quality.beside import beside_baselines
from tests.quality.data import BUILD, begin_of, clicks_of
from trainer.clicks.columns import SCHEMA
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.training import checkpoints
from trainer.training.fit import fit


class Protocol(NamedTuple):
    """A split by number of session, and what is trained for it."""

    first_test_session: int
    settings: dict[str, Any]


PROTOCOLS: Final = {
    "yoochoose1_64_srgnn": Protocol(116_167, {}),
    "diginetica_srgnn": Protocol(
        186_670,
        {
            "hidden_size": 128,
            "dropout": 0.3,
            "hidden_dropout": 0.2,
            "epochs": 6,
            "validation_fraction": 0.03,
            "transition_half_lives": (),
            "negatives": 4096,
        },
    ),
}

ALL: Final[dict[str, Any]] = {"min_item_count": 1, "exclude_recent": 0}
"""What the protocols ask for: every item is known, and what was clicked may be recommended again."""


def run(name: str, progress: Progress) -> dict[str, Any]:
    """Fit on the training part of `name`; network and baselines on its test part."""
    protocol, clicks = PROTOCOLS[name], clicks_of(name)
    split_at_ms = begin_of(clicks, protocol.first_test_session)
    clicks = clicks.select(*SCHEMA)
    settings = FitSettings.of(**ALL, **protocol.settings, split_at=split_at_ms)
    began = time.monotonic()
    fitted = fit(clicks, settings, progress, work=BUILD / name)
    seconds = time.monotonic() - began
    checkpoints.remove(BUILD / name)
    return beside_baselines(fitted, clicks, settings, progress) | {"seconds": seconds}
