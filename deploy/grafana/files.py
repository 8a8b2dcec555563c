"""The dashboards as files that Grafana reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.fleet import fleet
from deploy.grafana.quality import quality
from deploy.grafana.training import training

FOLDER: Final = Path(__file__).parent / "dashboards"
"""The folder of the files, which Grafana and the chart read."""


def files() -> dict[str, str]:
    """Return the text of each file by its name."""
    made = {"fleet": fleet(), "quality": quality(), "training": training()}
    return {
        f"{name}.json": json.dumps(one, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
        for name, one in made.items()
    }
