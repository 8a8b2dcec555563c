"""The figures of a release as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping

from worker.core.manifest import Manifest


def report(metrics: Mapping[str, float], top: int) -> str:
    """A table of Recall@K and MRR@K beside those of the popularity list."""
    if not metrics:
        return "no held-out clicks: the release was not measured"
    rows = [f"on {metrics['predictions']:,.0f} held-out clicks    network   popularity"]
    for name, title in ((f"recall_at_{top}", f"Recall@{top}"), (f"mrr_at_{top}", f"MRR@{top}")):
        rows.append(f"{title:<24}{metrics[name]:>16.4f}{metrics['popular_' + name]:>13.4f}")
    return "\n".join(rows)


def size(manifest: Manifest) -> str:
    """How large a release is."""
    return f"{manifest.items:,} items, {manifest.size_bytes / 1e6:.1f} MB"
