"""A release of any size: from the command that publishes it to two workers that serve under it.

Its item vectors are around as many centres as a trainer makes lists, and random. So are the states: what is
measured does not depend on what a network has learned, but on how much of the catalogue a list scores.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from tests.benchmarks.frame import Figures
from tests.benchmarks.scale import SIZES
from tests.benchmarks.stand import HIDDEN_SIZE, Stand
from tests.benchmarks.swap import adopted
from tests.broker.process import ROOT
from tests.builders import item_names, packed, tiny_tensors
from trainer.release.folder import write_folder
from worker.core.blob import rounded
from worker.core.release import verify

RATE: Final = 100
SCORED: Final = 0.02
"""The share of the items that a list scores: as of a network trained on real clicks (`worker.core.lists`)."""

_TOPIC: Final = "bench.releases-large-{}"
"""The topic of releases of each size."""

_SPREAD: Final = 0.5
"""The standard deviation of vectors around their centre, where that of the centres is 1."""


def adoption(stand: Stand, size: str, *, users: int, seconds: float) -> Figures:
    """Have two workers, one of them under load, adopt a release as large as that in which they serve."""
    topic = _TOPIC.format(size)
    busy, idle = (stand.settings(0, releases=topic, publish="every", publish_max_age=0) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        first, second = (Path(folder) / name for name in ("first", "second"))
        _write(first, SIZES[size], seed=0)
        table_bytes = _write(second, SIZES[size], seed=1)
        _publish(stand, topic, first)
        found = adopted(
            stand,
            busy,
            idle,
            partial(_publish, stand, topic, second),
            items=SIZES[size],
            rate=RATE,
            users=users,
            seconds=seconds,
        )
    return {
        f"adopt_{size}_seconds": found["publish_to_serving_seconds"],
        f"adopt_{size}_publish_seconds": found["publish_seconds"],
        f"adopt_{size}_p99_over_steady": found["swap_p99_over_steady"],
        f"adopt_{size}_published_p99_over_steady": found["published_p99_over_steady"],
        f"adopt_{size}_p99_seconds": found["swap_p99_seconds"],
        f"adopt_{size}_steady_p99_seconds": found["steady_p99_seconds"],
        f"adopt_{size}_lost": found["swap_lost"],
        f"release_{size}_bytes": table_bytes,
        f"resident_{size}_bytes": found["resident_idle_bytes"],
        f"resident_{size}_over_tables": found["resident_idle_bytes"] / table_bytes,
    }


def _write(folder: Path, items: int, *, seed: int) -> int:
    """Write a release to `folder`; return the size of its tables, in bytes."""
    random = np.random.default_rng(seed)
    tensors = tiny_tensors(items, hidden_size=HIDDEN_SIZE, embedding_size=HIDDEN_SIZE, seed=seed)
    lists = 1 << round(np.log2(2 * np.sqrt(items)))
    tensors["lists"] = random.permutation(np.resize(np.arange(lists, dtype=np.int32), items))
    centres = random.standard_normal((lists, HIDDEN_SIZE), np.float32)
    tensors["embedding"] = centres[tensors["lists"]] + np.float32(_SPREAD) * tensors["embedding"]
    tensors = rounded(tensors)
    ids = item_names(items)
    make = partial(
        packed,
        tensors,
        ids,
        cell="gru",
        output="tied",
        normalize=True,
        scale=16.0,
    )
    release = verify(*make(list_margin=1e6))
    assert release.lists is not None  # the tensors have lists
    hidden = release.hidden(random.standard_normal((500, release.state_size), np.float32))
    release.lists.margin = 0.1
    while release.lists.scored_share(hidden) < SCORED:
        release.lists.margin *= 1.1
    write_folder(folder, *make(list_margin=release.lists.margin))
    table_bytes = release.summary()["table_bytes"]
    assert isinstance(table_bytes, int)  # for the type checker
    return table_bytes


def _publish(stand: Stand, topic: str, folder: Path) -> None:
    command = [sys.executable, "-m", "trainer", "publish", str(folder), "--yes"]
    where = ["--kafka", stand.bootstrap, "--releases-topic", topic]
    subprocess.run([*command, *where], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
