"""A release is what it was packed as, or it is refused with a reason of its own."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from tests.builders import (
    ITEMS,
    Options,
    item_names,
    packed,
    successor_release_parts,
    tiny_release,
    tiny_release_parts,
    tiny_tensors,
)
from worker.core import blob as blob_module
from worker.core.blob import read, rounded
from worker.core.catalogue import Catalogue
from worker.core.manifest import Manifest
from worker.core.ranking import NO_ITEM
from worker.core.release import (
    CHUNK_BYTES,
    MAX_NUMBER,
    Pointer,
    Release,
    from_records,
    numbers,
    pack,
    parse_pointer,
    to_records,
    verify,
)
from worker.errors import ReleaseRefused

SEPARATE: Options = {
    "layers": 2,
    "transitions": 4,
    "repeat_bias": (-0.5, 2.0),
    "output": "separate",
    "output_bias": True,
    "embedding_size": 5,
}
GOOD, BLOB = tiny_release_parts(**SEPARATE)
TENSORS: Mapping[str, Any] = load(BLOB)


def test_a_release_knows_its_catalogue_gap_and_popular_items() -> None:
    """The gap in milliseconds, the popular items by index."""
    release = tiny_release(session_gap_seconds=0.25, popular=("item-3", "item-1"))

    assert release.catalogue.ids(np.arange(len(ITEMS))).tolist() == [*ITEMS]
    assert release.session_gap_ms == 250
    assert release.popular.tolist() == [3, 1]


@pytest.mark.parametrize("items", [1, 2, 1000])
def test_a_catalogue_may_be_of_any_size(items: int) -> None:
    """Down to one item; popular items and golden answers are no more than there are."""
    release = tiny_release(item_names(items))
    zero = np.zeros((1, release.state_size), np.float32)

    assert len(release.catalogue) == items
    assert np.count_nonzero(release.rank(zero, 20).indexes != NO_ITEM) == min(items, 20)


def test_the_successor_of_the_click_is_best() -> None:
    """The release of known answers, that other tests build upon."""
    release = verify(*successor_release_parts())
    zeros = np.zeros((len(ITEMS), release.state_size), np.float32)

    states = release.step(release.inputs(np.arange(len(ITEMS), dtype=np.int32)), zeros)

    assert release.rank(states, 1).indexes[:, 0].tolist() == [*range(1, len(ITEMS)), 0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"item_ids": (*ITEMS[:-1], ITEMS[0])}, "item_ids"),
        ({"item_ids": (*ITEMS[:-1], "")}, "item_ids"),
        ({"item_ids": (*ITEMS[:-1], "\ud800")}, "item_ids"),
        ({"item_ids": ITEMS[:-1]}, "shape"),
        ({"popular": ("sofa",)}, "item_ids"),
        ({"popular": ("item-1", "item-1")}, "manifest"),
        ({"cell": "rnn"}, "manifest"),
        ({"scale": float("nan")}, "manifest"),
        ({"metrics": {"recall": float("nan")}}, "manifest"),
        ({"golden": ()}, "manifest"),
        ({"repeat_bias": (0.5,) * 21}, "manifest"),
        ({"repeat_bias": (float("nan"),)}, "manifest"),
    ],
)
def test_what_cannot_serve_is_refused_where_it_is_packed(changes: dict[str, Any], reason: str) -> None:
    """What no manifest can say while packing, the rest by `verify`, which the trainer runs right after."""
    good: dict[str, Any] = {
        "item_ids": ITEMS,
        "cell": GOOD.cell,
        "output": GOOD.output,
        "normalize": GOOD.normalize,
        "scale": GOOD.scale,
        "repeat_bias": GOOD.repeat_bias,
        "session_gap_seconds": GOOD.session_gap_seconds,
        "popular": GOOD.popular,
        "golden": GOOD.golden,
        "metrics": {},
        "training": {},
        "lineage": {},
        "created_at": GOOD.created_at,
    }
    weights = {name: tensor for name, tensor in TENSORS.items() if not name.startswith("item_id")}

    assert pack(weights, **good)[1] == BLOB
    with pytest.raises(ReleaseRefused) as refused:
        verify(*pack(weights, **{**good, **changes}))
    assert refused.value.reason == reason


def test_what_a_manifest_says_of_the_training_may_change() -> None:
    """What is verified stays: the first release, its weights and its number are as they were."""
    release = verify(GOOD, BLOB, number=3)

    again = release.with_training({"clicks": 7})

    assert (again.number, again.manifest) == (3, replace(GOOD, training={"clicks": 7}))
    assert release.manifest == GOOD
    assert again.catalogue is release.catalogue


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of two items is large."""
    monkeypatch.setattr(blob_module, "EXACT_NUMBERS", 10)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("output", ["tied", "separate"])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_large_release_in_half_precision_serves_the_same_numbers(output: str, normalize: bool) -> None:
    """As one in single precision with the same, rounded weights: every state, item and score, bit for bit."""
    weights = rounded(tiny_tensors(len(ITEMS), output=output, output_bias=True))
    parts = packed(weights, ITEMS, cell="gru", output=output, normalize=normalize)
    halves = {name for name, tensor in read(parts[1]).items() if tensor.dtype == np.float16}
    single = save({**load(parts[1]), **{name: weights[name] for name in halves}})
    same = replace(parts[0], size_bytes=len(single), sha256=hashlib.sha256(single).hexdigest())

    releases = [verify(*parts), verify(same, single)]

    assert halves == {"embedding", "output"} & weights.keys()
    indexes = np.arange(len(ITEMS), dtype=np.int32)
    states = [
        one.step(one.inputs(indexes), np.zeros((len(ITEMS), one.state_size), np.float32)) for one in releases
    ]
    np.testing.assert_array_equal(states[0], states[1])
    ranked = [one.rank(states[0], len(ITEMS)) for one in releases]
    np.testing.assert_array_equal(ranked[0].indexes, ranked[1].indexes)
    np.testing.assert_array_equal(ranked[0].scores, ranked[1].scores)
    np.testing.assert_array_equal(releases[0].vectors, releases[1].vectors)


