"""A release is what it was packed as, or it is refused with a reason of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from tests.builders import (
    ITEMS,
    Options,
    all_scores,
    item_names,
    packed,
    step_one,
    successor_release_parts,
    tiny_release,
    tiny_release_parts,
    tiny_tensors,
)
from worker.core.catalogue import Catalogue
from worker.core.cells import CELLS
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

OPTIONS: list[Options] = [
    {
        "cell": cell,
        "layers": layers,
        "output": output,
        "normalize": normalize,
        "output_bias": bias,
        "scale": scale,
        "embedding_size": size,
        "transitions": transitions,
        "repeat_bias": repeat_bias,
    }
    for cell in CELLS
    for layers in (1, 2)
    for output, size in (("tied", 8), ("separate", 5))
    for normalize, scale in ((True, 16.0), (False, 1.0), (False, 0.5))
    for bias in (True, False)
    for transitions, repeat_bias in ((0, ()), (5, ()), (20, (-2.0, 0.5, 1.0)))
]
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
WEIGHTS = [name for name, tensor in TENSORS.items() if tensor.dtype == np.float32]


def refusal(manifest: Manifest, blob: bytes) -> ReleaseRefused:
    """Why the release does not serve."""
    with pytest.raises(ReleaseRefused) as refused:
        verify(manifest, blob)
    return refused.value


def with_blob(blob: bytes) -> tuple[Manifest, bytes]:
    """The good manifest, made to fit another blob: what a wrong trainer might have published."""
    return replace(GOOD, size_bytes=len(blob), sha256=hashlib.sha256(blob).hexdigest()), blob


def with_tensors(**tensors: Any) -> tuple[Manifest, bytes]:
    """The good release with other tensors; None takes one away."""
    changed = {**TENSORS, **tensors}
    return with_blob(save({name: tensor for name, tensor in changed.items() if tensor is not None}))


def with_items(*item_ids: str) -> tuple[Manifest, bytes]:
    """The good release with these bytes as item ids, whatever a catalogue says of them."""
    encoded = [item_id.encode() for item_id in item_ids]
    starts = np.cumsum([0, *map(len, encoded)])
    return with_tensors(item_ids=np.frombuffer(b"".join(encoded), np.uint8), item_id_starts=starts)


def poked(name: str, value: float) -> tuple[Manifest, bytes]:
    """The good release with one number of a tensor replaced."""
    tensor = TENSORS[name].copy()
    tensor.flat[-1] = value
    return with_tensors(**{name: tensor})


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_packed_release_serves_what_the_formulas_say(options: Options) -> None:
    """Every cell, with every kind of scores: a state stepped click by click, and all its scores."""
    manifest, blob = tiny_release_parts(**options)
    tensors: Mapping[str, Any] = load(blob)
    release = verify(manifest, blob, number=7)
    state = np.zeros(release.state_size, np.float32)
    for item in (3, 0, 3, 11):
        state = step_one(tensors, options["cell"], item, state)
    recent = [11, 3, 0, 3][: release.recent_needed]

    found = release.rank(state[None], len(ITEMS), recent=np.array([recent], np.int32))

    expected = all_scores(
        tensors,
        state,
        recent,
        normalize=options["normalize"],
        scale=options["scale"],
        repeat_bias=options["repeat_bias"],
    )
    assert release.number == 7
    assert sorted(found.indexes[0]) == [*range(len(ITEMS))]
    np.testing.assert_allclose(found.scores[0], expected[found.indexes[0]], rtol=1e-5, atol=1e-5)


def test_a_release_knows_its_catalogue_gap_and_popular_items() -> None:
    """The gap in milliseconds, the popular items by index."""
    release = tiny_release(session_gap_seconds=0.25, popular=("item-3", "item-1"))

    assert release.catalogue.ids(np.arange(len(ITEMS))).tolist() == [*ITEMS]
    assert release.session_gap_ms == 250
    assert release.popular.tolist() == [3, 1]


@pytest.mark.parametrize("cell", CELLS)
def test_inputs_not_computed_in_advance_are_the_same(cell: str) -> None:
    """Where the catalogue is too large for it, they are computed when they are needed."""
    release, indexes = tiny_release(cell=cell, seed=3), np.array([0, 5, 5, 11], np.int32)
    in_advance = release.inputs(indexes)

    release._inputs = None

    np.testing.assert_allclose(release.inputs(indexes), in_advance, rtol=0, atol=1e-5)


@pytest.mark.parametrize("items", [1, 2, 1000])
def test_a_catalogue_may_be_of_any_size(items: int) -> None:
    """Down to one item; popular items and golden answers are no more than there are."""
    release = tiny_release(item_names(items))
    zero = np.zeros((1, release.state_size), np.float32)

    assert len(release.catalogue) == items
    assert np.count_nonzero(release.rank(zero, 20).indexes != NO_ITEM) == min(items, 20)


def test_the_state_of_zeros_has_scores() -> None:
    """With `normalize` it cannot be brought to unit length: its scores are the bias, not NaN."""
    release = tiny_release(output="separate", output_bias=True)
    found = release.rank(np.zeros((1, 8), np.float32), 12)

    assert np.isfinite(found.scores).all()


def test_the_successor_of_the_click_is_best() -> None:
    """The release of known answers, that other tests build upon."""
    release = verify(*successor_release_parts())
    zeros = np.zeros((len(ITEMS), release.state_size), np.float32)

    states = release.step(release.inputs(np.arange(len(ITEMS), dtype=np.int32)), zeros)

    assert release.rank(states, 1).indexes[:, 0].tolist() == [*range(1, len(ITEMS)), 0]


DAMAGES: dict[str, tuple[bytes, str]] = {
    "a byte less": (BLOB[:-1], "size"),
    "a byte more": (BLOB + b"\0", "size"),
    "nothing": (b"", "size"),
    "the first bit": (bytes([BLOB[0] ^ 0x80]) + BLOB[1:], "checksum"),
    "the last bit": (BLOB[:-1] + bytes([BLOB[-1] ^ 1]), "checksum"),
}


@pytest.mark.parametrize(("blob", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_blob_is_refused(blob: bytes, reason: str) -> None:
    """A byte lost, a byte more, nothing at all, a single bit turned at either end."""
    assert refusal(GOOD, blob).reason == reason


def test_another_releases_blob_is_refused() -> None:
    """Of the same size."""
    others: Options = {**SEPARATE, "seed": 1}
    _, other = tiny_release_parts(**others)

    assert len(other) == len(BLOB)
    assert refusal(GOOD, other).reason == "checksum"


@pytest.mark.parametrize(
    "blob", [b"", b"\0" * 7, b"\0" * 100, b"\xff" * 100, b"PK\x03\x04" * 30, BLOB[:-4], BLOB + b"\0" * 4]
)
def test_a_blob_that_is_no_safetensors_file_is_refused(blob: bytes) -> None:
    """Though its size and checksum are as the manifest says."""
    manifest = replace(GOOD, size_bytes=len(blob), sha256=hashlib.sha256(blob).hexdigest())

    assert refusal(manifest, blob).reason == "tensors"


@pytest.mark.parametrize("kind", [b"BF16", b"F8_E4M3", b"F8_E5M2", b"C128", b"WHAT"])
def test_numbers_of_a_type_that_numpy_lacks_are_refused(kind: bytes) -> None:
    """With a reason, not with whatever the library raises for them."""
    header = b'{"bias":{"dtype":"' + kind + b'","shape":[],"data_offsets":[0,2]}}'
    blob = len(header).to_bytes(8, "little") + header + b"\0\0"

    assert refusal(*with_blob(blob)).reason in {"tensors", "shape"}


@pytest.mark.parametrize("name", TENSORS)
def test_a_release_without_one_of_its_tensors_is_refused(name: str) -> None:
    """The text names it."""
    refused = refusal(*with_tensors(**{name: None}))

    assert refused.reason == "tensors"
    assert name in str(refused)


def test_a_tensor_too_many_is_refused() -> None:
    """It was meant for something; the same is an output table beside a tied one."""
    assert refusal(*with_tensors(surprise=np.zeros(3, np.float32))).reason == "tensors"
    assert refusal(replace(GOOD, output="tied"), BLOB).reason == "tensors"
    assert refusal(replace(GOOD, output_bias=False), BLOB).reason == "tensors"


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize(
    "reshape",
    [
        lambda tensor: tensor[:-1],
        lambda tensor: tensor[None],
        lambda tensor: tensor.reshape(-1)[0],
        lambda tensor: tensor.reshape(-1)[:0],
        lambda tensor: tensor.astype(np.float64),
        lambda tensor: tensor.astype(np.float16),
        lambda tensor: tensor.astype(np.int16),
    ],
    ids=["shorter", "nested", "scalar", "empty", "double", "half", "integer"],
)
def test_a_tensor_of_another_shape_or_type_is_refused(name: str, reshape: Callable[[Any], Any]) -> None:
    """Item ids alone may be of any length, which then must fit the places where they begin."""
    refused = refusal(*with_tensors(**{name: np.ascontiguousarray(reshape(TENSORS[name]))}))

    assert refused.reason == "shape" or (refused.reason == "item_ids" and name == "item_ids")


@pytest.mark.parametrize("cell", [name for name in CELLS if name != GOOD.cell])
def test_another_cell_than_the_tensors_are_for_is_refused(cell: str) -> None:
    """Their shapes tell."""
    assert refusal(replace(GOOD, cell=cell), BLOB).reason == "shape"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_no_numbers_are_refused(name: str, value: float) -> None:
    """A training that diverged must not reach a user."""
    assert refusal(*poked(name, value)).reason == "not_finite"


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_absurd_are_refused(name: str) -> None:
    """Finite, but what is computed from them is not what the trainer saw; overflow is no error of its own."""
    tensor = np.full_like(TENSORS[name], 3e38)

    assert refusal(*with_tensors(**{name: tensor})).reason == "golden"


@pytest.mark.parametrize(
    "item_ids",
    [
        (*ITEMS[:-1], ITEMS[0]),
        (*ITEMS[:-1], ""),
        ("", *ITEMS[1:]),
    ],
    ids=["duplicate", "empty last", "empty first"],
)
def test_item_ids_that_do_not_name_items_are_refused(item_ids: tuple[str, ...]) -> None:
    """Each item has an id, and no two have the same."""
    assert refusal(*with_items(*item_ids)).reason == "item_ids"


def test_item_ids_that_are_no_text_are_refused() -> None:
    """Bytes that are no UTF-8."""
    broken = TENSORS["item_ids"].copy()
    broken[-1] = 0xFF

    assert refusal(*with_tensors(item_ids=broken)).reason == "item_ids"


def test_a_popular_item_that_is_unknown_is_refused() -> None:
    """It would be recommended to whoever is new."""
    assert refusal(replace(GOOD, popular=("item-1", "sofa")), BLOB).reason == "item_ids"


G = GOOD.golden[1]
OTHER_ANSWERS: dict[str, dict[str, Any]] = {
    "another number in the state": {"hidden": (G.hidden[0] + 0.01, *G.hidden[1:])},
    "a huge number in the state": {"hidden": (*G.hidden[:-1], 1e300)},
    "a shorter state": {"hidden": G.hidden[:-1]},
    "no state": {"hidden": ()},
    "a click less": {"items": G.items[:-1]},
    "the clicks turned round": {"items": G.items[::-1]},
    "no clicks": {"items": ()},
    "an unknown item clicked": {"items": ("sofa", *G.items[1:])},
    "an unknown item expected": {"top": ("sofa", *G.top[1:])},
    "best and worst exchanged": {"top": (G.top[-1], *G.top[1:-1], G.top[0])},
    "an item twice": {"top": (G.top[0], *G.top[:-1])},
    "more items than there are": {"top": G.top[:1] * 13, "scores": G.scores[:1] * 13},
    "the best left out": {"top": G.top[1:], "scores": G.scores[1:]},
    "a score less": {"scores": G.scores[:-1]},
    "another score": {"scores": (G.scores[0] + 0.1, *G.scores[1:])},
    "a huge score": {"scores": (1e300, *G.scores[1:])},
    "the scores turned round": {"scores": G.scores[::-1]},
}


@pytest.mark.parametrize("changes", OTHER_ANSWERS.values(), ids=OTHER_ANSWERS)
def test_a_golden_answer_that_is_not_ours_is_refused(changes: dict[str, Any]) -> None:
    """Though the other sessions are answered as expected."""
    manifest = replace(GOOD, golden=(GOOD.golden[0], replace(G, **changes)))

    assert refusal(manifest, BLOB).reason == "golden"


def test_golden_scores_nearly_equal_may_stand_in_either_order() -> None:
    """The trainer's framework rounds in its own way."""
    tensors = tiny_tensors(2)
    tensors["embedding"][1] = tensors["embedding"][0] * np.float32(1 + 1e-6)
    manifest, blob = packed(tensors, ["a", "b"], cell="gru", output="tied")
    turned = tuple(replace(golden, top=golden.top[::-1]) for golden in manifest.golden)

    assert verify(replace(manifest, golden=turned), blob).manifest.golden == turned


