"""The exceptions that end the demo early."""

from __future__ import annotations


class DemoError(Exception):
    """Raised when the demo cannot continue; the message gives the problem and the remedy."""


class Interrupted(Exception):
    """Raised after Ctrl-C, SIGTERM or SIGHUP, at the next pause."""