@pytest.mark.usefixtures("large")
def test_item_vectors_in_half_precision_must_be_finite() -> None:
    """As all weights."""
    manifest, content = packed(rounded(tiny_tensors(len(ITEMS))), ITEMS, cell="gru", output="tied")
    tensors = {name: tensor.copy() for name, tensor in read(content).items()}
    tensors["embedding"][3, 2] = np.inf
    content = save(tensors)
    manifest = replace(manifest, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    with pytest.raises(ReleaseRefused) as refused:
        verify(manifest, content)

    assert tensors["embedding"].dtype == np.float16
    assert refused.value.reason == "not_finite"


@pytest.mark.parametrize(
    "options", [SEPARATE, {"lists": 3}, {"co_occurrences": 2, "co_occurrence_decay": (1.0,)}]
)
def test_a_release_does_not_keep_the_blob(options: Options) -> None:
    """In which all of its weights would be in memory once more."""
    manifest, content = tiny_release_parts(**options)
    memory = np.frombuffer(content, np.uint8).copy()
    kept = weakref.ref(memory)

    release = verify(manifest, memory.data)
    del memory

    assert release.manifest == manifest
    assert kept() is None


def test_the_summary_has_the_memory_of_the_tables() -> None:
    """All that grows with the catalogue: for each item, the numbers of its vectors, its id, its lists."""
    small, double = (tiny_release(item_names(count), lists=4, hidden_size=16) for count in (20_000, 40_000))
    sizes = [one.summary()["table_bytes"] for one in (small, double)]
    assert isinstance(sizes[0], int)
    assert isinstance(sizes[1], int)

    # embedding, output vectors, inputs of three gates; id, its start, hash, order, string and mark; lists.
    expected = 4 * 16 * (1 + 1 + 3) + (10 + 8 + 8 + 4 + 8 + 1) + 3 * 4
    assert sizes[1] - sizes[0] == pytest.approx(20_000 * expected, rel=0.01)


def latest(*releases: tuple[int, Manifest, bytes]) -> dict[str, bytes]:
    """The latest value of each key in a topic with these releases."""
    records = [record for release in releases for record in to_records(*release)]
    return {record.key: record.value for record in records if record.value is not None}


def several() -> tuple[Manifest, bytes]:
    """A release of several chunks."""
    return tiny_release_parts(item_names(4000), hidden_size=80)


def test_a_release_comes_back_from_its_records() -> None:
    """Byte for byte, though it has several chunks, and others stand in the topic beside it."""
    manifest, blob = several()
    records = latest((3, manifest, blob), (12, GOOD, BLOB))

    assert max(len(value) for value in records.values()) == CHUNK_BYTES
    assert from_records(records, 3) == (manifest, blob)
    assert from_records(records, 12) == (GOOD, BLOB)
    assert numbers(records) == [3, 12]
    assert isinstance(verify(*from_records(records, 3), number=3), Release)


def test_the_manifest_is_the_last_record_of_a_release() -> None:
    """Whoever sees it has seen the chunks."""
    keys = [record.key for record in to_records(3, *several())]

    assert keys == ["release/0003/0001", "release/0003/0002", "release/0003/0003", "release/0003"]


def test_a_blob_of_exactly_one_chunk_is_one_record() -> None:
    """And one byte more makes two."""
    for size, chunks in ((CHUNK_BYTES, 1), (CHUNK_BYTES + 1, 2), (1, 1)):
        manifest, blob = replace(GOOD, size_bytes=size), b"x" * size

        assert len([*to_records(1, manifest, blob)]) == chunks + 1
        assert from_records(latest((1, manifest, blob)), 1) == (manifest, blob)


@pytest.mark.parametrize(
    "key", ["release/0003", "release/0003/0001", "release/0003/0002", "release/0003/0003"]
)
def test_a_release_that_is_not_all_there_is_refused(key: str) -> None:
    """The manifest, the first chunk, one between, the last."""
    records = latest((3, *several()))
    del records[key]
    with pytest.raises(ReleaseRefused) as refused:
        from_records(records, 3)

    assert refused.value.reason == "missing"


def test_chunks_of_another_release_are_refused() -> None:
    """Under the keys of this one: the size or the checksum tells."""
    records = latest((3, *several()))
    records["release/0003/0002"] = records["release/0003/0001"]

    with pytest.raises(ReleaseRefused, match="SHA-256"):
        verify(*from_records(records, 3))
    records["release/0003/0002"] += b"x"
    with pytest.raises(ReleaseRefused, match="bytes"):
        verify(*from_records(records, 3))


def test_a_release_that_never_was_is_missing() -> None:
    """A pointer may name one."""
    with pytest.raises(ReleaseRefused) as refused:
        from_records({}, 5)

    assert refused.value.reason == "missing"


@pytest.mark.parametrize("number", [1, 9999, 10_000, MAX_NUMBER])
def test_a_pointer_names_a_release(number: int) -> None:
    """`release` alone is enough; what else a person wrote is ignored."""
    assert parse_pointer(Pointer(number).value()) == Pointer(number)
    assert parse_pointer(Pointer(number, 0.25, 7).value()) == Pointer(number, 0.25, 7)
    assert parse_pointer(Pointer(number, None, 7, (6, 5)).value()) == Pointer(number, None, 7, (6, 5))
    assert parse_pointer(b'{"release": %d, "why": "by hand"}' % number) == Pointer(number)


def test_a_pointer_that_moves_back_never_comes_forth() -> None:
    """It remembers where it was; a step back forgets what came after."""
    third = Pointer(1).moved(2).moved(3)

    assert third == Pointer(3, None, 2, (1,))
    assert third.moved(3) == third
    assert third.moved(2) == Pointer(2, None, 1)
    assert third.moved(1) == Pointer(1)
    assert third.moved(2).moved(4).history == (2, 1)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"7",
        b'"release"',
        b"null",
        b"[]",
        b"{}",
        b'{"release": null}',
        b'{"release": "7"}',
        b'{"release": 7.0}',
        b'{"release": true}',
        b'{"release": 0}',
        b'{"release": -1}',
        b'{"release": 2147483648}',
        b'{"release": 18446744073709551615}',
        b'{"release": 1',
        b"\xff\x00",
        b'{"release": 1, "share": 0}',
        b'{"release": 1, "share": 1.5}',
        b'{"release": 1, "share": NaN}',
        b'{"release": 1, "share": true}',
        b'{"release": 1, "share": "0.1"}',
        b'{"release": 2, "previous": 0}',
        b'{"release": 2, "previous": "1"}',
    ],
)
def test_a_pointer_that_names_none_is_refused(value: bytes) -> None:
    """Whatever stands in it."""
    with pytest.raises(ReleaseRefused) as refused:
        parse_pointer(value)

    assert refused.value.reason == "pointer"


def test_numbers_are_those_of_releases_alone() -> None:
    """Of any record they left: a number is never given again; other keys are none of theirs."""
    keys = [
        "@champion",
        "release/0002",
        "release/0010/0001",
        "release/",
        "release/x",
        "xrelease/3",
        "release/4/5/6",
        "",
    ]

    assert numbers(keys) == [2, 10]
    assert numbers([]) == []


def test_a_catalogue_is_stored_with_the_weights() -> None:
    """Its order is that of the tables."""
    assert Catalogue.from_tensors(TENSORS["item_ids"], TENSORS["item_id_starts"]).indexes(ITEMS).tolist() == [
        *range(len(ITEMS))
    ]
