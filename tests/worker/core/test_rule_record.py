"""Decoding of rules: each action, and everything that is refused, with what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.reasons import BadRecord, Reason
from worker.core.rule_record import RuleDecoder
from worker.core.rules import Allow, Boost, Exclude, Limit, Pin, Rule

DAY_MS = 86_400_000
EXCLUDE: dict[str, Any] = {"exclude": {"tags": ["a"]}}


def decoded(document: Any, key: bytes | None = b"rule") -> Any:
    """What is read from a JSON document."""
    return RuleDecoder().decode(orjson.dumps(document), key)


@pytest.mark.parametrize(
    ("document", "rule"),
    [
        (EXCLUDE, Rule(Exclude(("a",)))),
        ({"exclude": {"tags": "a"}}, Rule(Exclude(("a",)))),
        ({"allow": {"tags": ["a", "b", "a"]}}, Rule(Allow(("a", "b")))),
        ({"boost": {"tags": ["a"], "factor": 2}}, Rule(Boost(("a",), 2.0))),
        ({"boost": {"tags": ["a"], "factor": 0.5}}, Rule(Boost(("a",), 0.5))),
        ({"pin": {"item_id": 7, "place": 1}}, Rule(Pin("7", 1))),
        ({"cap": {"prefix": "category:", "at_most": 3}}, Rule(Limit("category:", 3))),
        (EXCLUDE | {"placements": ["home", "cart"]}, Rule(Exclude(("a",)), placements=("home", "cart"))),
        (EXCLUDE | {"last_event_tags": ["b"]}, Rule(Exclude(("a",)), last_event_tags=("b",))),
        (EXCLUDE | {"from": None, "allow": None}, Rule(Exclude(("a",)))),
        (
            EXCLUDE | {"from": "2026-09-21T00:00:00Z", "until": 1_790_035_200},
            Rule(Exclude(("a",)), 1_789_948_800_000, 1_790_035_200_000),
        ),
    ],
)
def test_what_a_rule_says(document: dict[str, Any], rule: Rule) -> None:
    """All actions, with all that says when and where they hold."""
    assert decoded(document) == ("rule", rule)


def test_the_rules_in_the_reference_are_rules() -> None:
    """One of each action at least."""
    text = (Path(__file__).parents[3] / "worker/README.md").read_text("utf-8")
    section = text.partition("### Rules\n")[2].partition("\n### ")[0]
    examples = [*re.findall(r"^\| `(\{.*?\})` \|", section, re.MULTILINE)]
    examples += re.findall(r"^```json\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    rules = [RuleDecoder().decode(one.encode(), b"rule") for one in examples]

    assert [one for one in rules if isinstance(one, BadRecord) or one[1] is None] == []
    actions = {type(one[1].action) for one in rules if not isinstance(one, BadRecord) and one[1]}
    assert actions == {Allow, Boost, Exclude, Limit, Pin}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, "a rule has one of exclude, allow, boost, pin, cap; this one has none of them"),
        (EXCLUDE | {"allow": {"tags": ["b"]}}, "this one has ['exclude', 'allow']"),
        (EXCLUDE | {"untill": 1}, "unknown field 'untill'; did you mean 'until'?"),
        (EXCLUDE | {"zzz": 1}, "unknown field 'zzz'; known are from, until"),
        ({"exclude": ["a"]}, "exclude is ['a']; it must be a map of tags"),
        ({"exclude": {}}, "exclude.tags is missing or empty"),
        ({"exclude": {"tags": []}}, "exclude.tags is missing or empty"),
        ({"exclude": {"tag": ["a"]}}, "unknown field 'exclude.tag'; did you mean 'tags'?"),
        ({"exclude": {"tags": [True]}}, "tags has True, which is not a text"),
        ({"exclude": {"tags": [" "]}}, "a text has 1 to 256 bytes"),
        ({"exclude": {"tags": ["x" * 257]}}, "a text has 1 to 256 bytes"),
        ({"boost": {"tags": ["a"]}}, "boost.factor is missing or empty"),
        ({"boost": {"tags": ["a"], "factor": 0}}, "factor is 0; it must be a number above 0"),
        ({"boost": {"tags": ["a"], "factor": "2"}}, "factor is '2'"),
        ({"boost": {"tags": ["a"], "factor": True}}, "factor is True"),
        ({"pin": {"item_id": "lamp", "place": 0}}, "place is 0; it must be a whole number from 1 to 1000"),
        ({"pin": {"item_id": "lamp", "place": 1.5}}, "place is Decimal('1.5')"),
        ({"pin": {"item_id": True, "place": 1}}, "item_id is True, which is not an id: wrong_type"),
        ({"cap": {"prefix": "a:", "at_most": 0}}, "at_most is 0; it must be a whole number from 1 to 1000"),
        (EXCLUDE | {"until": 0}, "until is 0, which is before the year 2000; leave it out"),
        (EXCLUDE | {"until": "soon"}, "until is 'soon', which is not a time: bad_timestamp"),
        (EXCLUDE | {"from": 1_800_000_000, "until": 1_800_000_000}, "which is not after from, 1800000000"),
        (EXCLUDE | {"placements": []}, "placements is an empty list; leave it out, or name at least one"),
        (EXCLUDE | {"last_event_tags": [{}]}, "last_event_tags has {}, which is not a text: wrong_type"),
    ],
)
def test_a_rule_that_is_wrong_is_refused_with_what_is_wrong(document: dict[str, Any], why: str) -> None:
    """So that it is not misread in silence."""
    found = decoded(document)

    assert isinstance(found, BadRecord)
    assert found.reason == Reason.INVALID_RULE
    assert why in found.why


@pytest.mark.parametrize(
    ("value", "key", "reason"),
    [
        (b"", b"rule", Reason.NULL_VALUE),
        (b"garbage", b"rule", Reason.UNKNOWN_FORMAT),
        (b'{"exclude"', b"rule", Reason.MALFORMED),
        (b"[]", b"rule", Reason.NOT_A_MAP),
        (b" " * 300_000, b"rule", Reason.TOO_LARGE),
        (b"{}", None, Reason.MISSING_FIELD),
        (None, None, Reason.MISSING_FIELD),
        (b"{}", b" ", Reason.EMPTY_ID),
        (b"{}", b"x" * 257, Reason.LONG_ID),
    ],
)
def test_other_bytes_are_refused_as_those_of_clicks(
    value: bytes | None, key: bytes | None, reason: Reason
) -> None:
    """With the same reasons."""
    assert RuleDecoder().decode(value, key) == BadRecord(reason)


def test_a_record_without_a_value_ends_a_rule() -> None:
    """Its name is the key, in the form of ids."""
    assert RuleDecoder().decode(None, b" summer ") == ("summer", None)


@given(st.binary(max_size=40) | st.none(), st.binary(max_size=10) | st.none())
def test_no_bytes_raise_an_error(value: bytes | None, key: bytes | None) -> None:
    """Whatever they are."""
    found = RuleDecoder().decode(value, key)

    assert isinstance(found, BadRecord) or value is None


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["exclude", "boost", "pin", "cap", "tags", "factor", "item_id", "place", "until"]
            ),
            inner,
            max_size=3,
        )
    ),
)


@given(documents)
def test_no_document_raises_an_error(document: Any) -> None:
    """Whatever its fields hold."""
    found = RuleDecoder().decode(json.dumps(document).encode(), b"rule")

    assert isinstance(found, BadRecord) or isinstance(found[1], Rule)
