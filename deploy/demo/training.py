"""The progress of a training, parsed from the output of `nextclick-trainer fit`."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_EPOCH: Final = re.compile(r"^epoch (\d+) of (\d+):", re.MULTILINE)
_LEFT: Final = re.compile(r"^ *\d+%  .* (\d+) s left$", re.MULTILINE)


class Progress(NamedTuple):
    """The progress of a training; `seconds_left` is None if there is no estimate yet."""

    words: str
    seconds_left: float | None


def progress(log: str) -> Progress:
    r"""Return the progress of the training whose output is `log`.

    >>> progress("epoch 2 of 6: loss 5.8\n 40%  loss 5.7, 12,552 clicks/s, 7 s left\n")
    Progress(words='epoch 3 of 6', seconds_left=7.0)
    >>> progress("read 80,000 clicks")
    Progress(words='reading the clicks', seconds_left=None)
    """
    epochs, left = _EPOCH.findall(log), _LEFT.findall(log)
    if not epochs and not left:
        return Progress("reading the clicks", None)
    done, total = map(int, epochs[-1]) if epochs else (0, 0)
    seconds = float(left[-1]) if left else None
    if done and done == total:
        return Progress("measuring the result", seconds and min(seconds, 5.0))
    return Progress(f"epoch {done + 1} of {total}" if total else "epoch 1", seconds)
