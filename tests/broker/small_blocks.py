"""The worker with blocks of few rows: `python -m tests.broker.small_blocks ROWS run --config ...`.

So a flush takes several checkpoints, and blocks are hollow and merged, while a short round lasts.
"""

from __future__ import annotations

import sys

from worker.__main__ import main
from worker.core import blocks

if __name__ == "__main__":
    blocks.MAX_ROWS = int(sys.argv.pop(1))  # type: ignore[misc]  # a constant for all but this one
    main()
