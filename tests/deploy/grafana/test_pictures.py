"""The pictures of the panels in deploy/README.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.deploy.grafana.answers import Line, dashboards, panels
from tests.deploy.grafana.pictures import FOLDER, draw, shown
from tests.deploy.grafana.story import Answers


@pytest.mark.parametrize("name", dashboards())
def test_a_picture_is_drawn_as_the_committed_one(name: str, tmp_path: Path) -> None:
    """With panels at the same places; panels without data, too. `make pictures` draws the committed ones."""
    lines = [Line("a", [(5.0, 0.0), (10.0, 2.0)]), Line("b", [(10.0, 1.0)])]
    answers = Answers(0.0, 20.0, [(panel, lines if panel.title < "M" else []) for panel in panels()])

    path = draw(name, answers, tmp_path)

    with Image.open(path) as drawn, Image.open(FOLDER / path.name) as committed:
        assert drawn.size == committed.size
    assert (FOLDER / path.name).stat().st_size < 200_000


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.1234, "percentunit", "12.3 %"),
        (0.0123, "s", "12.3 ms"),
        (150, "s", "2.5 min"),
        (3 * 2**20, "bytes", "3 MiB"),
        (1_500, "cps", "1.5 K c/s"),
        (2, "short", "2"),
    ],
)
def test_numbers_have_units(value: float, unit: str, text: str) -> None:
    """In three digits."""
    assert shown(value, unit) == text
