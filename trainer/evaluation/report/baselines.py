"""Names of models and of parts of the clicks, for people who read the page."""

from __future__ import annotations

from typing import Final, NamedTuple

from trainer.evaluation.benchmark import NETWORK


class Model(NamedTuple):
    """The name of a model, the same in the middle of a sentence, and how it chooses its list."""

    name: str
    spoken: str
    line: str


MODELS: Final = {
    NETWORK: Model(
        "This release",
        "this release",
        "Chooses by all earlier clicks of the user, with the network that was trained.",
    ),
    "popular": Model(
        "Bestsellers",
        "a bestseller list",
        "The items with the most clicks in training. The list is the same for everyone.",
    ),
    "recently popular": Model(
        "Recent bestsellers",
        "a list of recent bestsellers",
        "The items with the most clicks at the end of the training (`baselines.recent`).",
    ),
    "live popular": Model(
        "Live bestsellers",
        "a live bestseller list",
        "The items with the most recent clicks (`baselines.recent`), counted again while measuring.",
    ),
    "markov": Model(
        "Markov chain",
        "a Markov chain",
        "The items that most often followed the last clicked item.",
    ),
    "s-knn": Model(
        "S-kNN",
        "S-kNN",
        "Items of the past sessions that share the most items with the current session.",
    ),
    "vs-knn": Model(
        "VS-kNN",
        "VS-kNN",
        "As S-kNN, but the last clicks of the session count most.",
    ),
    "vmis-knn": Model(
        "VMIS-kNN",
        "VMIS-kNN",
        "As VS-kNN, on the newest sessions of each item, and rare items count more.",
    ),
}
"""By the name that the figures have. No model but the network is trained over several epochs."""


def model(name: str) -> Model:
    """Return the entry for `name`; for a model that has none, the name itself."""
    return MODELS.get(name, Model(name, name, ""))


PARTS: Final = {
    "1 click before": "next clicks after a single click",
    "2 to 3 clicks before": "next clicks after 2 to 3 clicks",
    "4 to 7 clicks before": "next clicks after 4 to 7 clicks",
    "8 or more clicks before": "next clicks after 8 or more clicks",
    "popular targets": "next clicks on popular items",
    "middling targets": "next clicks on items of middling popularity",
    "rare targets": "next clicks on rare items",
    "new targets, not clicked in training": "next clicks on items without a training click",
    "targets not in the catalogue": "next clicks on items outside the catalogue",
}
"""By the name of the slice. Popular, middling and rare items have a third of the training clicks each."""


def part(name: str) -> str:
    """Return what the slice `name` is called on the page."""
    return PARTS.get(name, name)
