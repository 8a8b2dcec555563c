"""Recall, MRR, NDCG at 20 of a release (a GRU) on clicks (CSV), by worker/README's "Format of a release"."""

import csv
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file


def measured(folder: Path, path: Path) -> dict[str, Any]:  # noqa: D103
    m, t = json.loads((folder / "manifest.json").read_text()), load_file(folder / "weights.safetensors")
    ids = [t["item_ids"][a:b].tobytes().decode() for a, b in pairwise(t["item_id_starts"])]
    row_of, table, ranks = {one: row for row, one in enumerate(ids)}, t.get("output", t["embedding"]), []
    table = table / np.sqrt(np.maximum((table**2).sum(1), 1e-12))[:, None] if m["normalize"] else table
    fallback = np.array([-1.0 * m["popular"].index(one) if one in m["popular"] else -np.inf for one in ids])
    gap_ms, sessions, users = 1000 * m["session_gap_seconds"], list[Any](), dict[str, Any]()
    for click in csv.DictReader(path.read_text("utf-8").splitlines()):
        time, row = int(click["timestamp_ms"]), row_of.get(click["item_id"], -1)
        latest, session, own = users.get(click["user_id"], (time, [], []))
        if not session or 0 < gap_ms < time - latest:
            sessions.append((session := [], own, len(own)))
        session.append(row)
        own.append(row)
        users[click["user_id"]] = (max(time, latest), session, own)
    for session, own, begin in sessions:
        h: Any = np.zeros(m["hidden_size"], np.float32)
        for at, (last, target) in enumerate(pairwise(session), start=1):
            if last >= 0:
                x = np.split(t["embedding"][last] @ t["kernel"] + t["bias"][0], 3)
                w = np.split(h @ t["recurrent_kernel"] + t["bias"][1], 3)
                z, r = (1 / (1 + np.exp(-x[gate] - w[gate])) for gate in (0, 1))
                h = np.float32(np.float16(z * h + (1 - z) * np.tanh(x[2] + r * w[2])))
            hidden, clicked = h / np.sqrt(max(h @ h, 1e-12)) if m["normalize"] else h, session[:at][::-1]
            scores = np.append(m["scale"] * (table @ hidden) + t.get("output_bias", 0), 0)  # at -1: no item
            terms = [(clicked, np.array(m["repeat_bias"]))]  # items, and what is added to their scores
            decay, counts = m.get("co_occurrence_decay", []), np.zeros(len(scores))
            for name, factors in (("transition", [1.0][: m["transitions"]]), ("co_occurrence", decay)):
                for row, factor in zip(clicked, factors, strict=False):
                    terms.append((t[f"{name}_items"][row], (row >= 0) * factor * t[f"{name}_scores"][row]))
            for lag, row in enumerate(own[: begin + at][::-1][: m.get("own_items", 0)]):
                counts[row] += 0.5 ** (lag / m["own_half_life"])
            gains = (counts > 0) * m.get("own_bonus", 0) + m.get("own_weight", 0) * np.log1p(counts / 0.1)
            terms.append((np.arange(len(scores)), gains))
            for items, added in terms:
                np.add.at(scores, items[: len(added)], added[: len(items)])
            scores = scores if max(clicked) >= 0 else np.append(fallback, 0)
            scores[[-1, *clicked[: m.get("exclude_recent", 1)]]] = -np.inf
            rank = 1 + (scores > scores[target]).sum() + (scores[:target] == scores[target]).sum()
            ranks.append(rank if scores[target] > -np.inf and rank <= 20 else np.inf)
    p = np.array(ranks, np.float64)
    return {"recall": np.mean(p < np.inf), "mrr": np.mean(1 / p), "ndcg": np.mean(1 / np.log2(p + 1))}


if __name__ == "__main__":
    print(json.dumps(measured(*map(Path, sys.argv[1:]))))
