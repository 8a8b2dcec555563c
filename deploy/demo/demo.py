"""The program behind `make demo`: checks that the demo can run, runs it, and says why if it could not.

Exit code 0: it ran to its end; 1: it could not, the reason is on standard error; 130: Ctrl-C.
"""

from __future__ import annotations

import sys
from pathlib import Path

OURS = "Run `make demo` in the repository: it prepares a .venv with all that the demo needs"


def main() -> int:
    """Run the demo; return its exit code."""
    try:
        return _run()
    except KeyboardInterrupt:
        # Before the demo takes care of signals itself: nothing was started yet.
        return _stopped()


def _run() -> int:
    try:
        from deploy.demo.errors import DemoError, Interrupted  # noqa: PLC0415  # a missing package gets a sentence
        from deploy.demo.story import tell  # noqa: PLC0415
    except ImportError as error:
        print(f"{error}. {OURS}.", file=sys.stderr)
        return 1
    try:
        tell()
    except DemoError as error:
        print(f"\nThe demo cannot go on: {error}", file=sys.stderr)
        return 1
    except Interrupted:
        return _stopped()
    return 0


def _stopped() -> int:
    print("\nStopped; nothing of the demo is left running.", file=sys.stderr)
    return 130


if __name__ == "__main__":
    # The repository instead of this folder, whose modules have everyday names.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    sys.exit(main())
