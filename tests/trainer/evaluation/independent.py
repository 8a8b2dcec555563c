"""Recall, MRR, NDCG at 20 of a release (a GRU) on clicks (CSV), by worker/README's "Format of a release"."""

import csv
import gzip
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file


def sessions(path: Path, gap_ms: float) -> list[list[str]]:  # noqa: D103
    found, users = list[list[str]](), dict[str, tuple[int, list[str]]]()
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            time = int(row["timestamp_ms"])
            latest, session = users.get(row["user_id"], (time, []))
            if not session or 0 < gap_ms < time - latest:
                found.append(session := [])
            session.append(row["item_id"])
            users[row["user_id"]] = (max(time, latest), session)
    return found


def measured(folder: Path, path: Path) -> dict[str, Any]:  # noqa: D103
    m, t = json.loads((folder / "manifest.json").read_text()), load_file(folder / "weights.safetensors")
    ids = [t["item_ids"][a:b].tobytes().decode() for a, b in pairwise(t["item_id_starts"])]
    row_of, table, ranks = {one: row for row, one in enumerate(ids)}, t.get("output", t["embedding"]), []
    table = table / np.sqrt(np.maximum((table**2).sum(1), 1e-12))[:, None] if m["normalize"] else table
    fallback = np.array([-m["popular"].index(i) if i in m["popular"] else -np.inf for i in [*ids, ""]])
    for session in sessions(path, 1000 * m["session_gap_seconds"]):
        h: Any = np.zeros(m["hidden_size"], np.float32)
        rows = np.array([row_of.get(one, -1) for one in session])
        for at, (last, target) in enumerate(pairwise(rows.tolist()), start=1):
            x = np.split(t["embedding"][last] @ t["kernel"] + t["bias"][0], 3)
            w = np.split(h @ t["recurrent_kernel"] + t["bias"][1], 3)
            z, r = (1 / (1 + np.exp(-x[gate] - w[gate])) for gate in (0, 1))
            h = np.where(last < 0, h, np.float32(np.float16(z * h + (1 - z) * np.tanh(x[2] + r * w[2]))))
            hidden, clicked = h / np.sqrt(max(h @ h, 1e-12)) if m["normalize"] else h, rows[:at][::-1]
            scores = np.append(m["scale"] * (table @ hidden) + t.get("output_bias", 0), 0)  # at -1: no item
            terms = [(clicked, np.array(m["repeat_bias"]))]  # items, and what is added to their scores
            decay = m.get("co_occurrence_decay", [])
            for name, factors in (("transition", [1.0][: m["transitions"]]), ("co_occurrence", decay)):
                for row, factor in zip(clicked, factors, strict=False):
                    terms.append((t[f"{name}_items"][row], (row >= 0) * factor * t[f"{name}_scores"][row]))
            for items, added in terms:
                np.add.at(scores, items[: len(added)], added[: len(items)])
            scores = scores if clicked.max() >= 0 else fallback.copy()
            scores[[-1, *clicked[: m.get("exclude_recent", 1)]]] = -np.inf
            rank = 1 + (scores > scores[target]).sum() + (scores[:target] == scores[target]).sum()
            ranks.append(rank if scores[target] > -np.inf and rank <= 20 else np.inf)
    p = np.array(ranks, np.float64)
    return {"recall": np.mean(p < np.inf), "mrr": np.mean(1 / p), "ndcg": np.mean(1 / np.log2(p + 1))}


if __name__ == "__main__":
    print(json.dumps(measured(*map(Path, sys.argv[1:]))))
