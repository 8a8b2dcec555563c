"""The section `[item]`: paths that are wrong are errors at once, and the rules are those of clicks."""

from __future__ import annotations

from typing import Any

import pytest

from worker.config import Settings
from worker.core.known_items import Item
from worker.errors import SettingError
from worker.settings.loading import checked


def settings(**sections: Any) -> Settings:
    """Settings with a topic of items."""
    return checked(Settings, {"topics": {"items": "items"}, **sections}, source="test")


def test_the_decoder_follows_item_and_click() -> None:
    """Fields by `[item]`; missing values, units of time and sizes by `[click]`."""
    found = settings(
        item={"item_id": "sku", "available": "stock", "tags": ["category = cat"], "valid_until": "until"},
        click={"missing": ["none"], "timestamp_unit": "s", "earliest": "1970-01-01", "max_bytes": 90},
    )
    decoder = found.item.decoder(found.click)

    assert decoder.decode(b'{"sku": 7, "stock": "none", "cat": "x", "until": 1767225600}', None) == (
        "7",
        Item(True, ("category:x",), valid_until_ms=1_767_225_600_000),
    )
    assert decoder.decode(b" " * 91, None) == "too_large"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"available": "a[].b"}, "item.available is 'a[].b': 'a[].b' leads through a list"),
        ({"tags": ["= a"]}, "has no prefix before ="),
        ({"title": "@nothing"}, "starts with @"),
    ],
)
def test_a_wrong_path_is_named(item: dict[str, Any], message: str) -> None:
    """With the value, and what is wrong."""
    with pytest.raises(SettingError) as refused:
        settings(item=item)

    assert message in str(refused.value)


def test_the_section_needs_the_topic() -> None:
    """Without it, its settings would have no effect."""
    with pytest.raises(SettingError, match=r"item\.title: no effect without topics\.items"):
        checked(Settings, {"item": {"title": "name"}}, source="test")


def test_the_topic_must_not_be_another_one() -> None:
    """As of any topic."""
    with pytest.raises(SettingError, match="clicks and items are both clicks"):
        checked(Settings, {"topics": {"items": "clicks"}}, source="test")
