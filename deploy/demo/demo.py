"""The program behind `make demo`: runs the demo, or explains why it cannot run.

Exit code: 0 success; 1 failure, with the reason on standard error; 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from pathlib import Path

OURS = "Run `make demo` in the repository; it prepares a .venv with all packages that the demo needs"


def main() -> int:
    """Run the demo; return its exit code."""
    try:
        return _run()
    except KeyboardInterrupt:
        # Ctrl-C before the demo has installed its signal handlers and started any process.
        return _stopped()


def _run() -> int:
    try:
        from deploy.demo.errors import DemoError, Interrupted  # noqa: PLC0415  # explains a missing package
        from deploy.demo.story import tell  # noqa: PLC0415
    except ImportError as error:
        print(f"{error}. {OURS}.", file=sys.stderr)
        return 1
    try:
        tell()
    except DemoError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except Interrupted:
        return _stopped()
    return 0


def _stopped() -> int:
    print("\nStopped; all processes of the demo have ended.", file=sys.stderr)
    return 130


if __name__ == "__main__":
    # Import from the repository instead of this folder, whose modules have common names.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    sys.exit(main())
