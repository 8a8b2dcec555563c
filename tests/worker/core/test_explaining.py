"""Explanations of lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.builders import ITEMS, tiny_release
from tests.worker.core.test_asking import Asked
from worker.core.asking import Query
from worker.core.explaining import explained
from worker.core.rules import Boost, Exclude, Limit, Pin, Rule


def _explained(asked: Asked, user_id: str, query: Query) -> dict[str, Any]:
    listed = asked.ask(user_id, query)
    return explained(asked.recommender, int(asked.rows(user_id)[0]), query, listed, asked.allowed)


def test_the_terms_of_each_place_add_up_to_its_score() -> None:
    """Whatever the release has."""
    asked = Asked(tiny_release(output_bias=True, transitions=3, repeat_bias=(0.5,)))
    asked.batch(("ada", "item-4"), ("ada", "item-2"))

    found = _explained(asked, "ada", Query(5))

    assert len(found["places"]) == 5
    for place in found["places"]:
        del place["item_id"]
        score = place.pop("score")
        assert set(place) == {"network", "popularity", "transition", "repeat"}
        assert sum(place.values()) == pytest.approx(score, abs=1e-4)


def test_each_item_that_is_left_out_has_its_reasons() -> None:
    """All that apply; together with the list they are the best that there are."""
    asked = Asked(exclude_recent=1)
    asked.batch(("ada", "item-4"))
    asked.recommender.listing.availability.set(["item-0"], np.zeros(1, np.bool_))

    found = _explained(asked, "ada", Query(12, exclude=("item-4", "item-5"), without=("2",)))

    why = {one["item_id"]: one["because"] for one in found["left_out"]}
    assert why == {
        "item-0": ["unavailable"],
        "item-2": ["tags"],
        "item-4": ["recent", "request"],
        "item-5": ["request", "tags"],
        "item-8": ["tags"],
        "item-11": ["tags"],
    }
    scores = [one["score"] for one in found["left_out"]]
    assert scores == sorted(scores, reverse=True)
    assert {one["item_id"] for one in found["places"]} | set(why) == set(ITEMS)


def test_popular_items_have_their_ranks() -> None:
    """And those that are left out have the same reasons."""
    asked = Asked(tiny_release(popular=["item-7", "item-2", "item-5"]))

    found = _explained(asked, "nobody", Query(3, exclude=("item-2",)))

    assert found == {
        "places": [
            {"item_id": "item-7", "popular": 1},
            {"item_id": "item-5", "popular": 3},
            {"item_id": "item-0", "popular": None},
        ],
        "left_out": [{"item_id": "item-2", "because": ["request"]}],
        "rules": [],
    }


def test_rules_that_hold_are_named_with_what_they_do() -> None:
    """A boost is a term; an item that a rule leaves out says which one; a pin and a limit are told."""
    asked = Asked(tiny_release(output_bias=True), exclude_recent=0)
    asked.batch(("ada", "item-4"))
    asked.put_rules(
        {"item-1": ("new",), "item-2": ("old",), "item-3": ("kind:a",), "item-5": ("kind:a",)},
        boost=Rule(Boost(("new",), 8.0)),
        hidden=Rule(Exclude(("old",))),
        home=Rule(Exclude(("new",)), placements=("home",)),
        top=Rule(Pin("item-9", 1)),
        two=Rule(Limit("kind:", 1)),
    )

    found = _explained(asked, "ada", Query(12))

    assert found["rules"] == ["boost", "hidden", "top", "two"]
    places = {one["item_id"]: one for one in found["places"]}
    assert places["item-1"]["rules"] == pytest.approx(np.log(8), abs=1e-5)
    assert places["item-9"]["pinned"]
    assert found["places"][0]["item_id"] == "item-9"
    for place in found["places"]:
        terms = [value for name, value in place.items() if name not in {"item_id", "score", "pinned"}]
        assert sum(terms) == pytest.approx(place["score"], abs=1e-4)
    why = {one["item_id"]: one["because"] for one in found["left_out"]}
    assert why.pop("item-2") == ["rule hidden"]
    assert [*why.values()] == [["limits"]]
    assert {*why} < {"item-3", "item-5"}
    assert "home" in _explained(asked, "ada", Query(3, placement="home"))["rules"]