@pytest.mark.parametrize(
    "change",
    [
        {"normalize": False},
        {"scale": 15.0},
        {"items": 11},
        {"hidden_size": 9},
        {"embedding_size": 6},
        {"transitions": 0},
        {"transitions": 5},
        {"repeat_bias": ()},
        {"repeat_bias": (2.0, -0.5)},
        {"layers": 1},
        {"layers": 3},
    ],
)
def test_a_manifest_that_says_otherwise_than_the_blob_is_refused(change: dict[str, Any]) -> None:
    """By shapes where it can be told, else by the golden answers."""
    assert refusal(replace(GOOD, **change), BLOB).reason in {"tensors", "shape", "golden"}


@pytest.mark.parametrize(
    ("followers", "said"),
    [
        ([0, 1, 2, len(ITEMS)], f"to {len(ITEMS)}"),
        ([0, 1, 2, NO_ITEM - 1], f"from {NO_ITEM - 1}"),
        ([0, 1, 2, 0], "row 11"),
    ],
    ids=["too high", "too low", "twice"],
)
def test_transitions_to_no_item_or_twice_to_one_are_refused(followers: list[int], said: str) -> None:
    """Of an item named twice one gain would be lost; the text says where. Unused places may be many."""
    items = TENSORS["transition_items"].copy()
    items[-1] = followers
    refused = refusal(*with_tensors(transition_items=items))

    assert refused.reason == "transitions"
    assert said in str(refused)


