"""The dashboards on a real Prometheus that watches a real shop: every panel has data."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.grafana.answers import Line, asked, panels
from tests.deploy.grafana.scene import Scene

PATIENCE_SECONDS: Final = 360.0
"""The training loads TensorFlow in a process of its own: on a busy machine that takes long."""

TRIES: Final = 20
"""A scrape that takes longer than a second fails, and its numbers are gone until the next."""


Shown = dict[str, list[list[Line]]]


def shown(scene: Scene, began: float) -> Shown:
    """Return the lines of each query of each panel since then."""
    return {str(panel): asked(panel, scene.prometheus, began, time.time()) for panel in panels()}


def empty(found: Shown) -> list[str]:
    """Return the panels with a query without data."""
    return [name for name, answers in found.items() if not all(answers)]


@pytest.mark.slow
@pytest.mark.timeout(1.5 * PATIENCE_SECONDS)
def test_every_query_of_every_panel_has_data(kafka: str, unique: str, tmp_path: Path) -> None:
    """From two workers, a trainer that publishes, and `watch`; no rule has an error."""
    began = time.time()
    with Scene(kafka, tmp_path, f"shop-{unique}", history=2_000, per_second=40) as scene:
        scene.play(scene.is_tried, seconds=PATIENCE_SECONDS, what="judged clicks of the trainer's candidate")
        found = shown(scene, began)
        for _ in range(TRIES):
            if empty(found):
                scene.play_for(1)
                found = shown(scene, began)
        rules = scene.prometheus.rules()

    assert empty(found) == []
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    assert found["training: Newest release"][0][0].points[-1][1] < PATIENCE_SECONDS
    assert "NextclickReleaseRefused" in {line.name for line in found["fleet: Alerts"][0]}
