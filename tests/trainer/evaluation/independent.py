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
    fallback = np.array([-m["popular"].index(one) if one in m["popular"] else -np.inf for one in ids])
    gap_ms, sessions, users = 1000 * m["session_gap_seconds"], list[list[int]](), dict[str, Any]()
    for click in csv.DictReader(path.read_text("utf-8").splitlines()):
        time = int(click["timestamp_ms"])
        latest, session = users.get(click["user_id"], (time, []))
        if not session or 0 < gap_ms < time - latest:
            sessions.append(session := [])
        session.append(row_of.get(click["item_id"], -1))
        users[click["user_id"]] = (max(time, latest), session)
    for session in sessions:
        h: Any = np.zeros(m["hidden_size"], np.float32)
        for at, (last, target) in enumerate(pairwise(session), start=1):
            if last >= 0:
                x = np.split(t["embedding"][last] @ t["kernel"] + t["bias"][0], 3)
                w = np.split(h @ t["recurrent_kernel"] + t["bias"][1], 3)
                z, r = (1 / (1 + np.exp(-x[gate] - w[gate])) for gate in (0, 1))
                h = np.float32(np.float16(z * h + (1 - z) * np.tanh(x[2] + r * w[2])))
            hidden, clicked = h / np.sqrt(max(h @ h, 1e-12)) if m["normalize"] else h, session[:at][::-1]
            scores = m["scale"] * (table @ hidden) + t.get("output_bias", 0)
            terms = [
                (np.array(clicked), np.array(m["repeat_bias"]))
            ]  # items, and what is added to their scores
            if m["transitions"] and last >= 0:
                terms.append((t["transition_items"][last], t["transition_scores"][last]))
            for near, fading in zip(clicked, m.get("co_occurrence_decay", ()), strict=False):
                if near >= 0:
                    terms.append((t["co_occurrence_items"][near], fading * t["co_occurrence_scores"][near]))
            for items, added in terms:
                known = np.flatnonzero(items[: len(added)] >= 0)
                np.add.at(scores, items[known], added[known])
            scores = scores if max(clicked) >= 0 else fallback.copy()
            excluded = [one for one in clicked[: m.get("exclude_recent", 1)] if one >= 0]
            scores[excluded] = -np.inf
            rank = 1 + (scores > scores[target]).sum() + (scores[:target] == scores[target]).sum()
            ranks.append(rank if target >= 0 and scores[target] > -np.inf and rank <= 20 else np.inf)
    p = np.array(ranks, np.float64)
    return {"recall": np.mean(p < np.inf), "mrr": np.mean(1 / p), "ndcg": np.mean(1 / np.log2(p + 1))}


if __name__ == "__main__":
    print(json.dumps(measured(*map(Path, sys.argv[1:]))))