@pytest.mark.parametrize(
    ("transitions", "repeat_bias", "needed"),
    [(0, (), 0), (3, (), 1), (0, (0.5,), 1), (0, (0.5, 0.5), 2), (3, (0.5, 0.5, 0.5), 3)],
)
def test_a_release_says_how_many_clicks_ranking_needs(
    transitions: int, repeat_bias: tuple[float, ...], needed: int
) -> None:
    """And does not rank without them: the lists would look good and be others."""
    release = tiny_release(transitions=transitions, repeat_bias=repeat_bias)
    zeros = np.zeros((2, release.state_size), np.float32)

    assert release.recent_needed == needed
    if needed:
        with pytest.raises(ValueError, match=f"the last {needed} clicks"):
            release.rank(zeros, 3)
    else:
        assert np.array_equal(
            release.rank(zeros, 3).indexes, release.rank(zeros, 3, recent=np.empty((2, 0), np.int32)).indexes
        )


def test_a_session_without_known_last_clicks_is_ranked_by_its_state_alone() -> None:
    """As one under a release that has neither transitions nor repeat bias."""
    state = np.ones((1, 8), np.float32)
    plain, blended = tiny_release(), tiny_release(transitions=3, repeat_bias=(0.5, 0.5))

    found = blended.rank(state, 12, recent=np.full((1, 2), NO_ITEM, np.int32))

    assert found.indexes.tolist() == plain.rank(state, 12).indexes.tolist()


