"""Why the demo ends before its end."""

from __future__ import annotations


class DemoError(Exception):
    """Raised when the demo cannot go on; the text says what is wrong and what to do about it."""


class Interrupted(Exception):
    """Raised after Ctrl-C, SIGTERM or SIGHUP, at the next moment at which nothing is half done."""
