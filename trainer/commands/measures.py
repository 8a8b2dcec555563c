"""The metrics of a release as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.core.manifest import Manifest


def report(metrics: Mapping[str, float], top: int) -> str:
    """Return a table of Recall@K and MRR@K of the network and of the release's fallback list.

    The fallback list has the catalogue's most popular items. The baseline `popular` counts other clicks: all
    those before the test split, also on items outside the catalogue.
    """
    if not metrics:
        return "no held-out clicks: the release was not measured"
    rows = [f"on {metrics['predictions']:,.0f} held-out clicks    network   fallback list"]
    for name, title in ((f"recall_at_{top}", f"Recall@{top}"), (f"mrr_at_{top}", f"MRR@{top}")):
        rows.append(f"{title:<24}{metrics[name]:>16.4f}{metrics['popular_' + name]:>16.4f}")
    if "exact_predictions" in metrics:
        approximate, exact = (metrics[f"{start}_recall_at_{top}"] for start in ("sampled", "exact"))
        rows.append(
            f"ranked approximately, as by a worker; on {metrics['exact_predictions']:,.0f} of the clicks, "
            f"Recall@{top} is {approximate:.4f}, and {exact:.4f} with exact ranking"
        )
    return "\n".join(rows)


def both_measured(new: Mapping[str, float], old: Mapping[str, float]) -> tuple[str, float, float] | None:
    """Return the title of a metric that both releases have, and both values; None if they share no metric.

    >>> both_measured({"recall_at_20": 0.31}, {"recall_at_20": 0.29, "mrr_at_20": 0.1})
    ('Recall@20', 0.31, 0.29)
    """
    for start, title in (("recall_at_", "Recall@"), ("mrr_at_", "MRR@")):
        for name in new:
            if name.startswith(start) and name in old:
                return f"{title}{name.removeprefix(start)}", new[name], old[name]
    return None


def facts(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """Return the properties of a release in a folder, for JSON output."""
    return {
        "folder": str(folder),
        "items": manifest.items,
        "size_bytes": manifest.size_bytes,
        "metrics": dict(manifest.metrics),
        "test_clicks": manifest.training.get("test_clicks"),
        "comparison": manifest.training.get("comparison"),
    }


def size(manifest: Manifest) -> str:
    """Return the size of a release as text."""
    return f"{manifest.items:,} items, {manifest.size_bytes / 1e6:.1f} MB"
