"""The chart of what larger catalogues cost."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.curve import PANELS, draw

FIGURES = {
    "exact_4k_microseconds": 14.0,
    "exact_1m_microseconds": 2319.0,
    "approximate_4k_microseconds": 17.0,
    "approximate_1m_microseconds": 128.0,
    "release_4k_bytes": 1.2e7,
    "adopt_1m_seconds": 41.0,
}


def drawn(path: Path, figures: dict[str, float]) -> str:
    """The picture of these figures."""
    draw(figures, path)
    return path.read_text("utf-8")


def test_each_panel_shows_the_figures_that_were_measured(tmp_path: Path) -> None:
    """Their numbers stand in the picture; sizes that were not measured are left out."""
    picture = drawn(tmp_path / "scale.svg", FIGURES)

    for text in [panel.title for panel in PANELS] + ["exact", "approximate", "2,319", "128", "12", "41"]:
        assert f">{text}<" in picture, text


def test_the_same_figures_give_the_same_picture(tmp_path: Path) -> None:
    """A commit has no differences that mean nothing."""
    assert drawn(tmp_path / "a.svg", FIGURES) == drawn(tmp_path / "b.svg", FIGURES)
