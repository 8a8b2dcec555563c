"""A cache of prepared sessions, in Parquet: the same clicks under the same settings are prepared only once.

An entry is a folder whose name is a hash of its input: all clicks, in any order, and all settings that affect
the preparation. Entries are written atomically.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from trainer.config import FitSettings
from trainer.config.fitting import keys_with
from trainer.dataset.dataset import Data, EveryItem
from trainer.dataset.decisions import OF_CLICKS, open_keys
from trainer.dataset.features import Categorical, Features
from trainer.dataset.history import PLACE, History
from trainer.dataset.sessions import Sessions
from trainer.files_on_disk import put_in_place
from worker.core.catalogue import Catalogue
from worker.settings.fields import value_of

_VERSION: Final = 5
"""Version of the preparation. Increase it when the code prepares the same clicks differently."""

_HISTORY: Final = "history.parquet"

_PARTS: Final = ("train", "validation", "test")
"""The fields of `Data` that are files of sessions."""

_EVERY_ITEM: Final = "every_item.npz"
_ARRAYS: Final = ("items", "starts", "scored", "times_ms")


def entry(folder: Path, clicks: pl.LazyFrame, settings: FitSettings) -> Path:
    """Return the cache entry in `folder` for these `clicks` and `settings`; the entry may not exist."""
    # A setting that the user did not set is decided from the clicks, so its value alone says too little.
    chosen = [open_keys(settings, *OF_CLICKS), *(value_of(settings, key) for key in keys_with("prepares"))]
    known = settings.features.file.read_bytes() if settings.features.file else b""
    parts = [pl.__version__, _VERSION, _print_of(clicks), chosen, hashlib.sha256(known).hexdigest()]
    return folder / hashlib.sha256(orjson.dumps(parts)).hexdigest()[:32]


def _print_of(clicks: pl.LazyFrame) -> list[int]:
    """Return a fingerprint of the rows that does not depend on their order or source."""
    sums = [(pl.struct(pl.all()).hash(seed) % (1 << 32)).sum().alias(f"sum_{seed}") for seed in (0, 1)]
    return list(clicks.select(pl.len(), *sums).collect(engine="streaming").row(0))


def save(kept: Path, data: Data) -> None:
    """Write `data` to the cache entry `kept`; an existing entry is left unchanged."""
    unfinished = kept.with_name(f".{kept.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    for part in _PARTS:
        _frame_of(getattr(data, part)).write_parquet(unfinished / f"{part}.parquet")
    # The validation and the test sessions have the same history.
    if data.test.history:
        _history_frame(data.test.history).write_parquet(unfinished / _HISTORY)
    if data.every_item:
        np.savez(unfinished / _EVERY_ITEM, allow_pickle=False, **_arrays_of(data.every_item))
    ids = data.catalogue.ids(np.arange(len(data.catalogue))).tolist()
    items = pl.DataFrame({"item_id": ids}, schema={"item_id": pl.String()})
    known: dict[str, Any] = {"summary": data.summary, "never_clicked": data.never_clicked, "features": None}
    if data.features is not None:
        items = items.hstack(_columns_of(data.features))
        values = [[one.name, one.values] for one in data.features.categorical]
        known["features"] = {"categorical": values, "numeric": data.features.numeric_names}
    items.write_parquet(unfinished / "items.parquet")
    (unfinished / "known.json").write_bytes(orjson.dumps(known))
    if kept.is_dir():
        shutil.rmtree(unfinished)
    else:
        put_in_place(unfinished, kept)


def load(kept: Path) -> Data:
    """Return the data in the cache entry `kept`."""
    known = orjson.loads((kept / "known.json").read_bytes())
    items = pl.read_parquet(kept / "items.parquet", glob=False)
    features = _features_of(items, known["features"]) if known["features"] else None
    frames = {part: pl.read_parquet(kept / f"{part}.parquet", glob=False) for part in _PARTS}
    history = pl.read_parquet(kept / _HISTORY, glob=False) if (kept / _HISTORY).is_file() else None
    sessions = {part: _sessions_of(frame, history) for part, frame in frames.items()}
    return Data(
        Catalogue(items["item_id"].to_list()),
        **sessions,
        summary=known["summary"],
        features=features,
        never_clicked=known["never_clicked"],
        every_item=_every_item_of(kept / _EVERY_ITEM) if (kept / _EVERY_ITEM).is_file() else None,
    )


def _arrays_of(every_item: EveryItem) -> dict[str, NDArray[Any]]:
    """Return all arrays of `every_item` by name."""
    found = every_item._asdict()
    for part in ("past", "test"):
        sessions = found.pop(part)
        found |= {f"{part}.{name}": getattr(sessions, name) for name in _ARRAYS}
    return found


def _every_item_of(file: Path) -> EveryItem:
    with np.load(file) as arrays:
        known = {name: arrays[name] for name in arrays.files}
    for part in ("past", "test"):
        known[part] = Sessions(*(known.pop(f"{part}.{name}") for name in _ARRAYS))
    return EveryItem(**known)


def _frame_of(sessions: Sessions) -> pl.DataFrame:
    begins = np.zeros(len(sessions.items), np.bool_)
    begins[sessions.starts[:-1]] = True
    columns = {"item_index": sessions.items, "begins": begins, "scored": sessions.scored}
    places = {PLACE: sessions.history.places} if sessions.history else {}
    return pl.DataFrame({**columns, "timestamp_ms": sessions.times_ms, **places})


def _history_frame(history: History) -> pl.DataFrame:
    begins = np.zeros(len(history.items), np.bool_)
    begins[history.starts] = True
    return pl.DataFrame({"item_index": history.items, "begins": begins})


def _sessions_of(frame: pl.DataFrame, history: pl.DataFrame | None) -> Sessions:
    starts = np.append(np.flatnonzero(frame["begins"].to_numpy()), len(frame))
    items, scored, times_ms = (frame[name].to_numpy() for name in ("item_index", "scored", "timestamp_ms"))
    clicks = None
    if history is not None and PLACE in frame.columns:
        users = np.flatnonzero(history["begins"].to_numpy())
        clicks = History(history["item_index"].to_numpy(), users, frame[PLACE].to_numpy())
    return Sessions(items, starts, scored, times_ms, clicks)


def _columns_of(features: Features) -> pl.DataFrame:
    """Return the features as a table, with a row per item and a column per feature."""
    columns: dict[str, pl.Series] = {}
    for place, one in enumerate(features.categorical):
        lists = [values.tolist() for values in np.split(one.indexes, one.starts[1:-1])]
        columns[f"categorical_{place}"] = pl.Series(lists, dtype=pl.List(pl.Int32()))
    for place in range(len(features.numeric_names)):
        columns[f"numeric_{place}"] = pl.Series(features.numeric[:, place])
    return pl.DataFrame(columns)


def _features_of(items: pl.DataFrame, known: dict[str, Any]) -> Features:
    categorical = []
    for place, (name, values) in enumerate(known["categorical"]):
        lists = items[f"categorical_{place}"]
        starts = np.append(0, np.cumsum(lists.list.len().to_numpy())).astype(np.int64)
        indexes = lists.explode().drop_nulls().to_numpy()
        categorical.append(Categorical(name, tuple(values), indexes, starts))
    numeric = items.select(f"numeric_{place}" for place in range(len(known["numeric"])))
    matrix = numeric.to_numpy().astype(np.float32).reshape(len(items), -1)
    return Features(tuple(categorical), matrix, tuple(known["numeric"]))
