"""Display names of models and slices in the report."""

from __future__ import annotations

from typing import Final, NamedTuple

from trainer.evaluation.benchmark import NETWORK


class Model(NamedTuple):
    """The name of a model in a table, its name within a sentence, and a line on how it chooses items."""

    name: str
    spoken: str
    line: str


MODELS: Final = {
    NETWORK: Model(
        "This release",
        "this release",
        "Chooses items with the trained network, by all earlier clicks of the session.",
    ),
    "popular": Model(
        "Bestsellers",
        "a bestseller list",
        "The items with the most training clicks. The list is the same for all users.",
    ),
    "recently popular": Model(
        "Recent bestsellers",
        "a list of recent bestsellers",
        "The items with the most clicks at the end of the training period (setting baselines.recent).",
    ),
    "live popular": Model(
        "Live bestsellers",
        "a live bestseller list",
        "The items with the most recent clicks (setting baselines.recent), recounted every hour.",
    ),
    "own items": Model(
        "Own items",
        "a list of each user's own items",
        "The items that the user clicked most in all earlier sessions; recent clicks count more.",
    ),
    "markov": Model(
        "Markov chain",
        "a Markov chain",
        "The items that were most often clicked directly after the last clicked item.",
    ),
    "co-occurrence": Model(
        "Co-occurrence",
        "a co-occurrence model",
        "The items that were most often clicked within ten clicks of the last items of the session.",
    ),
    "s-knn": Model(
        "S-kNN",
        "S-kNN",
        "The items of the past sessions that share the most items with the current session.",
    ),
    "vs-knn": Model(
        "VS-kNN",
        "VS-kNN",
        "Like S-kNN, but the latest clicks of the session count most.",
    ),
    "vmis-knn": Model(
        "VMIS-kNN",
        "VMIS-kNN",
        "Like VS-kNN, but with the newest sessions of each item, and rare items count more.",
    ),
}
"""The display names of the models, by their name in the results."""


def model(name: str) -> Model:
    """Return the entry of the model `name`; an unknown model keeps its name."""
    return MODELS.get(name, Model(name, name, ""))


PARTS: Final = {
    "1 click before": "next clicks after a single click",
    "2 to 3 clicks before": "next clicks after 2 to 3 clicks",
    "4 to 7 clicks before": "next clicks after 4 to 7 clicks",
    "8 or more clicks before": "next clicks after 8 or more clicks",
    "popular targets": "next clicks on popular items",
    "middling targets": "next clicks on items of medium popularity",
    "rare targets": "next clicks on rare items",
    "new targets, not clicked in training": "next clicks on items without a training click",
    "targets not in the catalogue": "next clicks on items outside the catalogue",
}
"""Display names by slice. Popular, medium and rare items each have a third of the training clicks."""


def part(name: str) -> str:
    """Return the display name of the slice `name`."""
    return PARTS.get(name, name)