def test_every_change_to_a_weight_that_matters_is_noticed() -> None:
    """Gates in another order, a table upside down: golden sessions are what finds them."""
    moved = np.roll(TENSORS["transition_scores"], 1, axis=1)
    swapped = np.roll(TENSORS["recurrent_kernel"], 8, axis=1)

    assert refusal(*with_tensors(recurrent_kernel=swapped)).reason == "golden"
    assert refusal(*with_tensors(transition_scores=moved)).reason == "golden"
    assert refusal(*with_tensors(output=TENSORS["output"][::-1].copy())).reason == "golden"
    assert refusal(*with_items(*ITEMS[::-1])).reason == "golden"


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
def test_what_a_worker_would_refuse_is_not_packed(changes: dict[str, Any], reason: str) -> None:
    """The trainer hears of it at once."""
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
        pack(weights, **{**good, **changes})
    assert refused.value.reason == reason


def latest(*releases: tuple[int, Manifest, bytes]) -> dict[str, bytes]:
    """The latest value of each key in a topic with these releases."""
    records = [record for release in releases for record in to_records(*release)]
    return {record.key: record.value for record in records if record.value is not None}


def large() -> tuple[Manifest, bytes]:
    """A release of several chunks."""
    return tiny_release_parts(item_names(4000), hidden_size=80)


