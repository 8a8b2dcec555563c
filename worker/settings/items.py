"""The section `[item]`: where a record of the items topic holds the fields of an item."""

from __future__ import annotations

from pydantic import field_validator

from worker.core.envelopes import Envelope
from worker.core.formats import parse_plain
from worker.core.item_record import ItemDecoder, ItemFields, parse_field, parse_tags
from worker.schemas.parser import FramedParser
from worker.settings.common import Click
from worker.settings.fields import Section, setting


class Item(Section):
    """Where a record of `topics.items` holds the fields of an item.

    The paths are like those of `[click]`. The rules of `[click]` apply to ids, times, missing values and the
    size of a record. Each field may be absent, except the id.
    """

    item_id: str = setting("@key", "Path of the item id. By default, it is the record's key.", min_length=1)
    available: str = setting(
        "available",
        "Path of the availability: true or false, or a number such as the stock, where 0 or less is false. "
        "If it is absent, the item is available.",
        min_length=1,
    )
    tags: tuple[str, ...] = setting(
        ("tags",),
        "Paths of tags. Each holds a text such as `category:shoes`, or a list of texts. `category = path` "
        "puts `category:` before each of them.",
    )
    title: str = setting("title", "Path of the title.", min_length=1)
    price: str = setting("price", "Path of the price, a number.", min_length=1)
    valid_from: str = setting(
        "valid_from", "Path of the time from which the item is available.", min_length=1
    )
    valid_until: str = setting(
        "valid_until", "Path of the time from which the item is not available any more.", min_length=1
    )
    envelope: Envelope = setting("none", "Format of the envelope around each description.")

    @field_validator("item_id", "available", "title", "price", "valid_from", "valid_until")
    @classmethod
    def _is_path(cls, value: str) -> str:
        parse_field(value)
        return value

    @field_validator("tags")
    @classmethod
    def _are_paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            parse_tags(one)
        return value

    def decoder(self, click: Click, parser: FramedParser | None = None) -> ItemDecoder:
        """Return the decoder for records, with the rules of `click`.

        With `parser`, it also decodes records framed by a schema registry.
        """
        return ItemDecoder(
            ItemFields(
                self.item_id,
                self.available,
                self.tags,
                self.title,
                self.price,
                self.valid_from,
                self.valid_until,
            ),
            ids=click.ids(),
            times=click.times(),
            missing=click.missing,
            envelope=self.envelope,
            max_bytes=click.max_bytes,
            parse=parser or parse_plain,
            parse_key=parser and parser.key,
        )
