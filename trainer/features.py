"""What is known of items beside their clicks, in the order of the catalogue."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Categorical(NamedTuple):
    """A column of words. An item may have several, or none.

    `values`: the vocabulary. `indexes`: the places in it of all items' words, item after item;
    `starts` `[N + 1]`: where each item's begin.
    """

    name: str
    values: tuple[str, ...]
    indexes: NDArray[np.int32]
    starts: NDArray[np.int64]


class Features(NamedTuple):
    """The columns of a catalogue of `N` items; `numeric` `[N, M]` is normalised and has no gaps."""

    categorical: tuple[Categorical, ...]
    numeric: NDArray[np.float32]
    numeric_names: tuple[str, ...]
