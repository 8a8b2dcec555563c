"""A release in both forms: the bytes for storage and transfer, and the tables for serving.

Code that packs a model, reads a folder or receives a release verifies the release once, and then passes a
`PackagedRelease` on.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np

from trainer.config import POPULAR_ITEMS
from trainer.dataset.dataset import Data
from trainer.dataset.lists import by_count, counted
from trainer.release.lists import ItemLists
from worker.core.blob import Blob
from worker.core.catalogue import Catalogue
from worker.core.cells import Floats
from worker.core.manifest import Golden, Manifest
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.recent import RECENT_ITEMS
from worker.core.release import Release, pack, verify
from worker.core.tables import ServingTables
from worker.core.verification import check_finite

if TYPE_CHECKING:
    # TensorFlow takes seconds to load, and reading a folder does not need it.
    from trainer.model.network import Network
    from trainer.model.terms import Terms

GOLDEN_SESSIONS: Final = 5
GOLDEN_CLICKS: Final = 20
GOLDEN_TOP: Final = 10
"""Golden answers in a release: number of sessions, maximum clicks per session, and items per answer."""


@dataclass(frozen=True, slots=True, eq=False)
class PackagedRelease:
    """A verified release and its bytes. `manifest.metrics` has its metrics on the test split."""

    release: Release
    blob: Blob

    @classmethod
    def verified(cls, manifest: Manifest, blob: Blob, *, number: int = 0) -> Self:
        """Verify a manifest and its blob, and return the release. Raises ReleaseRefused."""
        return cls(verify(manifest, blob, number=number), blob)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the release."""
        return self.release.manifest

    @property
    def parts(self) -> tuple[Manifest, Blob]:
        """The manifest and the blob, for storage and transfer."""
        return self.manifest, self.blob

    def with_training(self, **more: Any) -> PackagedRelease:
        """Return the same release with `more` facts in the training section of its manifest."""
        return PackagedRelease(self.release.with_training({**self.manifest.training, **more}), self.blob)


class Model(NamedTuple):
    """A trained model: the network, its `tensors`, and the blend's terms, which are added to the scores.

    `lists`: the lists of items for approximate ranking, if the catalogue is large.
    """

    network: Network
    tensors: Mapping[str, Floats]
    terms: Terms | None = None
    lists: ItemLists | None = None

    def answer(self, items: Indexes) -> tuple[Floats, Floats]:
        """Return the state `[S]` after one session of known `items`, and the scores of all items `[N]`."""
        state, scores = self.network.answer(items, self.tensors)
        return state, self.terms.added_to_scores(scores, items) if self.terms else scores

    def tables(self, data: Data) -> ServingTables:
        """Return the serving tables of this model over the catalogue of `data`, without packing a release.

        Raises ReleaseRefused if weights are not finite.
        """
        tensors, added = self._served()
        check_finite(tensors)
        return ServingTables(tensors, popular=_popular(data), **added)

    def packaged(
        self,
        data: Data,
        *,
        metrics: Mapping[str, float],
        created_at: str,
        parent: str | None = None,
    ) -> PackagedRelease:
        """Return a verified release of this model over the catalogue of `data`.

        `parent`: the SHA-256 of the release that the training started from. Raises ReleaseRefused.
        """
        tensors, added = self._served()
        settings = self.network.settings
        manifest, blob = pack(
            tensors,
            data.catalogue.ids(np.arange(len(data.catalogue))).tolist(),
            **added,
            output=settings.model.output_table,
            session_gap_seconds=settings.dataset.session_gap,
            exclude_recent=min(settings.evaluation.exclude_recent, RECENT_ITEMS),
            popular=data.catalogue.ids(_popular(data)).tolist(),
            golden=self._golden(data),
            list_recall=self.lists.recall if self.lists else 0.0,
            metrics=metrics,
            training={**data.summary, "settings": settings.to_json()},
            lineage={"parent": parent},
            created_at=created_at,
        )
        return PackagedRelease.verified(manifest, blob)

    def _served(self) -> tuple[Mapping[str, Any], dict[str, Any]]:
        """Return the tensors of a release, and the manifest fields that define how they are used."""
        settings, added = self.network.settings, dict[str, Any]()
        tensors: Mapping[str, Any] = self.tensors
        scale = settings.model.scale if settings.model.normalize else 1.0
        if self.terms:
            tensors, scale = self.terms.added_to(tensors), scale * self.terms.network
            added = self.terms.manifest
        if self.lists:
            tensors = {**tensors, "lists": self.lists.lists}
            added = {**added, "list_margin": self.lists.margin}
        return tensors, {
            "cell": settings.model.cell,
            "normalize": settings.model.normalize,
            "scale": scale,
            **added,
        }

    def _golden(self, data: Data) -> list[Golden]:
        """Return Keras' answers to a few real sessions, from the test split if it has any."""
        parts = (data.test, data.train)
        known = (items[items != NO_ITEM][:GOLDEN_CLICKS] for part in parts for items in part)
        chosen = itertools.islice((items for items in known if len(items)), GOLDEN_SESSIONS)
        return [self._golden_of(data.catalogue, items) for items in chosen]

    def _golden_of(self, catalogue: Catalogue, sequence: Indexes) -> Golden:
        hidden, scores = self.answer(sequence)
        top = np.argsort(-scores, kind="stable")[:GOLDEN_TOP]
        ids = [tuple(catalogue.ids(indexes).tolist()) for indexes in (sequence, top)]
        return Golden(ids[0], tuple(hidden.tolist()), ids[1], tuple(scores[top].tolist()))


def _popular(data: Data) -> Indexes:
    """Return the items with the most training clicks; ties in catalogue order."""
    return by_count(counted(data.train.items, data.clicked_items))[:POPULAR_ITEMS]
