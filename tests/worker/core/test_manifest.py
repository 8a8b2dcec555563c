"""What a manifest says, and that nothing in one is taken on trust."""

from __future__ import annotations

import pickle
from dataclasses import MISSING, fields, replace
from typing import Any

import orjson
import pytest

from tests.builders import tiny_release_parts
from worker.core.manifest import (
    FORMAT,
    MAX_BLOB_BYTES,
    MAX_CO_OCCURRENCE_DECAY,
    MAX_CO_OCCURRENCE_LAGS,
    MAX_CO_OCCURRENCES,
    MAX_GAP_SECONDS,
    MAX_LAYERS,
    MAX_OWN_HALF_LIFE,
    MAX_OWN_ITEMS,
    MAX_OWN_WEIGHT,
    MAX_REPEAT_BIAS,
    MAX_REPEAT_LAGS,
    MAX_SCALE,
    MAX_TRANSITIONS,
    MIN_OWN_HALF_LIFE,
    Manifest,
)
from worker.core.ranking import OwnItems
from worker.core.recent import RECENT_ITEMS
from worker.errors import ReleaseRefused

GOOD = replace(
    tiny_release_parts(
        output="separate", embedding_size=5, co_occurrences=3, co_occurrence_decay=(1.0, 0.5), lists=3
    )[0],
    exclude_recent=2,
    own_items=64,
    own_weight=1.5,
    own_half_life=8.0,
    own_bonus=-0.5,
)
PLAIN, _ = tiny_release_parts()
NAMES = [field.name for field in fields(Manifest)]
NEEDED = [field.name for field in fields(Manifest) if field.default is MISSING]
BELONGS = {
    "{'a': None}": ["training", "lineage"],
    "True": ["output_bias", "normalize"],
    "text": ["sha256", "created_at"],
    "-1.5": ["own_weight", "own_bonus"],
}
"""The fields in which an odd value is none."""


def document(**changes: Any) -> dict[str, Any]:
    """The JSON document of a good manifest, with `changes`."""
    good: dict[str, Any] = orjson.loads(GOOD.to_json())
    return {**good, **changes}


def read(document: object) -> Manifest:
    """The manifest in a JSON document."""
    return Manifest.from_json(orjson.dumps(document))


def refusal(document: object) -> ReleaseRefused:
    """Why the document is no manifest."""
    with pytest.raises(ReleaseRefused) as refused:
        read(document)
    return refused.value


def test_a_manifest_that_was_written_is_read_and_can_be_written_again() -> None:
    """Word for word: a folder's manifest is what goes into the topic."""
    again = Manifest.from_json(GOOD.to_json())

    assert again == GOOD
    assert again.to_json() == GOOD.to_json()


def test_a_manifest_that_was_read_goes_to_another_process() -> None:
    """Read-only mappings and all."""
    read = Manifest.from_json(tiny_release_parts()[0].to_json())

    assert pickle.loads(pickle.dumps(read)) == read


def test_free_fields_keep_what_is_in_them() -> None:
    """The trainer may say what it likes of its data and settings."""
    training = {"clicks": 5, "window": {"from": None, "to": [1, 2.5, "x"]}, "": True}

    assert read(document(training=training)).training == training
    assert read(document(metrics={})).metrics == {}


def test_an_integer_may_stand_for_a_float() -> None:
    """JSON writers drop the fraction of a whole number; it is read as a float."""
    manifest = read(document(scale=16, session_gap_seconds=0, metrics={"recall": 1}))

    assert [type(manifest.scale), type(manifest.session_gap_seconds)] == [float, float]
    assert type(manifest.metrics["recall"]) is float


def test_a_release_without_a_later_field_is_read_and_written_as_before_it_came() -> None:
    """An older worker reads what this trainer writes, and this worker what an older trainer wrote."""
    written = orjson.loads(PLAIN.to_json())

    assert written.keys() == set(NEEDED)
    assert read(written) == PLAIN
    assert (PLAIN.co_occurrences, PLAIN.co_occurrence_decay, PLAIN.exclude_recent) == (0, (), 1)
    assert PLAIN.own_term == OwnItems()
    assert set(NAMES) == document().keys()


@pytest.mark.parametrize("name", NEEDED)
def test_a_manifest_without_a_field_is_refused(name: str) -> None:
    """And the field is named."""
    lacking = document()
    del lacking[name]
    refused = refusal(lacking)

    assert refused.reason == ("format" if name == "format" else "manifest")
    assert name in str(refused)


