from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.trainer.builders import CYCLE, NOW, cyclic_clicks
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.dataset import Data
from trainer.dataset.prepare import prepare
from trainer.model.network import Network
from trainer.release.package import PackagedRelease
from trainer.training.fit import fit
from trainer.training.warm_start import SHAPE, begin_with, grown, shaped_as
from worker.core.blob import read
from worker.errors import SettingError

SMALL = FitSettings.of(
    hidden_size=16,
    epochs=8,
    batch_clicks=64,
    learning_rate=0.01,
    top=1,
    output_table="separate",
    output_bias=True,
)


@pytest.fixture(scope="module")
def parent() -> PackagedRelease:
    """A release that knows the cycle."""
    return fit(cyclic_clicks(), SMALL, now=NOW)


def renamed(clicks: pl.DataFrame) -> pl.DataFrame:
    """A third of the items are new ones, the first of the old ones is not clicked any more."""
    return clicks.with_columns(pl.col("item_id").str.replace("item-([0357])$", "another-$1"))


@pytest.mark.slow
def test_old_items_keep_their_places_and_new_ones_follow(parent: PackagedRelease) -> None:
    """The child knows the parent's items under the same indexes, clicked or not, and names its parent."""
    child = fit(renamed(cyclic_clicks()), SMALL.replaced(epochs=1), now=NOW, parent=parent)

    old, new = (one.release.catalogue for one in (parent, child))
    assert new.ids(old.indexes([f"item-{n}" for n in range(CYCLE)])).tolist() == [
        f"item-{n}" for n in range(CYCLE)
    ]
    assert len(new) == CYCLE + 4
    assert child.manifest.lineage == {"parent": parent.manifest.sha256}
    assert child.manifest.popular[0] not in {"item-0", "item-3", "item-5", "item-7"}


@pytest.mark.slow
def test_it_begins_with_what_the_parent_knows(parent: PackagedRelease) -> None:
    """With a learning rate that moves nothing the child answers as its parent does."""
    still = SMALL.replaced(epochs=1, learning_rate=1e-12)

    child = fit(cyclic_clicks(), still, now=NOW, parent=parent)

    assert child.manifest.metrics["recall_at_1"] == parent.manifest.metrics["recall_at_1"] > 0.9


@pytest.mark.slow
def test_the_release_decides_the_shape(parent: PackagedRelease) -> None:
    """What was not asked for comes from it; what was, and differs, is refused with both values."""
    other = SMALL.replaced(hidden_size=20)

    assert shaped_as(parent.manifest, other, asked=())["hidden_size"] == 16
    with pytest.raises(SettingError, match="hidden_size is 20, but the release to start from has 16"):
        shaped_as(parent.manifest, other, asked=["model.hidden_size"])
    with pytest.raises(SettingError, match="hidden_size is 20"):
        fit(cyclic_clicks(), other, now=NOW, parent=parent)


@pytest.fixture
def described(tmp_path: Path) -> FitSettings:
    """Settings with features of all items of the cycle, and of two that nobody clicks: shelf and new."""
    ids = [*(f"item-{n}" for n in range(CYCLE)), "shelf", "new"]
    table = {"item_id": ids, "kind": [f"{one[-1]}|{one}" for one in ids], "price": [*range(CYCLE), 9, None]}
    pl.DataFrame(table).write_parquet(tmp_path / "items.parquet")
    file = str(tmp_path / "items.parquet")
    return SMALL.replaced(file=file, categorical=("kind",), numeric=("price",), min_value_count=1)


def features_of(data: Data) -> dict[str, tuple[set[str], float]]:
    """What is known of each item: its kinds and its normalised price."""
    assert data.features is not None
    kind = data.features.categorical[0]
    kinds = [{kind.values[one] for one in places} for places in np.split(kind.indexes, kind.starts[1:-1])]
    prices = data.features.numeric[:, 0].tolist()
    ids = data.catalogue.ids(np.arange(len(data.catalogue))).tolist()
    return dict(zip(ids, zip(kinds, prices, strict=True), strict=True))


def test_features_follow_their_items(described: FitSettings) -> None:
    """To the places that the parent gave them; of an item that only the parent knows nothing is known."""
    data = prepare(cyclic_clicks(100), described, Progress(), NOW)
    known = ["item-7", "gone", "shelf", "item-2"]

    moved = grown(data, known)

    assert moved.catalogue.ids(np.arange(4)).tolist() == known
    assert features_of(moved) == features_of(data) | {"gone": (set(), 0.0)}
    assert features_of(moved)["item-7"][0] == {"7", "item-7"}
    assert moved.catalogue.ids(np.arange(len(moved.catalogue))[-moved.never_clicked :]).tolist() == ["new"]


@pytest.mark.slow
def test_a_parent_without_features_has_a_child_with_some(
    parent: PackagedRelease, described: FitSettings
) -> None:
    """What the parent knows stays, beside what features that begin fresh add; items nobody clicked join."""
    still = described.replaced(epochs=1, learning_rate=1e-12)

    child = fit(cyclic_clicks(), still, now=NOW, parent=parent)

    catalogue = child.release.catalogue
    old = parent.release.catalogue.ids(np.arange(CYCLE)).tolist()
    assert catalogue.ids(np.arange(CYCLE)).tolist() == old
    assert sorted(catalogue.ids(np.arange(CYCLE, len(catalogue))).tolist()) == ["new", "shelf"]
    assert child.manifest.metrics["recall_at_1"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("popularity", [[0.5, 0.2], []], ids=["popularity", "without"])
def test_what_a_blend_added_is_no_part_of_a_learned_bias(
    parent: PackagedRelease, popularity: list[float]
) -> None:
    """Beside popularity the learned numbers are not known and begin fresh; item vectors are as they were."""
    settings = SMALL.replaced(epochs=1)
    blend = {"network": 0.5, "popularity": popularity}
    manifest, blob = parent.with_training(blend=blend).parts
    network, released = Network(np.ones(CYCLE + 1, np.int64), settings), read(blob)

    begin_with(network, manifest, blob)

    learned = np.append(released["output_bias"], released["output_bias"].min())
    expected = 0 * learned if popularity else learned / 0.5
    assert network.bias is not None
    assert released["output_bias"].any()
    np.testing.assert_allclose(network.bias.numpy(), expected, rtol=1e-5)
    for name in ("embedding", "output"):
        np.testing.assert_allclose(network.tensors()[name][:CYCLE], released[name], rtol=1e-5)


@pytest.mark.slow
def test_what_a_blend_added_is_not_of_the_shape() -> None:
    """A bias and a scale that are the blend's do not count, those that were trained with do."""
    fitted = fit(cyclic_clicks(), SMALL.replaced(epochs=1, output_bias=False), now=NOW).manifest
    manifest = replace(fitted, output_bias=True, scale=3.0)
    same = SMALL.replaced(output_bias=False, embedding_size=16)

    assert shaped_as(manifest, same, asked=SHAPE)["scale"] == SMALL.model.scale
    with pytest.raises(SettingError, match="output_bias is True, but the release to start from has False"):
        shaped_as(manifest, SMALL, asked=["model.output_bias"])
