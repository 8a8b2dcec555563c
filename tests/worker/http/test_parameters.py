"""The parameters of requests for lists."""

from __future__ import annotations

from contextlib import suppress

import hypothesis.strategies as st
import pytest
from hypothesis import given

from worker.core.asking import MAX_NAMES, Query
from worker.http.parameters import LIST, SIMILAR, Parameters, parse


def test_without_parameters_a_request_has_the_defaults() -> None:
    """`k` is that of every list; empty values are none."""
    assert parse({}, names=LIST, top=7) == Parameters(Query(7), None, explain=False)
    assert parse({name: [b""] for name in LIST}, names=LIST, top=7) == parse({}, names=LIST, top=7)


def test_all_parameters_are_read() -> None:
    """Names are separated by commas, or the parameter is repeated; of others, the last value counts."""
    given = {
        "k": [b"3", b" 4 "],
        "only": [b"a,b", b"c, a,"],
        "without": ["grün".encode()],
        "exclude": [b" 007 ,x"],
        "placement": [b"cart"],
        "explain": [b"1"],
        "after": [b"3/1042"],
    }

    found = parse(given, names=LIST, top=20)

    query = Query(4, ("007", "x"), ("a", "b", "c"), ("grün",), "cart")
    assert found == Parameters(query, (3, 1042), explain=True)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("k", "0", "k is '0'; it must be a number from 1 to 1000"),
        ("k", "1001", "from 1 to 1000"),
        ("k", "-1", "from 1 to 1000"),
        ("k", "٣", "from 1 to 1000"),
        ("k", "ten", "from 1 to 1000"),
        ("explain", "yes", "explain is 'yes'; it must be 0 or 1"),
        ("after", "3", "such as 3/1042"),
        ("after", "3/x", "such as 3/1042"),
        ("after", "3/9999999999999999999", "such as 3/1042"),
        ("placement", "x" * 101, "placement has 101 characters"),
        ("only", ",".join(map(str, range(MAX_NAMES + 1))), f"only has {MAX_NAMES + 1} values"),
        ("top", "3", "unknown parameter 'top'; the parameters are after, "),
    ],
)
def test_a_bad_parameter_is_refused(name: str, value: str, says: str) -> None:
    """With its value, and what it must be."""
    with pytest.raises(ValueError, match=says):
        parse({name: [value.encode()]}, names=LIST, top=20)


def test_similar_items_have_fewer_parameters() -> None:
    """There is no state of a user to wait for."""
    with pytest.raises(ValueError, match="unknown parameter 'after'"):
        parse({"after": [b"3/1"]}, names=SIMILAR, top=20)


@given(st.dictionaries(st.sampled_from(LIST), st.lists(st.binary(max_size=12), max_size=3)))
def test_nothing_but_a_refusal_comes_of_anything(given: dict[str, list[bytes]]) -> None:
    """Whatever bytes a client sends."""
    with suppress(ValueError):
        assert 1 <= parse(given, names=LIST, top=20).query.k <= 1_000