def test_a_release_comes_back_from_its_records() -> None:
    """Byte for byte, though it has several chunks, and others stand in the topic beside it."""
    manifest, blob = large()
    records = latest((3, manifest, blob), (12, GOOD, BLOB))

    assert max(len(value) for value in records.values()) == CHUNK_BYTES
    assert from_records(records, 3) == (manifest, blob)
    assert from_records(records, 12) == (GOOD, BLOB)
    assert numbers(records) == [3, 12]
    assert isinstance(verify(*from_records(records, 3), number=3), Release)


def test_the_manifest_is_the_last_record_of_a_release() -> None:
    """Whoever sees it has seen the chunks."""
    keys = [record.key for record in to_records(3, *large())]

    assert keys == ["release/0003/0001", "release/0003/0002", "release/0003/0003", "release/0003"]


def test_a_blob_of_exactly_one_chunk_is_one_record() -> None:
    """And one byte more makes two."""
    for size, chunks in ((CHUNK_BYTES, 1), (CHUNK_BYTES + 1, 2), (1, 1)):
        manifest, blob = replace(GOOD, size_bytes=size), b"x" * size

        assert len(to_records(1, manifest, blob)) == chunks + 1
        assert from_records(latest((1, manifest, blob)), 1) == (manifest, blob)


@pytest.mark.parametrize(
    "key", ["release/0003", "release/0003/0001", "release/0003/0002", "release/0003/0003"]
)
def test_a_release_that_is_not_all_there_is_refused(key: str) -> None:
    """The manifest, the first chunk, one between, the last."""
    records = latest((3, *large()))
    del records[key]
    with pytest.raises(ReleaseRefused) as refused:
        from_records(records, 3)

    assert refused.value.reason == "missing"


def test_chunks_of_another_release_are_refused() -> None:
    """Under the keys of this one: the size or the checksum tells."""
    records = latest((3, *large()))
    records["release/0003/0002"] = records["release/0003/0001"]

    assert refusal(*from_records(records, 3)).reason == "checksum"
    records["release/0003/0002"] += b"x"
    assert refusal(*from_records(records, 3)).reason == "size"


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
    assert parse_pointer(b'{"release": %d, "why": "by hand"}' % number) == Pointer(number)


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
