"""What happens in the shop while Prometheus watches, for the pictures of the dashboards."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from deploy.kafka.local import LocalKafka
from tests.deploy.grafana.answers import Line, Panel, asked, panels
from tests.deploy.grafana.scene import Scene
from tests.shared_servers import SHORT_LIVED

PATIENCE_SECONDS: Final = 600.0
CATCH_UP_SECONDS: Final = 20.0
"""The workers read the clicks of a day before the pictures begin."""
QUIET_SECONDS: Final = 40.0
FROZEN_SECONDS: Final = 25.0


class Answers(NamedTuple):
    """The panels with the lines of all their queries, between two times."""

    begin: float
    end: float
    panels: list[tuple[Panel, list[Line]]]


def told() -> Answers:
    """Let a candidate be trained and win, then a worker stand still; return what the panels show."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalKafka(java_options=SHORT_LIVED) as kafka,
        Scene(kafka.bootstrap, Path(folder), "shop", history=6_000, per_second=60) as scene,
    ):
        scene.play_for(CATCH_UP_SECONDS)
        begin = time.time()
        scene.play(scene.is_tried, seconds=PATIENCE_SECONDS, what="judged clicks of the candidate")
        scene.play(scene.is_decided, seconds=PATIENCE_SECONDS, what="the decision")
        scene.play_for(QUIET_SECONDS)
        scene.processes["worker-2"].sigstop()
        scene.play_for(FROZEN_SECONDS)
        scene.processes["worker-2"].sigcont()
        scene.play_for(2 * QUIET_SECONDS)
        end = time.time()
        shown = [
            (panel, [line for lines in asked(panel, scene.prometheus, begin, end) for line in lines])
            for panel in panels()
        ]
    return Answers(begin, end, shown)
