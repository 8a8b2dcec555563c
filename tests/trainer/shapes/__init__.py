"""The same 1,200 clicks (`tests.thousand_clicks`) in many shapes of file, and the files that are refused.

The tables in the trainer's document are made of these: every row is a test.
"""

from __future__ import annotations

from typing import Final

from tests.trainer.shapes.layouts import LAYOUTS
from tests.trainer.shapes.refused import REFUSED as REFUSED
from tests.trainer.shapes.values import VALUES
from tests.trainer.shapes.writers import Refused as Refused
from tests.trainer.shapes.writers import Shape as Shape

SHAPES: Final = (*LAYOUTS, *VALUES)
"""Every shape gives the same sessions and the same catalogue as plain CSV, the first."""
