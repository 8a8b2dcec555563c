"""The findings of the commands `check` of worker and trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ParamSpec

from worker.errors import NextclickError, NotAllowed

_Arguments = ParamSpec("_Arguments")


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `remedy` is empty if the check passed."""

    what: str
    remedy: str = ""
    fails: bool = True
    """Whether a finding with a remedy prevents the program from working; otherwise it is only a hint."""

    @property
    def failed(self) -> bool:
        """Whether the finding prevents the program from working."""
        return self.fails and bool(self.remedy)

    @property
    def line(self) -> str:
        """The finding as a line of text."""
        label = "FAIL" if self.failed else "note" if self.remedy else "ok"
        text = f"{self.what}. {self.remedy}" if self.remedy else self.what
        return f"{label:<4}  {text}"

    def document(self) -> dict[str, Any]:
        """Return the finding as a JSON object."""
        return {"ok": not self.failed, "what": self.what, "remedy": self.remedy}


def amount(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> amount(1, "partition"), amount(4, "partition")
    ('1 partition', '4 partitions')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def tried(
    look: Callable[_Arguments, Iterable[Finding]], *args: _Arguments.args, **more: _Arguments.kwargs
) -> list[Finding]:
    """Return the findings of one check. An error becomes the last finding, so other checks still run."""
    found: list[Finding] = []
    try:
        found.extend(look(*args, **more))
    except NextclickError as error:
        found.append(failure(error))
    return found


def failure(error: NextclickError) -> Finding:
    """Return the finding for a check that an error has ended."""
    if isinstance(error, NotAllowed):
        return Finding(str(error), "Grant the missing ACLs, which are listed below")
    return Finding(str(error), "This could not be checked; fix it and run the check again")