@pytest.mark.parametrize("wrong", [None, [[7]], {"a": None}, True, "text", -1.5], ids=str)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "format"])
def test_a_field_is_of_its_type_or_the_manifest_is_refused(name: str, wrong: object) -> None:
    """Only where it belongs is a value read; a bool is no number. The field is named."""
    changed = document(**{name: wrong})
    if name in BELONGS.get(str(wrong), []):
        assert getattr(read(changed), name) == wrong
        return
    refused = refusal(changed)

    assert refused.reason == "manifest"
    assert name in str(refused)


@pytest.mark.parametrize("number", [0, FORMAT - 1, FORMAT + 1, "1", None, [], 1.5], ids=repr)
def test_another_format_is_refused_as_such(number: object) -> None:
    """Whatever else the document holds: it is of another version of this program."""
    assert refusal(document(format=number)).reason == "format"
    assert refusal({"format": number}).reason == "format"


@pytest.mark.parametrize("number", [True, 1.0])
def test_the_format_is_an_integer(number: object) -> None:
    """Not what merely equals it."""
    assert refusal(document(format=number)).reason in {"manifest", "format"}


def test_a_field_that_does_not_belong_is_refused() -> None:
    """It may be meant to change what the others say."""
    assert "surprise" in str(refusal(document(surprise=1)))


@pytest.mark.parametrize("value", [[], "text", 5, None, True])
def test_json_that_is_no_object_is_refused(value: object) -> None:
    """With its own reason, not an error of another kind."""
    assert refusal(value).reason == "manifest"


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"\x80", b'{"format": NaN}', b"[" * 100_000])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    """Whatever the bytes."""
    with pytest.raises(ReleaseRefused) as refused:
        Manifest.from_json(text)

    assert refused.value.reason == "manifest"


@pytest.mark.parametrize(
    "changes",
    [
        {"cell": "transformer"},
        {"output": "both"},
        {"hidden_size": 0},
        {"embedding_size": -1},
        {"items": 0},
        {"layers": 0},
        {"layers": MAX_LAYERS + 1},
        {"transitions": -1},
        {"transitions": MAX_TRANSITIONS + 1},
        {"exclude_recent": -1},
        {"exclude_recent": RECENT_ITEMS + 1},
        {"co_occurrences": -1},
        {"co_occurrences": MAX_CO_OCCURRENCES + 1},
        {"co_occurrences": 0},
        {"co_occurrence_decay": []},
        {"co_occurrence_decay": [0.5] * (MAX_CO_OCCURRENCE_LAGS + 1)},
        {"co_occurrence_decay": [1.0, -MAX_CO_OCCURRENCE_DECAY * 1.01]},
        {"repeat_bias": [0.5] * (MAX_REPEAT_LAGS + 1)},
        {"repeat_bias": [0.5, -MAX_REPEAT_BIAS * 1.01]},
        {"repeat_bias": [1e308]},
        {"own_items": -1},
        {"own_items": MAX_OWN_ITEMS + 1},
        {"own_weight": MAX_OWN_WEIGHT * 1.01},
        {"own_weight": -1e308},
        {"own_bonus": -MAX_OWN_WEIGHT * 1.01},
        {"own_half_life": MIN_OWN_HALF_LIFE * 0.99},
        {"own_half_life": MAX_OWN_HALF_LIFE * 1.01},
        {"size_bytes": 0},
        {"size_bytes": MAX_BLOB_BYTES + 1},
        {"output": "tied"},
        {"scale": 0},
        {"scale": -1.0},
        {"scale": MAX_SCALE * 1.01},
        {"scale": 1e308},
        {"session_gap_seconds": -1},
        {"session_gap_seconds": MAX_GAP_SECONDS * 1.01},
        {"session_gap_seconds": 1e308},
        {"popular": ["item-1", "item-2", "item-1"]},
        {"golden": []},
    ],
    ids=str,
)
def test_values_that_cannot_serve_are_refused(changes: dict[str, Any]) -> None:
    """Unknown cells, no items, a tied table of another width, numbers that overflow, nothing to test with."""
    refused = refusal(document(**changes))

    assert refused.reason == "manifest"
    assert any(name in str(refused) for name in [*changes, "embedding_size", "co_occurrence_decay"])


@pytest.mark.parametrize("name", ["items", "hidden", "top", "scores"])
def test_a_golden_session_is_read_as_strictly(name: str) -> None:
    """A part missing, a part of another type: refused, and its place is named."""
    golden = document()["golden"]
    lacking = {key: value for key, value in golden[1].items() if key != name}

    seconds: list[Any] = [lacking, {**golden[1], name: [None]}, {**golden[1], name: 1}, []]
    for second in seconds:
        assert "golden[1]" in str(refusal(document(golden=[golden[0], second])))
