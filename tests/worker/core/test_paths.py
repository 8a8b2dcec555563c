"""Paths: which field of a record is meant."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.paths import Headers, escape, fetch, find, inner, parse
from worker.core.reasons import Reason, Undecodable


def fetched(path: str, document: Any = None, *, key: bytes | None = None, headers: Headers = ()) -> Any:
    """Return what a path finds in a record, with an envelope that says `type`."""
    return fetch(parse(path), document, key=key, headers=headers, attributes={"type": "view"})


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("who", {"who": 7}),
        ("who.id", {"who": {"id": 7}}),
        ("who.id", {"who.id": 7}),
        ("who.id", {"who.id": 8, "who": {"id": 7}}),
        ("who.id", {"who.id": 7, "who": {"id": None}}),
        ("a.b.c", {"a": {"b.c": 7}}),
        ("a.b.c", {"a.b": {"c": 7}}),
        ("a.b.c", {"a.b.c": 7, "a": {"b": {}}, "a.b": {}}),
        (r"who\.id", {"who.id": 7, "who": {"id": 8}}),
        (r"who\.id.n", {"who.id": {"n": 7}}),
        (r"a\\b", {"a\\b": 7}),
        (r"\@key", {"@key": 7}),
        (r"a\[\]", {"a[]": 7}),
        ("a[0]", {"a[0]": 7}),
        ("who.id", {"who": '{"id": 7}'}),
        ("who.id", {"who": ' \n{"id": 7}'}),
        ("who.id", {"who": b'{"id": 7}'}),
        ("who.id", {"who": '"{\\"id\\": 7}"'}),
        ("a.b.c", {"a": '{"b": "{\\"c\\": 7}"}'}),
        ("a.b.c", {"a": '{"b.c": 7}'}),
    ],
)
def test_a_path_finds_a_field(path: str, document: dict[str, Any]) -> None:
    """Nested, flat, a mixture of both, escaped, and in text that is JSON."""
    assert find(document, parse(path).names) == 7


@pytest.mark.parametrize(
    "document",
    [{}, {"who": 7}, {"who": []}, {"who": "id"}, {"who": "{"}, {"who": "[1]"}, {"who": "{" * 9_999}, 7, None],
    ids=lambda one: repr(one)[:20],
)
def test_a_path_that_leads_nowhere_finds_nothing(document: Any) -> None:
    """Whatever stands in the way."""
    assert find(document, ("who", "id")) is None


@pytest.mark.parametrize(
    ("path", "key", "found"),
    [
        ("@key", None, None),
        ("@key", b"ada", "ada"),
        ("@key", b'"ada"', "ada"),
        ("@key", b"7", "7"),
        ("@key", b'"ada', '"ada'),
        ("@key", b'"a" or "b"', '"a" or "b"'),
        ("@key", b'{"id": 7}', '{"id": 7}'),
        ("@key.id", b'{"id": 7}', 7),
        ("@key.id", b"7", None),
        ("@key.id", None, None),
        ("@key:int", (7).to_bytes(8), 7),
        ("@key:int", (-7).to_bytes(8, signed=True), -7),
        ("@key:int", (2**31).to_bytes(8), 2**31),
        ("@key:int", (7).to_bytes(4), 7),
        ("@key:int", None, None),
    ],
)
def test_the_key_is_text_json_or_an_integer(path: str, key: bytes | None, found: object) -> None:
    """Text in quotes is JSON; integers in binary must be asked for."""
    assert fetched(path, {}, key=key) == found


@pytest.mark.parametrize(
    ("path", "key"),
    [("@key", b"\xff"), ("@key", (7).to_bytes(8)), ("@key:int", b"ada"), ("@key:int", b"")],
)
def test_a_key_is_not_misread(path: str, key: bytes) -> None:
    """A small integer in binary is valid UTF-8: it is no text all the same."""
    with pytest.raises(Undecodable) as raised:
        fetched(path, {}, key=key)

    assert raised.value.reason == Reason.WRONG_TYPE


def test_a_header_is_a_field() -> None:
    """The last one of the name, as text; its name may have dots."""
    headers = [("user.id", b"eve"), ("user.id", b'"ada"'), ("none", None)]

    assert fetched("@header.user.id", {}, headers=headers) == "ada"
    assert fetched("@header.none", {}, headers=headers) is None
    assert fetched("@header.other", {}, headers=headers) is None


def test_an_envelope_has_fields() -> None:
    """Whatever its kind."""
    assert (fetched("@envelope.type"), fetched("@envelope.other")) == ("view", None)


def test_a_path_through_a_list_is_in_two_parts() -> None:
    """To the list, and on from each of its elements."""
    assert (parse("cart.items[].sku.id").each, parse("cart.items[].sku.id").names) == (
        ("cart", "items"),
        ("sku", "id"),
    )
    assert (parse("items[]").each, parse("items[]").names) == (("items",), ())
    assert parse("items").each is None


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("@keys", "'@keys' starts with @, so it must be @key"),
        ("@header.", "it must be"),
        ("@", r"write \\@ for an @ in a field's name"),
        ("a[].b[].c", r"has \[\] twice"),
        ("@key.a[].b", r"character 7: \[\] works only for fields of the value"),
        ("a\\", "ends with a backslash"),
    ],
)
def test_a_path_that_means_nothing_is_refused(path: str, problem: str) -> None:
    """With what is wrong."""
    with pytest.raises(ValueError, match=problem):
        parse(path)


@given(st.lists(st.text(max_size=4), min_size=1, max_size=3))
def test_any_name_can_be_written(names: list[str]) -> None:
    """Escaped, a name is only itself."""
    path = parse(".".join(map(escape, names)))

    assert (path.root, path.names, path.each) == ("value", tuple(names), None)


@given(
    st.recursive(st.none() | st.text(max_size=3), lambda one: st.lists(one) | st.dictionaries(st.text(), one))
)
def test_json_in_text_is_what_it_was(document: Any) -> None:
    """However often it was written as text; what is no map or list is nothing."""
    text = orjson.dumps(orjson.dumps(document).decode())

    assert inner(text) == (document if isinstance(document, dict | list) else None)
