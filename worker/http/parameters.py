"""The parameters of requests for lists, parsed and checked.

>>> parse({"k": [b"3"], "only": [b"category:shoes,category:boots"]}, names=LIST, top=20).query.only
('category:shoes', 'category:boots')
>>> parse({"top": [b"3"]}, names=LIST, top=20)
Traceback (most recent call last):
    ...
ValueError: unknown parameter 'top'; the parameters are after, exclude, explain, k, only, placement, without
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from worker.core.asking import MAX_K, MAX_NAMES, MAX_PLACEMENT, Query
from worker.core.ids import canonical

SIMILAR: Final = ("exclude", "k", "only", "placement", "without")
"""The parameters of a request for similar items."""
LIST: Final = (*SIMILAR, "after", "explain")
"""The parameters of a request for a user's list."""

_MAX_OFFSET: Final = 2**63 - 1


class Parameters(NamedTuple):
    """The parameters of a request: the query, the click to wait for, and whether to explain the list."""

    query: Query
    after: tuple[int, int] | None
    explain: bool


def parse(given: Mapping[str, Sequence[bytes]], *, names: Sequence[str], top: int) -> Parameters:
    """Parse a query string. `names`: the parameters that exist; `top`: the default of `k`.

    Raises ValueError with a reason for the client.
    """
    if unknown := sorted(set(given) - set(names)):
        known = ", ".join(sorted(names))
        raise ValueError(f"unknown parameter {unknown[0]!r}; the parameters are {known}")
    texts = {name: [_text(name, value) for value in values] for name, values in given.items()}
    k = _last(texts, "k") or str(top)
    if not re.fullmatch(r"[0-9]{1,4}", k) or not 1 <= int(k) <= MAX_K:
        raise ValueError(f"k is {k!r}; it must be a number from 1 to {MAX_K}")
    placement = _last(texts, "placement")
    if len(placement) > MAX_PLACEMENT:
        raise ValueError(f"placement has {len(placement)} characters; it may have {MAX_PLACEMENT}")
    explain = _last(texts, "explain") or "0"
    if explain not in ("0", "1"):
        raise ValueError(f"explain is {explain!r}; it must be 0 or 1")
    query = Query(
        int(k),
        exclude=tuple(map(canonical, _names(texts, "exclude"))),
        only=_names(texts, "only"),
        without=_names(texts, "without"),
        placement=placement,
    )
    return Parameters(query, _after(_last(texts, "after")), explain == "1")


def _after(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,19})", text)
    if not found or int(found[2]) > _MAX_OFFSET:
        raise ValueError(f"after is {text!r}; it must be the partition and offset of a click, such as 3/1042")
    return int(found[1]), int(found[2])


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not UTF-8") from None


def _last(texts: Mapping[str, Sequence[str]], name: str) -> str:
    return texts[name][-1].strip() if texts.get(name) else ""


def _names(texts: Mapping[str, Sequence[str]], name: str) -> tuple[str, ...]:
    """Return the different names in a parameter, which may be repeated; commas separate names."""
    found = dict.fromkeys(one.strip() for text in texts.get(name, ()) for one in text.split(","))
    found.pop("", None)
    if len(found) > MAX_NAMES:
        raise ValueError(f"{name} has {len(found)} values; it may have {MAX_NAMES}")
    return tuple(found)
