"""The figures of `make structure`, on a package small enough to be counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.structure import Longest, circles, counted, floors

HOUSE: Final = {
    "__init__.py": "",
    "errors.py": "class Broken(Exception):\n    pass\n",
    "__main__.py": "import sys\nfrom house.kitchen import oven\nfrom house.errors import Broken\n",
    "kitchen/__init__.py": "HEAT = 3\n",
    "kitchen/oven.py": "from house.kitchen import HEAT\nimport house.errors\nimport house.errors\n",
    "cellar/__init__.py": "",
    "cellar/wine.py": (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from house.cellar.rack import Rack\n"
        "def taste():\n"
        "    from house.kitchen.oven import HEAT\n"
        "    return HEAT\n"
    ),
    "cellar/rack.py": "import house.cellar.wine\nclass Rack:\n    def fill(self):\n        return 1\n",
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """The made-up package."""
    for name, text in HOUSE.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "house"


def test_a_small_house_is_counted_as_by_hand(house: Path) -> None:
    """Whatever is imported twice is one arrow; what is hidden in functions and for types is seen."""
    assert counted(house) == {
        "files": 8,
        "rooms": 4,
        "lines": 19,
        "arrows between files": 7,
        "arrows between rooms": 4,
        "floors of files": 3,
        "floors of rooms": 3,
        "circles of files": [["house.cellar.rack", "house.cellar.wine"]],
        "circles of rooms": [],
        "longest file": Longest(6, "house.cellar.wine"),
        "longest function": Longest(3, "house.cellar.wine.taste"),
    }


def test_a_circle_is_a_single_floor() -> None:
    """However large it is: nobody stands above the others in it."""
    graph = {
        name: frozenset(below)
        for name, below in {"top": "ab", "a": "b", "b": "c", "c": "ad", "d": ""}.items()
    }

    assert circles(graph) == [["a", "b", "c"]]
    assert floors(graph) == 3
