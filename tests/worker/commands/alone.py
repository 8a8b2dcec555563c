"""The command line as a process of its own, on a cluster in memory that has topics, a release and a click.

    python -m tests.worker.commands.alone run --config worker.toml

When it ends it writes how many answers there are and what is committed.
"""

from __future__ import annotations

import sys

from tests.worker.desk import Desk
from worker.__main__ import main

if __name__ == "__main__":
    desk = Desk()
    desk.click("ada", partition=0)
    try:
        main(sys.argv[1:], connection=desk.connection)
    finally:
        print(f"answers: {len(desk.answers())}, committed: {desk.committed()}")
