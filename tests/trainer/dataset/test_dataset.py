from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.trainer.builders import START_MS, sessions_of, table
from trainer.dataset.dataset import Data, Learned
from trainer.dataset.features import Categorical, Features
from trainer.dataset.sessions import Sessions, cut
from worker.core.catalogue import Catalogue

GENRE = Categorical("genre", ("x", "y"), np.array([0, 1, 0], np.int32), np.array([0, 1, 2, 3]))
PRICES = np.array([[1], [2], [3]], np.float32)
FEATURES = Features((GENRE,), PRICES, ("price",))
DATA = Data(
    Catalogue(["a", "b", "c"]),
    train=sessions_of([0, 1, 2], [1, 0]),
    validation=sessions_of([2, 1]),
    test=Sessions.empty(),
    summary={},
    features=FEATURES,
)


@pytest.mark.parametrize(
    "other",
    [
        replace(DATA, catalogue=Catalogue(["a", "b", "d"])),
        replace(DATA, train=sessions_of([0, 1], [2, 1, 0])),
        replace(DATA, validation=sessions_of([1, 2])),
        replace(DATA, features=None),
        replace(DATA, features=FEATURES._replace(numeric=PRICES + 1)),
        replace(DATA, features=FEATURES._replace(categorical=(GENRE._replace(name="kind"),))),
    ],
    ids=["catalogue", "boundaries", "validation", "no features", "numbers", "a name"],
)
def test_a_fingerprint_is_of_all_that_a_training_sees(other: Data) -> None:
    """Another item, session, feature or name is another fingerprint."""
    assert other.fingerprint != DATA.fingerprint


def test_a_fingerprint_is_not_of_what_training_does_not_see() -> None:
    """The test end and what a manifest says may differ."""
    other = replace(DATA, test=sessions_of([0, 2]), summary={"clicks": 7})

    assert other.fingerprint == DATA.fingerprint


def test_items_without_clicks_are_the_last_ones() -> None:
    """All others were clicked."""
    assert replace(DATA, never_clicked=1).clicked_items == 2


def test_what_was_learned_adds_up() -> None:
    """Clicks and sessions of both; the window from the first to the last of all."""
    early, late = (
        cut(table([("a", "x", START_MS + at), ("a", "y", START_MS + at + 1000)]), gap_seconds=1800)
        for at in (0, 60_000)
    )

    both = Learned.of(late).and_then(Learned.of(early))

    assert both == (4, 2, START_MS, START_MS + 61_000)
    assert both.summary()["first_click"] == "2020-09-13T12:26:40+00:00"
