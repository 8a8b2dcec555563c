"""The fields of a request for a list in the clicks topic, checked.

>>> request = parse_request({"request_id": 7, "k": 3, "only": ["category:shoes"]})
>>> request.request_id, request.query.k, request.query.only, request.item_id
('7', 3, ('category:shoes',), '')
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from worker.core.asking import MAX_K, MAX_NAMES, MAX_PLACEMENT, Query
from worker.core.ids import IdRule, canonical
from worker.core.reasons import Reason, Undecodable

DEFAULT_K: Final = 0
"""The `k` of a request that does not say how long its list is."""

_IDS: Final = IdRule()


class ListRequest(NamedTuple):
    """The contents of a valid request. `item_id`: the item to which the list is similar; empty: none."""

    request_id: str
    query: Query
    item_id: str = ""


def parse_request(document: Mapping[Any, Any]) -> ListRequest:
    """Parse the fields of a request; all but `request_id` may be absent. Raises Undecodable."""
    k, item_id, placement = (document.get(name) for name in ("k", "item_id", "placement"))
    if k is None:
        k = DEFAULT_K
    elif type(k) is not int or not 1 <= k <= MAX_K:
        raise Undecodable(Reason.BAD_REQUEST)
    if placement is not None and (type(placement) is not str or len(placement) > MAX_PLACEMENT):
        raise Undecodable(Reason.BAD_REQUEST)
    return ListRequest(
        _IDS.read(document.get("request_id"), exact=True),
        Query(
            k,
            exclude=tuple(map(canonical, _names(document, "exclude"))),
            only=_names(document, "only"),
            without=_names(document, "without"),
            placement=placement or "",
        ),
        "" if item_id is None else _IDS.read(item_id, exact=True),
    )


def _names(document: Mapping[Any, Any], name: str) -> tuple[str, ...]:
    """Return the names in a field: a list of texts or whole numbers, or one of them."""
    found = document.get(name)
    several = [] if found is None else found if isinstance(found, list | tuple) else [found]
    if len(several) > MAX_NAMES or not all(type(one) in (str, int) for one in several):
        raise Undecodable(Reason.BAD_REQUEST)
    return tuple(dict.fromkeys(str(one) for one in several if one != ""))
